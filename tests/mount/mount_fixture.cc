#include "tests/mount/mount_fixture.h"

#include <linux/loop.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <thread>

namespace volfs {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr int kPollMs = 5;

bool IsBelow(const std::string& path, const std::string& directory) {
  return path == directory || path.starts_with(directory + "/");
}

std::string FirstLineOf(const std::string& path) {
  std::ifstream in(path);
  std::string line;
  std::getline(in, line);
  return line;
}

std::string WithoutLf(std::string text) {
  if (text.ends_with('\n')) text.pop_back();
  return text;
}

// Mountpoint and source of each mount, in the order of mounting.
std::vector<std::pair<std::string, std::string>> Mounts() {
  std::vector<std::pair<std::string, std::string>> mounts;
  std::ifstream in("/proc/self/mountinfo");
  for (std::string line; std::getline(in, line);) {
    std::istringstream words(line);
    std::string word;
    std::string mountpoint;
    for (int i = 0; i < 5; ++i) words >> mountpoint;
    while (words >> word && word != "-") {
    }
    std::string type;
    std::string source;
    words >> type >> source;
    mounts.emplace_back(mountpoint, source);
  }
  return mounts;
}

std::vector<std::string> LoopsOver(const std::string& directory) {
  std::vector<std::string> loops;
  for (const std::string& name : ListOf("/sys/block")) {
    if (!name.starts_with("loop")) continue;
    const std::string file = FirstLineOf("/sys/block/" + name + "/loop/backing_file");
    if (IsBelow(file, directory)) loops.push_back("/dev/" + name);
  }
  return loops;
}

// Returns the daemons whose command line names a path below `directory`.
std::vector<int> DaemonsOf(const std::string& directory) {
  std::vector<int> pids;
  for (const std::string& name : ListOf("/proc")) {
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    const std::string command = FirstLineOf("/proc/" + name + "/comm");
    if (command != "volfs" && command != "mount.volfs") continue;
    const std::string words = FirstLineOf("/proc/" + name + "/cmdline");
    if (words.find(directory + "/") != std::string::npos) pids.push_back(std::stoi(name));
  }
  return pids;
}

// Returns the logs of the daemons that were mounted in `directory`.
std::vector<std::string> LogsOf(const std::string& directory) {
  const std::string mark = directory.substr(directory.rfind('.')) + "-";
  std::vector<std::string> files;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator("/var/log/volfs", ignored)) {
    const std::string file = entry.path();
    if (file.ends_with(".log") && file.find(mark) != std::string::npos) files.push_back(file);
  }
  return files;
}

// Returns true for a zombie, too: its parent may be slow to collect it.
bool HasEnded(int pid) {
  const std::string stat = FirstLineOf("/proc/" + std::to_string(pid) + "/stat");
  const size_t end_of_name = stat.rfind(')');
  return end_of_name == std::string::npos || stat.compare(end_of_name, 3, ") Z") == 0 ||
         stat.compare(end_of_name, 3, ") X") == 0;
}

// Sets the options of the sanitizers for programs started from here: their reports go to files, as
// a daemon's standard error goes nowhere.
void SetReportPath(const char* variable, const std::string& path) {
  const char* given = std::getenv(variable);
  std::string options = given == nullptr ? "" : std::string(given) + ":";
  options += "log_path=" + path;
  ::setenv(variable, options.c_str(), 1);
}

void MakeLoopNode(const std::string& device) {
  if (!device.starts_with("/dev/loop") || Exists(device)) return;
  const auto number = static_cast<unsigned>(std::stoi(device.substr(std::strlen("/dev/loop"))));
  ::mknod(device.c_str(), S_IFBLK | 0660, makedev(7, number));
}

}  // namespace

void SleepMs(uint64_t milliseconds) {
  std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
}

// --- life ----------------------------------------------------------------------------------------

std::string MountTest::Binary() { return VOLFS_BINARY; }

