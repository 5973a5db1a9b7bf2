// Goal: a daemon that a service manager has started tells it how it is, and stops when it has to.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <fstream>
#include <stdexcept>

#include "tests/mount/mount_fixture.h"

namespace volfs {
namespace {

using testing::HasSubstr;
using testing::Not;

// The socket that a service manager listens at.
class Manager {
 public:
  explicit Manager(std::string path) : path_(std::move(path)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path_.size() >= sizeof address.sun_path) throw std::runtime_error("too long: " + path_);
    path_.copy(&address.sun_path[0], path_.size());
    fd_ = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (::bind(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
      throw std::runtime_error("bind: " + path_);
    }
  }
  ~Manager() { ::close(fd_); }
  Manager(const Manager&) = delete;
  Manager& operator=(const Manager&) = delete;

  // Waits for a message that has `line` in it, and returns all messages up to this one.
  std::string Await(const std::string& line, int timeout_ms = 60'000) {
    std::string all;
    pollfd ready{fd_, POLLIN, 0};
    while (::poll(&ready, 1, timeout_ms) == 1) {
      std::array<char, 4096> text{};
      const ssize_t got = ::recv(fd_, text.data(), text.size(), 0);
      if (got <= 0) break;
      const std::string message(text.data(), static_cast<size_t>(got));
      all += message + "\n";
      if (("\n" + message + "\n").find("\n" + line) != std::string::npos) return all;
    }
    throw std::runtime_error("the daemon has not said " + line + ", but: " + all);
  }

  [[nodiscard]] std::string Environment() const { return "NOTIFY_SOCKET=" + path_; }

 private:
  const std::string path_;
  int fd_ = -1;
};

class ServiceTest : public MountTest {
 protected:
  ServiceTest() : manager(directory() + "/notify") {
    for (const char* node : {"a", "b"}) MustRun(Binary() + " node init " + NodePath(node));
  }

  [[nodiscard]] std::vector<std::string> Command() const {
    return {"env", manager.Environment(), Binary(),      "mount",
            "-f",  NodePath("a"),         NodePath("b"), Mnt()};
  }

  Manager manager;
};

TEST_F(ServiceTest, TellsItsManagerWhenTheMountIsUsable) {
  BackgroundProgram daemon(Command());
  const std::string start = manager.Await("READY=1");
  EXPECT_THAT(start, HasSubstr("EXTEND_TIMEOUT_USEC=")) << "a long start needs more time";
  EXPECT_THAT(start, HasSubstr("STATUS=recovering a, b"));
  EXPECT_THAT(start, HasSubstr("STATUS=mounted a, b on " + Mnt() + " (0 volumes)"));
  MustRun("truncate -s 1M " + Volume("v"));
  daemon.Signal(SIGTERM);
  const std::string end = manager.Await("STATUS=writing out");
  EXPECT_THAT(end, HasSubstr("STOPPING=1"));
  EXPECT_THAT(end, HasSubstr("EXTEND_TIMEOUT_USEC="));
  EXPECT_EQ(daemon.Finish(20'000).exit_code, 0);
}

TEST_F(ServiceTest, TellsItsManagerThatItIsUnmounted) {
  BackgroundProgram daemon(Command());
  manager.Await("READY=1");
  EXPECT_EQ(Volfs("umount " + Mnt()).exit_code, 0);
  EXPECT_THAT(manager.Await("STOPPING=1"), HasSubstr("STATUS=writing out"));
  EXPECT_EQ(daemon.Finish(20'000).exit_code, 0);
}

// A unit has one argument, its name: all else stands in the file.
TEST_F(ServiceTest, TakesNodesAndMountpointFromTheFile) {
  const std::string file = directory() + "/store.toml";
  std::ofstream(file) << "nodes = [\"a\", \"b\"]\nmountpoint = \"mnt\"\n";
  BackgroundProgram daemon(
      {"env", manager.Environment(), Binary(), "mount", "-f", "--config", file});
  EXPECT_THAT(manager.Await("READY=1"), HasSubstr("mounted a, b on " + Mnt()));
  daemon.Signal(SIGTERM);
  EXPECT_EQ(daemon.Finish(20'000).exit_code, 0);

  std::ofstream(file) << "nodes = [\"a\", \"b\"]\n";
  const CommandResult nowhere = Volfs("mount --config " + file);
  EXPECT_EQ(nowhere.exit_code, 2) << nowhere.output;
  EXPECT_THAT(nowhere.output, HasSubstr("it has no `mountpoint`"));
}

// At boot an empty directory may be the mountpoint of a disk that did not come up.
TEST_F(ServiceTest, MakesNoNodeOfAnEmptyDirectory) {
  MustRun("mkdir " + NodePath("empty"));
  BackgroundProgram daemon(
      {"env", manager.Environment(), Binary(), "mount", "-f", NodePath("empty"), Mnt()});
  const CommandResult refused = daemon.Finish(20'000);
  EXPECT_NE(refused.exit_code, 0);
  EXPECT_THAT(manager.Await("STATUS=node directory " + NodePath("empty")), Not(HasSubstr("READY")));
}

// The manager would kill it, and more be lost than the writes that come now.
TEST_F(ServiceTest, StopsAlthoughTheMountIsInUse) {
  BackgroundProgram daemon(Command());
  manager.Await("READY=1");
  MustRun("truncate -s 1M " + Volume("v") +
          "; printf written | dd conv=notrunc status=none of=" + Volume("v"));
  BackgroundProgram user({"sh", "-c", "exec 3<" + Volume("v") + "; exec sleep 120"});
  AwaitAsleep(user.pid());
  daemon.Signal(SIGTERM);
  EXPECT_THAT(manager.Await("STATUS=stopping: "), HasSubstr("busy"));
  EXPECT_EQ(daemon.Finish(60'000).exit_code, 0);
  user.Signal(SIGKILL);
  Mount();
  EXPECT_EQ(MustRun("head -c 7 " + Volume("v")), "written");
}

}  // namespace
}  // namespace volfs
