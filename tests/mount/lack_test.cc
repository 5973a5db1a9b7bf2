// The daemon without memory, threads, descriptors or locks: tests/faults/injector.cc makes its
// calls fail.
#include <dirent.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <random>
#include <set>
#include <thread>

#include "tests/faults/fault_plan.h"
#include "tests/mount/mount_fixture.h"

namespace volfs {
namespace {

constexpr uint64_t kBlockBytes = 16384;
constexpr uint64_t kBlocks = 16;

// Returns VOLFS_FAULT_ROUNDS (scripts/faults), by default a sample.
int Rounds() {
  const char* const given = std::getenv("VOLFS_FAULT_ROUNDS");
  return given == nullptr ? 8 : std::atoi(given);
}

uint64_t Seed() {
  const char* const given = std::getenv("VOLFS_FAULT_SEED");
  return given == nullptr ? 12 : std::strtoull(given, nullptr, 10);
}

class LackTest : public MountTest {
 protected:
  LackTest() : random_(Seed()) {
    const int fd = ::open((directory() + "/plan").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    EXPECT_EQ(::ftruncate(fd, sizeof(FaultPlan)), 0);
    plan_ = static_cast<FaultPlan*>(
        ::mmap(nullptr, sizeof(FaultPlan), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
    ::close(fd);
  }
  ~LackTest() override { ::munmap(plan_, sizeof(FaultPlan)); }

  void SetUp() override {
    MountTest::SetUp();
    if (!std::filesystem::exists(VOLFS_INJECTOR)) GTEST_SKIP() << "a sanitizer has its own malloc";
  }

  // Mounts with the injector in the daemon, and in no other program of this test.
  void MountWithFaults(const std::vector<std::string>& nodes = {"a"}) {
    ::setenv("LD_PRELOAD", VOLFS_INJECTOR, 1);
    ::setenv(kFaultPlanVariable, (directory() + "/plan").c_str(), 1);
    const CommandResult result = TryMount(nodes);
    ::unsetenv("LD_PRELOAD");
    ASSERT_TRUE(result.ok()) << result.output;
    FindDaemon();
    plan_->process = pid();
  }
  CommandResult TryMountUnderFaults(FaultKind kind, int64_t before, int64_t failing) {
    ::setenv("LD_PRELOAD", VOLFS_INJECTOR, 1);
    ::setenv(kFaultPlanVariable, (directory() + "/plan").c_str(), 1);
    plan_->process = FaultPlan::kAnyProcess;
    Fail(kind, before, failing);
    const CommandResult result = TryMount({"a"});
    plan_->kind = FaultKind::kNone;
    ::unsetenv("LD_PRELOAD");
    return result;
  }

  // Starts the daemon, which either mounts and ends on request, or says why it cannot.
  void StartUnderOneFault(FaultKind kind, int64_t before) {
    SCOPED_TRACE(testing::Message() << "kind " << static_cast<int>(kind) << " after " << before);
    const CommandResult result = TryMountUnderFaults(kind, before, 1);
    if (result.ok()) {
      FindDaemon();
      Unmount();
    } else {
      EXPECT_NE(result.output, "") << "refused without a word";
    }
  }

  void Fail(FaultKind kind, int64_t before, int64_t failing) {
    plan_->kind = FaultKind::kNone;
    plan_->before = before;
    plan_->failing = failing;
    plan_->kind = kind;
  }
  void FailNothing() { plan_->kind = FaultKind::kNone; }

  uint64_t Random(uint64_t below) { return random_() % below; }

  // --- a load whose contents are known

  struct Block {
    uint8_t value = 0;
    bool known = true;  // false: a write of it failed, and either content is right
  };
  using Model = std::array<Block, kBlocks>;

  static std::vector<std::byte> Content(uint8_t value) {
    return std::vector<std::byte>(kBlockBytes, static_cast<std::byte>(value));
  }

  void WriteSome(const std::string& name) {
    Model& model = models_[name];
    const uint64_t at = Random(kBlocks);
    const auto value = static_cast<uint8_t>(1 + Random(255));
    const TestFile file(Volume(name));
    if (!file.ok()) return;
    const bool done = file.WriteAt(at * kBlockBytes, Content(value)) == 0 && file.Sync() == 0;
    if (done) {
      model[at] = {value, true};
    } else {
      model[at].known = false;
    }
  }

  void ExpectContents(const std::string& path, const Model& model) {
    const TestFile file(path, O_RDONLY);
    ASSERT_TRUE(file.ok()) << path << ": " << std::strerror(file.open_error());
    std::vector<std::byte> bytes(kBlockBytes);
    for (uint64_t i = 0; i < kBlocks; ++i) {
      if (!model[i].known) continue;
      const int error = file.ReadAt(i * kBlockBytes, bytes);
      ASSERT_EQ(error, 0) << path << ": " << std::strerror(error);
      ASSERT_EQ(bytes, Content(model[i].value)) << path << ", block " << i;
    }
  }

  // Does one of each operation. The results count only while nothing fails.
  void Load(int round) {
    WriteSome("db");
    WriteSome("db");
    // The snapshot holds everything that was known to be there at the request.
    const std::string snapshot = "s" + std::to_string(round);
    const Model before = models_["db"];
    if (Ask("snapshot", "db " + snapshot) == 0) snapshots_[snapshot] = before;
    WriteSome("db");
    const std::string clone = "c" + std::to_string(round);
    const Model cloned = models_["db"];
    const char* const how = round % 2 == 0 ? " linked=1" : "";
    if (Ask("clone", "db " + clone + how) == 0) models_[clone] = cloned;
    if (models_.contains(clone)) WriteSome(clone);
    (void)RunShell("ls -lR " + Quoted(Mnt()) + "/volumes " + Quoted(Mnt()) + "/snapshots; cat " +
                   Quoted(Mnt()) + "/control/status.json; df " + Quoted(Mnt()) +
                   "; truncate -s 3M " + Quoted(Volume("other")) + "; chmod 640 " +
                   Quoted(Volume("other")) + "; cp --reflink=never " + Quoted(Volume("other")) +
                   " " + Quoted(Volume("copy" + std::to_string(round))) + "; rm -f " +
                   Quoted(Volume("copy" + std::to_string(round))));
    (void)Ask("resize", "other 4M");
    if (round >= 2) {
      const std::string old = std::to_string(round - 2);
      if (Ask("delete", "c" + old) == 0) models_.erase("c" + old);
      if (Ask("delete", "db@s" + old) == 0) snapshots_.erase("s" + old);
    }
  }

  // So many requests need more threads than the daemon keeps.
  void AskForManyThingsAtOnce() {
    (void)RunShell("cd " + Quoted(Path("control")) + "; for i in $(seq 60); do (echo burst$i 1M " +
                   ">create; echo burst$i >delete) 2>/dev/null & done; wait");
  }

  // Nothing fails any more: all data is there and each operation works.
  void ExpectAllIsWell() {
    for (auto& [name, model] : models_) {
      SCOPED_TRACE(name);
      if (name != "db") {
        if (!Exists(Volume(name))) continue;  // the deletion reported a failure, but happened
        ASSERT_TRUE(WaitForStatus(name, "available")) << Field(name, "error");
      }
      ExpectContents(Volume(name), model);
      const TestFile file(Volume(name));
      ASSERT_TRUE(file.ok());
      for (uint64_t i = 0; i < kBlocks; ++i) {
        if (model[i].known) continue;
        model[i] = {static_cast<uint8_t>(i + 1), true};
        ASSERT_EQ(file.WriteAt(i * kBlockBytes, Content(model[i].value)), 0);
      }
      ASSERT_EQ(file.Sync(), 0);
    }
    for (const auto& [name, model] : snapshots_) {
      if (Exists(Path("snapshots/db/" + name))) {
        ExpectContents(Path("snapshots/db/" + name), model);
      }
    }
  }

  // Makes a hundred volumes with long names: the text of their states has 40 KB.
  void MakeManyVolumes() {
    const std::string name(110, 'v');
    MustRun("for i in $(seq 100); do echo " + name + "-$i 1M; done >" +
            Quoted(Path("control/create")));
  }

  void ExpectNothingIsWrong() {
    const CommandResult check = Volfs("check " + Quoted(NodePath("a")));
    EXPECT_EQ(check.exit_code, 0) << check.output;
    EXPECT_THAT(check.output, testing::EndsWith("a: nothing is wrong\n"));
  }

  void RunRounds(FaultKind kind, uint64_t calls_of_a_load) {
    MountWithFaults();
    MustRun("truncate -s 1M " + Quoted(Volume("db")) + "; truncate -s 1M " +
            Quoted(Volume("other")));
    int64_t failed = 0;
    for (int round = 0; round < Rounds(); ++round) {
      // The first round hits the first call, so at least one call fails.
      const auto before = round == 0 ? 0 : static_cast<int64_t>(Random(calls_of_a_load));
      const int64_t failing = Random(2) == 0 ? 1 : 1 + static_cast<int64_t>(Random(50));
      SCOPED_TRACE(testing::Message() << "seed " << Seed() << " round " << round << ": " << failing
                                      << " calls fail after " << before);
      plan_->failed = 0;
      Fail(kind, before, failing);
      if (kind == FaultKind::kThread) AskForManyThingsAtOnce();
      Load(round);
      FailNothing();
      failed += plan_->failed;
      ASSERT_EQ(::kill(pid(), 0), 0) << "the daemon is dead";
      ASSERT_NO_FATAL_FAILURE(ExpectAllIsWell());
    }
    EXPECT_GT(failed, 0) << "no call failed, so nothing was tried";
    RecordProperty("failed_calls", static_cast<int>(failed));
    Unmount();
    ExpectNothingIsWrong();
    Mount({"a"});
    ExpectAllIsWell();
  }

  FaultPlan* plan_ = nullptr;
  std::mt19937_64 random_;
  std::map<std::string, Model> models_;
  std::map<std::string, Model> snapshots_;
};

// --- during a whole load

TEST_F(LackTest, AllocationsThatFail) { RunRounds(FaultKind::kAllocation, 3000); }

TEST_F(LackTest, ThreadsThatFail) { RunRounds(FaultKind::kThread, 3); }

TEST_F(LackTest, DescriptorsThatFail) { RunRounds(FaultKind::kDescriptor, 5); }

// --- during the start

// The remains of a failed start can be mounted.
TEST_F(LackTest, AStartUnderEachFaultIsWholeOrRefused) {
  const std::array<std::pair<FaultKind, uint64_t>, 4> kinds = {{{FaultKind::kAllocation, 4000},
                                                                {FaultKind::kThread, 120},
                                                                {FaultKind::kDescriptor, 60},
                                                                {FaultKind::kLock, 6}}};
  for (int round = 0; round < Rounds(); ++round) {
    const auto& [kind, calls] = kinds[static_cast<size_t>(round) % kinds.size()];
    StartUnderOneFault(kind, static_cast<int64_t>(Random(calls)));
  }
  Mount({"a"});
  Unmount();
  ExpectNothingIsWrong();
}

// There are few descriptors, so each is tried. One of them receives the signals that end the mount.
TEST_F(LackTest, AStartWithoutOneOfItsDescriptorsIsWholeOrRefused) {
  int64_t before = 0;
  do {
    plan_->failed = 0;
    StartUnderOneFault(FaultKind::kDescriptor, before++);
  } while (plan_->failed > 0);
  EXPECT_GT(before, 10) << "a start needs more of them";
  Mount({"a"});
  Unmount();
  ExpectNothingIsWrong();
}

TEST_F(LackTest, AMountWithoutItsThreadsSaysSo) {
  const CommandResult result = TryMountUnderFaults(FaultKind::kThread, 5, 1'000'000);
  EXPECT_FALSE(result.ok());
  EXPECT_THAT(result.output, testing::HasSubstr("threads at its start"));
}

// --- one resource at a time

// The daemon gets no more threads: its present ones serve a burst of requests.
TEST_F(LackTest, WithoutMoreThreadsRequestsWait) {
  MountWithFaults();
  MustRun("echo precious >" + Quoted(Volume("precious")));
  Fail(FaultKind::kThread, 0, 1'000'000'000);
  MustRun("cd " + Quoted(Mnt()) + "; for i in $(seq 40); do (echo x$i 1M >control/create; " +
          "truncate -s 2M volumes/y$i) & done; wait");
  FailNothing();
  EXPECT_EQ(ListOf(Path("volumes")).size(), 81U);
  EXPECT_EQ(ReadText(Volume("precious")), "precious\n");
}

// Without any memory, requests that need some are refused, and later ones do not hang.
TEST_F(LackTest, WithoutMemoryRequestsAreRefusedAndTheDaemonGoesOn) {
  MountWithFaults();
  MustRun("truncate -s 1M " + Quoted(Volume("db")));
  WriteSome("db");
  Fail(FaultKind::kAllocation, 0, 1'000'000'000);
  EXPECT_EQ(Ask("create", "another 1M"), ENOMEM);
  const TestFile file(Path("control/status.json"), O_RDONLY);
  EXPECT_EQ(file.open_error(), ENOMEM);
  FailNothing();
  EXPECT_EQ(Ask("create", "another 1M"), 0);
  ExpectAllIsWell();
}

// An image grows up to the limit and no further: EFBIG, and the volume still works.
TEST_F(LackTest, AnInheritedLimitOnTheSizeOfFilesIsAnErrno) {
  const CommandResult mounted =
      RunProgram({"setpriv", "--bounding-set", "-sys_resource", "prlimit", "--fsize=67108864",
                  Binary(), "mount", NodePath("a"), Mnt()});
  ASSERT_TRUE(mounted.ok()) << mounted.output;
  FindDaemon();
  MustRun("truncate -s 1M " + Quoted(Volume("db")));
  WriteSome("db");
  const TestFile file(Volume("db"));
  EXPECT_EQ(file.WriteAt(67108864, Content(1)), EFBIG);
  EXPECT_EQ(Ask("resize", "db 1G"), EFBIG);
  WriteSome("db");
  ExpectAllIsWell();
  EXPECT_EQ(Field("db", "error"), "");
  EXPECT_EQ(Field("db", "status"), "in-use");
}

// A limit that an administrator has set to protect the machine is kept. A limit that would end the
// daemon is lifted.
TEST_F(LackTest, InheritedLimitsOnMemoryAndThreadsAreKept) {
#if defined(__SANITIZE_ADDRESS__)
  GTEST_SKIP() << "it maps terabytes";
#endif
  const CommandResult mounted =
      RunProgram({"prlimit", "--as=8589934592:", "--data=4294967296:", "--nproc=20000:",
                  "--cpu=1000:", "--nofile=500:", Binary(), "mount", NodePath("a"), Mnt()});
  ASSERT_TRUE(mounted.ok()) << mounted.output;
  FindDaemon();
  const auto limit = [this](const char* resource) {
    return MustRun("prlimit --raw --noheadings --output SOFT --" + std::string(resource) +
                   " --pid " + std::to_string(pid()));
  };
  EXPECT_EQ(limit("as"), "8589934592\n");
  EXPECT_EQ(limit("data"), "4294967296\n");
  EXPECT_EQ(limit("nproc"), "20000\n");
  EXPECT_EQ(limit("cpu"), "unlimited\n");
  EXPECT_NE(limit("nofile"), "500\n");
  MustRun("truncate -s 1M " + Quoted(Volume("db")));
  WriteSome("db");
  ExpectAllIsWell();
}

// --- states that other users make the daemon keep

[[nodiscard]] uint64_t ResidentKiB(int pid) {
  std::ifstream status("/proc/" + std::to_string(pid) + "/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmRSS:")) return std::stoull(line.substr(6));
  }
  return 0;
}

// All open files share one text and one listing. Separate ones would take 25 MB.
TEST_F(LackTest, ManyOpenTextsAreOne) {
  constexpr int kOpens = 400;
  Mount({"a"});
  MakeManyVolumes();
  // This read comes first, so that the kernel's part of an open file and the memory of new threads
  // do not count.
  (void)ReadText(Path("control/status.json"));
  const uint64_t before = ResidentKiB(pid());
  std::vector<std::unique_ptr<TestFile>> files;
  std::array<std::byte, 1> byte{};
  for (int i = 0; i < kOpens; ++i) {
    files.push_back(std::make_unique<TestFile>(Path("control/status.json"), O_RDONLY));
    ASSERT_TRUE(files.back()->ok()) << i;
    ASSERT_EQ(files.back()->ReadAt(0, byte), 0);
    files.push_back(std::make_unique<TestFile>(Path("volumes"), O_RDONLY | O_DIRECTORY));
    std::array<char, 4096> entries{};
    ASSERT_GT(::getdents64(files.back()->fd(), entries.data(), entries.size()), 0);
  }
  EXPECT_LT(ResidentKiB(pid()), before + 12 * 1024);
}

// Each open file keeps its state when the state changes. A user who keeps too many is refused.
TEST_F(LackTest, WhoKeepsManyStatesOpenIsRefused) {
  Mount({"a"});
  MakeManyVolumes();
  MustRun("chmod 755 " + Quoted(directory()));
  const std::string script =
      "import os,sys\nfds=[]\ntry:\n for i in range(2000):\n"
      "  f=os.open(sys.argv[1]+'/control/status.json',os.O_RDONLY)\n  os.read(f,1);fds.append(f)\n"
      "  print(i,flush=True);sys.stdin.readline()\n"
      "except OSError as e: print(e.strerror, flush=True)\n";
  const std::string loop =
      "coproc setpriv --reuid=65534 --regid=65534 --clear-groups /usr/bin/python3 -c " +
      Quoted(script) + " " + Quoted(Mnt()) +
      "; n=0; while read -r -u ${COPROC[0]} line; do case $line in *[a-z]*) echo $n $line; break;; "
      "esac; n=$((n+1)); truncate -s $((2000000+n)) " +
      Quoted(Volume(std::string(110, 'v') + "-1")) +
      "; echo >&${COPROC[1]}; done; exec {COPROC[1]}>&-";
  const CommandResult result = RunProgram({"bash", "-c", loop});
  EXPECT_THAT(result.output, testing::HasSubstr("Cannot allocate memory"));
  // 8 MiB hold that many texts of 40 KB. The owner is not affected.
  EXPECT_GT(std::stoi(result.output), 10);
  EXPECT_LT(std::stoi(result.output), 400);
  EXPECT_THAT(ReadText(Path("control/status.json")), testing::HasSubstr("v-100"));
}

std::string LogOf(const std::string& directory) {
  const std::string mark = directory.substr(directory.rfind('.')) + "-mnt.log";
  for (const auto& entry : std::filesystem::directory_iterator("/var/log/volfs")) {
    if (entry.path().string().ends_with(mark)) return entry.path();
  }
  throw std::runtime_error("there is no log");
}

// A thousand failing reads per second become a few log lines, the first of which comes at once.
TEST_F(LackTest, FailingReadsDoNotFillTheLog) {
  Mount({"a"});
  MustRun("printf x >" + Quoted(Volume("db")) + "; truncate -s 1M " + Quoted(Volume("db")));
  Unmount();
  for (const std::string& name : ListOf(NodePath("a") + "/layers")) {
    ASSERT_EQ(::truncate((NodePath("a") + "/layers/" + name).c_str(), 4096), 0);
  }
  Mount({"a"});
  const uint64_t before = std::filesystem::file_size(LogOf(directory()));
  const TestFile file(Volume("db"), O_RDONLY);
  std::vector<std::byte> bytes(4096);
  int failed = 0;
  for (int i = 0; i < 5000; ++i) failed += file.ReadAt(8192, bytes) != 0 ? 1 : 0;
  ASSERT_EQ(failed, 5000);
  const std::string log = ReadText(LogOf(directory())).substr(before);
  EXPECT_THAT(log, testing::HasSubstr("db"));
  EXPECT_LT(log.size(), 10'000U);
}

// --- a crash in spite of all that

TEST_F(LackTest, ADeathLeavesALineAndAStack) {
  Mount({"a"});
  const std::string log = LogOf(directory());
  const int daemon = pid();
  ExpectNoDaemon();
  ASSERT_EQ(::kill(daemon, SIGSEGV), 0);
  int status = 0;
  for (int waited = 0; ::waitpid(daemon, &status, WNOHANG) != daemon && waited < 10'000; ++waited) {
    SleepMs(1);
  }
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV) << status;
  EXPECT_THAT(ReadText(log), testing::ContainsRegex(
                                 "critical volfs [0-9.]+ dies of SIGSEGV in thread [a-z-]+.*stack:"
                                 "\n.*volfs.*\\+0x"));
}

}  // namespace
}  // namespace volfs
