// Goal: the control files work with ordinary tools, and the requester sees each refusal.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <filesystem>
#include <thread>

#include "tests/mount/mount_fixture.h"

namespace volfs {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

class ControlTest : public MountTest {
 protected:
  void SetUp() override {
    MountTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    Mount();
    MustRun("truncate -s 1M " + Volume("db.img"));
  }

  // Runs a line in control/. Returns its exit code and output.
  CommandResult InControl(const std::string& line, const char* shell = "sh") {
    return RunProgram({shell, "-c", line}, {.directory = Path("control"), .timeout_ms = 20'000});
  }

  std::vector<std::string> Names() { return ListOf(Path("volumes")); }

  // Returns whether the file can be read.
  static bool IsReady(const TestFile& file, int timeout_ms = 0) {
    pollfd polled{file.fd(), POLLIN, 0};
    return ::poll(&polled, 1, timeout_ms) == 1;
  }
  // Returns whether the kernel reports the file as ready while the daemon is stopped.
  bool KernelPollsByItself(const TestFile& file) const {
    sigset_t told;  // blocked before the child that sends it starts
    sigemptyset(&told);
    sigaddset(&told, SIGUSR1);
    sigaddset(&told, SIGUSR2);
    ::pthread_sigmask(SIG_BLOCK, &told, nullptr);
    ::kill(pid(), SIGSTOP);
    const int child = ::fork();
    if (child == 0) {
      for (int i = 0; i < 1000; ++i) (void)IsReady(file);
      ::kill(::getppid(), IsReady(file) ? SIGUSR1 : SIGUSR2);
      ::pause();  // its exit would close descriptors, which the daemon must answer
    }
    const timespec patience{5, 0};
    const int signal = ::sigtimedwait(&told, nullptr, &patience);
    ::kill(pid(), SIGCONT);
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    return signal == SIGUSR1;
  }
};

// Every readable file has its true length in stat. cat, dd byte by byte, head, tail and Python read
// the same bytes, and no file is empty by accident. Listing and searching the tree ends (T4, T59,
// T68).
TEST_F(ControlTest, EveryFileIsReadByEveryTool) {
  const char* const script = R"py(
import os, subprocess, sys
bad = []
for directory, _, names in os.walk('.'):
    for name in names:
        path = os.path.join(directory, name)
        size = os.stat(path).st_size
        text = open(path, 'rb').read()
        moving = name in ('metrics', 'free_bytes', 'last_error', 'status', 'help') or size == 0
        if name == 'metrics' or 'free_bytes' in name:
            if not text: bad.append(path + ' is empty')
            continue
        if len(text) != size: bad.append('%s: stat says %d, read %d' % (path, size, len(text)))
        if not moving or name in ('status', 'help'):
            for tool in (['cat', path], ['dd', 'bs=1', 'status=none', 'if=' + path],
                         ['head', '-c', '100000', path], ['tail', '-n', '+1', path]):
                out = subprocess.run(tool, capture_output=True).stdout
                if out != text: bad.append('%s by %s: %r' % (path, tool[0], out[:40]))
            break_at = len(text) // 2
            with open(path, 'rb', 0) as f:
                if f.read(break_at) + f.read() != text: bad.append(path + ' in two pieces')
print('\n'.join(bad))
)py";
  const CommandResult python =
      RunProgram({"python3", "-c", script}, {.directory = Path("control"), .timeout_ms = 60'000});
  EXPECT_EQ(python.exit_code, 0);
  EXPECT_EQ(python.output, "\n");
  EXPECT_EQ(InControl("head -c 1 status").output, "d");
  EXPECT_EQ(InControl("tail -n 1 status").output, InControl("cat status").output);
  const CommandResult grep = InControl("grep -r . .");
  EXPECT_NE(grep.exit_code, CommandResult::kTimedOut) << "grep -r hangs";
  EXPECT_THAT(grep.output, HasSubstr("volumes/db.img/status:available"));
  EXPECT_EQ(InControl("find . -type f -exec cat {} + | wc -l").exit_code, 0);
  EXPECT_EQ(InControl("tar cf /dev/null .").exit_code, 0);
}

// status has a line for each volume with its columns, `-` for an empty value. status.json and
// info.json are JSON with the same values (contract.md 4).
TEST_F(ControlTest, StatusIsForShellsAndForPrograms) {
  SetCopyRate("0");
  MustRun("head -c 8192 /dev/urandom | dd of=" + Volume("db.img") + " conv=notrunc status=none");
  MustAsk("clone", "db.img");
  EXPECT_EQ(InControl("cut -d' ' -f1-7 status").output,
            "db-clone.img creating 1048576 b standard 0.00 db.img\n"
            "db.img available 1048576 a standard 100.00 -\n");
  const char* const script = R"py(
import json
status = json.load(open('status.json'))
lines = [line.split() for line in open('status')]
assert [v['name'] for v in status] == [line[0] for line in lines], status
assert [v['size'] for v in status] == [1048576, 1048576], status
info = json.load(open('volumes/db-clone.img/info.json'))
assert info['source'] == 'db.img' and info['status'] == 'creating' and info['size'] == 1048576, info
assert info['node'] == open('volumes/db-clone.img/node').read().strip(), info
)py";
  const CommandResult python =
      RunProgram({"python3", "-c", script}, {.directory = Path("control")});
  EXPECT_EQ(python.exit_code, 0) << python.output;
  EXPECT_EQ(Field("db.img", "status"), "available");
  const TestFile writer(Volume("db.img"));
  EXPECT_EQ(Field("db.img", "status"), "in-use");
  EXPECT_EQ(Field("db.img", "attachments"), "1");
  EXPECT_EQ(ReadText(Path("control/nodes/a/path")), NodePath("a") + "\n");
}

// An open file shows one consistent text, also if the state changes between its reads (T4).
TEST_F(ControlTest, OneOpenFileSeesOneText) {
  for (int i = 0; i < 20; ++i) MustAsk("create", "v" + std::to_string(i) + " 1M");
  const std::string before = ReadText(Path("control/status"));
  const TestFile file(Path("control/status"), O_RDONLY);
  std::vector<std::byte> text(before.size());
  const size_t half = text.size() / 2;
  ASSERT_EQ(file.ReadAt(0, std::span(text).first(half)), 0);
  for (int i = 0; i < 10; ++i) MustAsk("delete", "v" + std::to_string(i));
  ASSERT_EQ(file.ReadAt(half, std::span(text).subspan(half)), 0);
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(text.data()), text.size()), before);
}

// Requests can be written by >, >>, tee, dd, printf of bash and dash, cp, and Python, with and
// without a line feed (contract.md 6, T3).
TEST_F(ControlTest, EveryToolCanAsk) {
  const std::vector<std::pair<const char*, const char*>> ways = {
      {"bash", "echo v0 1M > create"},
      {"dash", "echo v1 1M > create"},
      {"bash", "echo v2 1M >> create"},
      {"bash", "printf 'v3 1M' > create"},
      {"dash", "printf 'v4 1M\\nv5 1M\\n' > create"},
      {"bash", "printf 'v6 1M\\nv7 1M\\n' > create"},
      {"sh", "echo v8 1M | tee create > /dev/null"},
      {"sh", "echo v9 1M | tee -a create > /dev/null"},
      {"sh", "echo v10 1M | dd of=create status=none"},
      {"sh", "echo v11 1M | dd of=create status=none conv=notrunc oflag=append"},
      {"sh", "python3 -c \"print('v12 1M', file=open('create', 'w'))\""},
      {"sh", "python3 -c \"open('create', 'a').write('v13 1M')\""},
      {"sh", "python3 -uc \"f = open('create', 'wb', 0); f.write(b'v14 1M'); f.write(b'\\n')\""},
      {"sh", "echo v15 1M > ../../words && cp ../../words create"},
      {"bash", "cat > create <<< 'v16 1M'"},
  };
  for (size_t i = 0; i < ways.size(); ++i) {
    const CommandResult result = InControl(ways[i].second, ways[i].first);
    EXPECT_EQ(result.exit_code, 0) << ways[i].second << "\n" << result.output;
  }
  for (int i = 0; i <= 16; ++i) EXPECT_TRUE(Exists(Volume("v" + std::to_string(i)))) << i;
  EXPECT_EQ(ReadText(Path("control/last_error")), "");
}

// A refusal is the errno of write(2), not of close(2), so every shell and tool shows it and exits
// with an error. last_error has it with time, user, request, errno name and a sentence, newest
// first (T1, T2).
TEST_F(ControlTest, RefusalsReachWhoAsks) {
  for (const char* shell : {"bash", "dash"}) {
    const CommandResult result = InControl("echo nosuch > clone", shell);
    EXPECT_NE(result.exit_code, 0) << shell;
  }
  EXPECT_THAT(InControl("echo nosuch > clone", "bash").output,
              HasSubstr("No such file or directory"));
  EXPECT_NE(InControl("echo nosuch | tee clone").exit_code, 0);
  EXPECT_NE(InControl("echo nosuch | dd of=clone").exit_code, 0);
  EXPECT_THAT(InControl("python3 -c \"with open('clone', 'w') as f: f.write('nosuch')\"").output,
              HasSubstr("FileNotFoundError"));
  const TestFile file(Path("control/snapshot"), O_WRONLY);
  EXPECT_EQ(ErrnoOf(::write(file.fd(), "db.img ../x\n", 12)), EINVAL);
  MustRun("dd if=/dev/zero of=" + Volume("db.img") + " bs=4k count=1 conv=notrunc status=none");
  EXPECT_EQ(ErrnoOf(::truncate(Volume("db.img").c_str(), 5)), EPERM);
  const std::string errors = ReadText(Path("control/last_error"));
  const size_t first_line_end = errors.find('\n');
  EXPECT_THAT(errors.substr(0, first_line_end),
              AllOf(HasSubstr("EPERM"), HasSubstr("db.img"), HasSubstr(" 0 ")));
  EXPECT_THAT(errors, HasSubstr("snapshot"));
  EXPECT_THAT(errors, HasSubstr("EINVAL"));
  EXPECT_THAT(errors, HasSubstr("ENOENT"));
  EXPECT_THAT(errors, HasSubstr("nosuch"));
  EXPECT_THAT(errors, StartsWith("20"));
}

// A write holds whole lines, done in order, and the first refused line ends it. If that is the
// first line, the write fails with its errno. Otherwise it returns the bytes before that line, and
// the next write gets the errno (contract.md 6).
TEST_F(ControlTest, WriteOfSeveralLinesStopsAtTheFirstRefused) {
  const TestFile file(Path("control/create"), O_RDWR);
  const std::string lines = "one 1M\ntwo 1M\none 1M\nthree 1M\n";
  EXPECT_EQ(::write(file.fd(), lines.data(), lines.size()), 14);
  EXPECT_EQ(ErrnoOf(::write(file.fd(), "four 1M\n", 8)), EEXIST);
  EXPECT_THAT(Names(), ElementsAre("db.img", "one", "two"));
  EXPECT_EQ(::write(file.fd(), "four 1M\n", 8), 8);
  EXPECT_THAT(Names(), ElementsAre("db.img", "four", "one", "two"));
  char reply[256] = {};
  EXPECT_GT(::read(file.fd(), reply, sizeof reply - 1), 0);
  EXPECT_THAT(reply, AllOf(StartsWith("ok volume=one"), testing::EndsWith("\n")));
}

// Half a name never deletes: a destructive request needs its line feed in the same write. An empty
// line and one that is too long are refused (contract.md 6).
TEST_F(ControlTest, FormIsChecked) {
  const auto write = [&](const std::string& file, const std::string& text) {
    return WriteText(Path("control/" + file), text);
  };
  for (const char* file : {"delete", "cancel"}) EXPECT_EQ(write(file, "db.img"), EINVAL) << file;
  EXPECT_EQ(write("resize", "db.img 2M"), EINVAL);
  EXPECT_EQ(write("create", "\n"), EINVAL);
  EXPECT_EQ(write("create", "v\n"), EINVAL);
  EXPECT_EQ(write("create", "v 1M\r\n"), EINVAL);
  EXPECT_EQ(write("create", std::string("v\0w 1M\n", 7)), EINVAL);
  EXPECT_EQ(write("create", "v\xff 1M\n"), EINVAL);
  EXPECT_EQ(write("create", "\x1b[31mv 1M\n"), EINVAL);
  for (const char* size : {"-1", "9223372036854775808", "18446744073709551616", "1e9", "0x10", "+5",
                           "5KB5", "K", "1MM"}) {
    EXPECT_EQ(write("create", std::string("v ") + size + "\n"), EINVAL) << size;
  }
  EXPECT_EQ(write("create", "v " + std::string(4093, '1') + "\n"), EINVAL)
      << "4096 bytes are heard";
  EXPECT_EQ(write("create", "v " + std::string(4094, '1') + "\n"), E2BIG);
  EXPECT_EQ(write("create", std::string(65536, 'x')), E2BIG);
  EXPECT_THAT(Names(), ElementsAre("db.img"));
  EXPECT_NE(InControl("printf nosuch | dd of=clone bs=1 status=none").exit_code, 0)
      << "byte by byte no name is whole";
  const std::string errors = ReadText(Path("control/last_error"));
  EXPECT_EQ(errors.find('\x1b'), std::string::npos) << "a terminal would obey it";
  EXPECT_EQ(errors.find('\xff'), std::string::npos);
  EXPECT_EQ(write("delete", "db.img\n"), 0);
}

// Of two requests for one name exactly one gets it. Requests of many writers do not mix, whether
// each has its own open file or all share one (T4, T5, T53).
TEST_F(ControlTest, ManyWritersDoNotMix) {
  constexpr int kWriters = 8;
  constexpr int kEach = 5;
  const TestFile shared(Path("control/create"), O_WRONLY);
  std::atomic<int> won{0};
  std::atomic<int> lost{0};
  std::atomic<int> failed{0};
  std::vector<std::thread> threads;
  for (int w = 0; w < kWriters; ++w) {
    threads.emplace_back([&, w] {
      const int same = Ask("create", "same 1M");
      if (same == 0) ++won;
      if (same == EEXIST) ++lost;
      for (int i = 0; i < kEach; ++i) {
        const std::string line =
            "w" + std::to_string(w) + "-" + std::to_string(i) + " " + std::to_string(i + 1) + "M\n";
        const bool own = w % 2 == 0;
        const bool ok = own ? WriteText(Path("control/create"), line) == 0
                            : ::write(shared.fd(), line.data(), line.size()) ==
                                  static_cast<ssize_t>(line.size());
        if (!ok) ++failed;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(won, 1);
  EXPECT_EQ(lost, kWriters - 1);
  EXPECT_EQ(failed, 0);
  EXPECT_EQ(Names().size(), static_cast<size_t>(2 + kWriters * kEach));
  for (int w = 0; w < kWriters; ++w) {
    EXPECT_EQ(Field("w" + std::to_string(w) + "-4", "size"), std::to_string(5 << 20));
  }
}

// io_uring polls an image many times for each request. With `nopoll` the kernel does not ask the
// daemon, as a stopped daemon shows.
TEST_F(ControlTest, WithNopollTheKernelPollsByItself) {
  Unmount();
  Mount({"a", "b"}, "nopoll");
  MustRun("truncate -s 1M " + Volume("v"));
  const TestFile image(Volume("v"), O_RDWR);
  ASSERT_TRUE(IsReady(image));
  EXPECT_TRUE(KernelPollsByItself(image));
  EXPECT_TRUE(IsReady(TestFile(Path("control/watch/events"), O_RDONLY | O_NONBLOCK)))
      << "always ready, as the manual says";
}

// io_uring polls an image up to 128 times for each request. Hardly any other program polls images.
TEST_F(ControlTest, WhenImagesArePolledOftenTheKernelPollsByItself) {
  MustRun("truncate -s 1M " + Volume("v"));
  const TestFile image(Volume("v"), O_RDWR);
  for (int i = 0; i < 2000; ++i) ASSERT_TRUE(IsReady(image));
  EXPECT_TRUE(KernelPollsByItself(image));
}

TEST_F(ControlTest, WhereEventsArePolledTheyStayPollableHoweverOftenImagesAre) {
  MustRun("truncate -s 1M " + Volume("v"));
  const TestFile image(Volume("v"), O_RDWR);
  const TestFile events(Path("control/watch/events"), O_RDONLY | O_NONBLOCK);
  ASSERT_FALSE(IsReady(events));
  for (int i = 0; i < 2000; ++i) ASSERT_TRUE(IsReady(image));
  EXPECT_FALSE(IsReady(events));
  MustRun("truncate -s 1M " + Volume("w"));
  EXPECT_TRUE(IsReady(events, 5000));
}

// Blocked readers do not hold up other callers. With more of them than the daemon has threads,
// requests, reads and writes go on (T53).
TEST_F(ControlTest, BlockedReadersHoldUpNobody) {
  constexpr int kReaders = 40;
  SetCopyRate("0");
  MustRun("head -c 8192 /dev/urandom | dd of=" + Volume("db.img") + " conv=notrunc status=none");
  MustAsk("clone", "db.img");
  std::string words = "for i in $(seq " + std::to_string(kReaders) + "); do cat " +
                      Path("control/watch/volumes/db-clone.img") + " & done; wait";
  BackgroundProgram readers({"sh", "-c", words});
  EXPECT_FALSE(readers.WaitForEnd(300));
  EXPECT_EQ(RunShell("dd if=/dev/urandom of=" + Volume("db.img") +
                         " bs=64k count=10 conv=notrunc,fsync status=none",
                     {.timeout_ms = 20'000})
                .exit_code,
            0);
  EXPECT_EQ(Ask("create", "v 1M"), 0);
  SetCopyRate("max");
  const CommandResult result = readers.Finish(20'000);
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_EQ(result.output.size(), kReaders * std::string("available\n").size());
}

// watch/events gives a JSON line for each event from the open on.
TEST_F(ControlTest, EventsAreJsonLines) {
  BackgroundProgram reader(
      {"sh", "-c",
       "head -n 3 " + Path("control/watch/events") +
           " | python3 -c \"import json, sys\n"
           "for line in sys.stdin: e = json.loads(line); print(e['event'], e['volume'])\""});
  EXPECT_FALSE(reader.WaitForEnd(500));
  MustAsk("create", "v 1M");
  MustAsk("resize", "v 2M");
  MustAsk("delete", "v");
  const CommandResult result = reader.Finish(20'000);
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_THAT(result.output, HasSubstr("created v\n"));
  EXPECT_THAT(result.output, HasSubstr("deleted v\n"));
}

// Control files cannot be removed, replaced, given away or mapped for writing, and a read-only one
// cannot be opened for writing. The attempt does no harm (T3, T59).
TEST_F(ControlTest, TreeCannotBeHarmed) {
  EXPECT_NE(ErrnoOf(::unlink(Path("control/clone").c_str())), 0);
  EXPECT_NE(ErrnoOf(::rename(Path("control/clone").c_str(), Path("control/x").c_str())), 0);
  EXPECT_NE(ErrnoOf(::rename(Volume("db.img").c_str(), Path("control/clone").c_str())), 0);
  EXPECT_NE(TestFile(Path("control/new"), O_RDWR | O_CREAT).open_error(), 0);
  EXPECT_NE(TestFile(Path("control/status"), O_WRONLY).open_error(), 0);
  EXPECT_EQ(ErrnoOf(::chmod(Path("control/clone").c_str(), 0777)), EPERM);
  EXPECT_EQ(ErrnoOf(::chown(Path("control/clone").c_str(), 1, 1)), EPERM);
  EXPECT_EQ(ErrnoOf(::truncate(Path("control/clone").c_str(), 0)), 0) << "`>` truncates";
  EXPECT_EQ(WriteText(Path("control/limits/copy_rate"), "fast\n"), EINVAL);
  EXPECT_EQ(ReadText(Path("control/limits/copy_rate")), "max\n");
  EXPECT_EQ(StatOf(Path("control/clone")).st_mode & 0777, 0600U);
  EXPECT_TRUE(Exists(Volume("db.img")));
}

// A user other than the one who mounted may read, but neither make requests nor touch other users'
// volumes. With -o control_gid the group may make requests, and a volume belongs to its maker
// (contract.md 6).
TEST_F(ControlTest, OthersMayOnlyDoWhatTheyHaveTheRightTo) {
  constexpr const char* kNobody = "setpriv --reuid=65534 --regid=65534 --clear-groups sh -c ";
  ::chmod(directory().c_str(), 0755);
  const auto as_nobody = [&](const std::string& line) {
    return RunShell(kNobody + Quoted(line), {.directory = Mnt()}).exit_code;
  };
  ::chmod(Volume("db.img").c_str(), 0600);
  EXPECT_EQ(as_nobody("cat control/status"), 0);
  EXPECT_NE(as_nobody("echo db.img > control/clone"), 0);
  EXPECT_NE(as_nobody("touch volumes/mine"), 0);
  EXPECT_NE(as_nobody("cat volumes/db.img"), 0);
  EXPECT_NE(as_nobody("rm -f volumes/db.img"), 0);
  Unmount();
  Mount({"a", "b"}, "control_gid=65534");
  EXPECT_EQ(as_nobody("echo mine 1M > control/create"), 0);
  EXPECT_EQ(StatOf(Volume("mine")).st_uid, 65534U);
  EXPECT_EQ(StatOf(Volume("mine")).st_mode & 0777, 0600U);
  EXPECT_NE(as_nobody("echo db.img > control/clone"), 0) << "he may not read it";
  EXPECT_NE(as_nobody("echo db.img > control/delete"), 0);
  EXPECT_THAT(ReadText(Path("control/last_error")), HasSubstr("EACCES"));
  ::chmod(Volume("db.img").c_str(), 0644);
  EXPECT_EQ(as_nobody("echo db.img > control/clone"), 0) << "he may read it";
  EXPECT_EQ(StatOf(Volume("db-clone.img")).st_uid, 65534U) << "the clone is its requester's";
  EXPECT_EQ(as_nobody("chmod 400 volumes/mine"), 0);
  EXPECT_NE(as_nobody("echo mine > control/delete"), 0) << "it is protected";
  EXPECT_THAT(ReadText(Path("control/last_error")), testing::ContainsRegex("^[^\n]* EPERM "));
  EXPECT_EQ(as_nobody("chmod 600 volumes/mine"), 0);
  MustAsk("snapshot", "mine s");
  MustAsk("snapshot", "db.img s");
  EXPECT_EQ(as_nobody("mv snapshots/mine/s snapshots/mine/t && rm snapshots/mine/t"), 0);
  EXPECT_NE(as_nobody("rm -f snapshots/db.img/s"), 0);
  EXPECT_EQ(as_nobody("echo mine > control/delete"), 0);
  EXPECT_TRUE(Exists(Volume("db.img")));
}

}  // namespace
}  // namespace volfs