MountTest::MountTest() {
  for (const char* name : {"a", "b", "mnt"}) ::mkdir((dir_ / name).c_str(), 0700);
  // A daemon becomes a child of this process when the command that started it ends, so its exit
  // code can be read.
  ::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
  for (const char* variable : {"ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS", "LSAN_OPTIONS"}) {
    SetReportPath(variable, dir_ / "sanitizer");
  }
  StartWatchdog();
}

MountTest::~MountTest() {
  CleanUp(directory());
  if (watchdog_pid_ < 0) return;
  (void)!::write(watchdog_fd_, "x", 1);
  ::close(watchdog_fd_);
  ::waitpid(watchdog_pid_, nullptr, 0);
}

// Starts before there are threads. The watchdog inherits the reading end; a byte written means that
// all is well.
void MountTest::StartWatchdog() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return;
  watchdog_pid_ = ::fork();
  if (watchdog_pid_ == 0) {
    ::setsid();  // a kill of the test's group must not kill the cleaner
    ::close(ends[1]);
    char word = 0;
    if (::read(ends[0], &word, 1) == 0) {
      CleanUp(directory());
      std::error_code ignored;
      fs::remove_all(directory(), ignored);
    }
    ::_exit(0);
  }
  ::close(ends[0]);
  watchdog_fd_ = ends[1];
}

void MountTest::SetUp() {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can attach loop devices";
  ASSERT_TRUE(Exists("/dev/fuse")) << "no /dev/fuse: nothing can be mounted here";
}

void MountTest::TearDown() {
  try {
    for (const std::string& device : LoopsOver(directory())) {
      MustRun("if grep -q '^" + device + "' /proc/mounts; then umount " + device + "; fi");
      // A device that mount(8) has made disappears by itself, perhaps just now.
      const std::string file = "/sys/block/" + device.substr(5) + "/loop/backing_file";
      MustRun("losetup --detach " + device + " || ! test -e " + file);
      AwaitDetached(device);
    }
    if (pid_ != 0) Unmount();
  } catch (const std::runtime_error& error) {
    ADD_FAILURE() << "after the test: " << error.what();
  }
  CheckSanitizers();
  TellLogs();
}

void MountTest::TellLogs() {
  if (!HasFailure()) return;
  for (const std::string& file : LogsOf(directory())) {
    std::fputs(RunShell("tail -n 40 " + Quoted(file)).output.c_str(), stderr);
  }
}

void MountTest::CheckSanitizers() {
  for (const std::string& name : ListOf(directory())) {
    if (name.starts_with("sanitizer")) ADD_FAILURE() << ReadText(dir_ / name);
  }
}

void MountTest::CleanUp(const std::string& directory) {
  auto mounts = Mounts();
  const std::vector<std::string> loops = LoopsOver(directory);
  for (auto it = mounts.rbegin(); it != mounts.rend(); ++it) {
    const bool of_loop = std::find(loops.begin(), loops.end(), it->second) != loops.end();
    const bool inner = IsBelow(it->first, directory) && it->first != directory + "/mnt";
    if (of_loop || inner) ::umount2(it->first.c_str(), MNT_DETACH);
  }
  for (const std::string& device : loops) {
    const int fd = ::open(device.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd >= 0) ::ioctl(fd, LOOP_CLR_FD);
    ::close(fd);
  }
  for (const int pid : DaemonsOf(directory)) {
    ::kill(pid, SIGKILL);
    for (int waited = 0; !HasEnded(pid) && waited < 5000; waited += kPollMs) SleepMs(kPollMs);
    ::waitpid(pid, nullptr, WNOHANG);
  }
  while (::umount2((directory + "/mnt").c_str(), MNT_DETACH) == 0) {
  }
  std::error_code ignored;
  for (const std::string& file : LogsOf(directory)) fs::remove(file, ignored);
}

// --- the daemon ----------------------------------------------------------------------------------

bool MountTest::NativeByDefault() {
  const char* const io = std::getenv("VOLFS_TEST_IO");
  return io != nullptr && std::string_view(io) == "native";
}

CommandResult MountTest::TryMount(const std::vector<std::string>& nodes,
                                  const std::string& options) {
  std::vector<std::string> words = {Binary(), "mount"};
  for (const std::string& node : nodes) words.push_back(NodePath(node));
  words.push_back(Mnt());
  if (!options.empty()) words.insert(words.end(), {"-o", options});
  if (NativeByDefault()) words.insert(words.end(), {"-o", "io=native"});
  return RunProgram(words);
}

void MountTest::Mount(const std::vector<std::string>& nodes, const std::string& options) {
  const CommandResult result = TryMount(nodes, options);
  if (!result.ok()) {
    throw std::runtime_error("volfs mount: exit code " + std::to_string(result.exit_code) + "\n" +
                             result.output);
  }
  nodes_ = nodes;
  options_ = options;
  FindDaemon();
}

void MountTest::FindDaemon() {
  const std::string config = ReadText(Path("control/config"));
  const std::string key = "pid=";
  const size_t at = config.find(key);
  if (at == std::string::npos) throw std::runtime_error("control/config has no pid:\n" + config);
  pid_ = std::stoi(config.substr(at + key.size()));
}

void MountTest::Unmount() {
  const CommandResult result = Volfs("umount " + Quoted(Mnt()));
  if (!result.ok()) {
    throw std::runtime_error("volfs umount: exit code " + std::to_string(result.exit_code) + "\n" +
                             result.output);
  }
  if (!HasEnded(pid_)) throw std::runtime_error("volfs umount left its daemon running");
  AwaitDaemon(0);
}

void MountTest::AwaitDaemon(int timeout_ms) {
  int status = 0;
  const Clock::time_point end = Clock::now() + std::chrono::milliseconds(timeout_ms);
  pid_t got = 0;
  while ((got = ::waitpid(pid_, &status, WNOHANG)) == 0) {
    if (Clock::now() >= end) throw std::runtime_error("the daemon does not end");
    SleepMs(kPollMs);
  }
  const bool well = got != pid_ || (WIFEXITED(status) && WEXITSTATUS(status) == 0);
  pid_ = 0;
  if (!well) {
    throw std::runtime_error("the daemon ended with wait status " + std::to_string(status));
  }
}

void MountTest::Remount() {
  Unmount();
  Mount(nodes_, options_);
}

void MountTest::Kill() {
  constexpr int kPatienceMs = 10'000;
  // No exception here: the test may have threads to join.
  if (HasEnded(pid_)) ADD_FAILURE() << "the daemon ended before it was killed";
  ::kill(pid_, SIGKILL);
  // The process may look like a zombie while some of its threads are still in the kernel. It cannot
  // be collected then.
  for (int waited = 0;; waited += kPollMs) {
    const pid_t got = ::waitpid(pid_, nullptr, WNOHANG);
    if (got == pid_ || (got < 0 && HasEnded(pid_))) break;
    if (waited > kPatienceMs) throw std::runtime_error("a killed daemon does not end");
    SleepMs(kPollMs);
  }
  pid_ = 0;
}

int MountTest::KillAndMount() {
  Kill();
  const Clock::time_point start = Clock::now();
  Mount(nodes_, options_);
  const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - start);
  return static_cast<int>(took.count());
}

// --- asking --------------------------------------------------------------------------------------

CommandResult MountTest::Volfs(const std::string& words, const CommandOptions& options) {
  return RunShell(Quoted(Binary()) + " " + words, options);
}

CommandResult MountTest::VolfsHere(const std::string& words) const {
  return Volfs(words + " --mount " + Quoted(Mnt()));
}

int MountTest::Ask(const std::string& file, const std::string& line) const {
  return WriteText(Path("control/" + file), line + "\n");
}

AskResult MountTest::AskForReply(const std::string& file, const std::string& line) const {
  const TestFile request(Path("control/" + file), O_RDWR);
  if (!request.ok()) return {request.open_error(), ""};
  const std::string text = line + "\n";
  AskResult result;
  result.error = ErrnoOf(::write(request.fd(), text.data(), text.size()));
  char reply[8192];
  const ssize_t got = ::read(request.fd(), reply, sizeof reply);
  if (got > 0) result.reply = WithoutLf(std::string(reply, static_cast<size_t>(got)));
  return result;
}

void MountTest::MustAsk(const std::string& file, const std::string& line) const {
  const AskResult result = AskForReply(file, line);
  if (result.error == 0) return;
  throw std::runtime_error(file + " " + line + ": " + std::strerror(result.error) + ": " +
                           result.reply);
}

std::string MountTest::Field(const std::string& volume, const std::string& field) const {
  return WithoutLf(ReadText(Path("control/volumes/" + volume + "/" + field)));
}

uint64_t MountTest::Number(const std::string& volume, const std::string& field) const {
  return std::stoull(Field(volume, field));
}

bool MountTest::WaitForStatus(const std::string& volume, const std::string& status,
                              int timeout_ms) const {
  const Clock::time_point end = Clock::now() + std::chrono::milliseconds(timeout_ms);
  while (Field(volume, "status") != status) {
    if (Clock::now() >= end) return false;
    SleepMs(kPollMs);
  }
  return true;
}

void MountTest::SetCopyRate(const std::string& rate) const {
  const int error = WriteText(Path("control/limits/copy_rate"), rate + "\n");
  if (error != 0) throw std::runtime_error(std::string("copy_rate: ") + std::strerror(error));
}

bool MountTest::IsAsleep(int pid) {
  const std::string stat = FirstLineOf("/proc/" + std::to_string(pid) + "/stat");
  const size_t end_of_name = stat.rfind(") ");
  if (end_of_name == std::string::npos) return false;
  return stat.compare(end_of_name, 3, ") S") == 0 || stat.compare(end_of_name, 3, ") D") == 0;
}

void MountTest::AwaitAsleep(int pid) {
  constexpr int kLooks = 30;
  constexpr int kStepMs = 10;
  constexpr int kLongestMs = 20'000;
  int asleep = 0;
  for (int waited = 0; asleep < kLooks && waited < kLongestMs; waited += kStepMs) {
    SleepMs(kStepMs);
    asleep = IsAsleep(pid) ? asleep + 1 : 0;
  }
}

// --- loop devices --------------------------------------------------------------------------------

bool MountTest::DetachLoopsNaming(const std::string& text) {
  return RunShell("devices=$(losetup -n -O NAME,BACK-FILE | grep -F " + Quoted(text) +
                  " | cut -d ' ' -f 1); losetup --detach $devices; [ -n \"$devices\" ]")
      .ok();
}

// Another process may take the free device between two system calls of losetup, so it gets several
// tries.
std::string MountTest::AttachLoop(const std::string& image,
                                  const std::string& losetup_options) const {
  const std::string attach = "losetup --find --show " + losetup_options + " " + Quoted(image);
  CommandResult result;
  for (int attempt = 0; attempt < 10; ++attempt) {
    MakeLoopNode(WithoutLf(RunShell("losetup --find").output));
    result = RunShell(attach);
    if (result.ok()) return WithoutLf(result.output);
    SleepMs(50);
  }
  throw std::runtime_error(attach + ": " + result.output);
}

// The device is gone when its last user is; udev may use it for a moment.
void MountTest::DetachLoop(const std::string& device) {
  MustRun("losetup --detach " + device);
  AwaitDetached(device);
}

void MountTest::AwaitDetached(const std::string& device) {
  const std::string file = "/sys/block/" + device.substr(5) + "/loop/backing_file";
  for (int waited = 0; Exists(file); waited += kPollMs) {
    if (waited > 20'000) throw std::runtime_error(device + " stays attached");
    SleepMs(kPollMs);
  }
}

}  // namespace volfs
