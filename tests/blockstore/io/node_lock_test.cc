// Goal: a node has one daemon. A new daemon waits for one that is on its way out, and for no other.
// Each holder is a process of its own, because a lock belongs to a process.
#include "blockstore/io/node_lock.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <functional>
#include <string>

#include "tests/support/temp_dir.h"

namespace volfs {
namespace {

using testing::HasSubstr;

// A process that holds the lock until it is told to end, or is killed.
class Holder {
 public:
  Holder(const std::string& directory, NodeAccess access,
         const std::function<void(NodeLock&)>& then = {}) {
    EXPECT_EQ(::pipe(ready_.data()), 0);
    EXPECT_EQ(::pipe(end_.data()), 0);
    pid_ = ::fork();
    if (pid_ != 0) {
      char letter = 0;
      EXPECT_EQ(::read(ready_[0], &letter, 1), 1);
      return;
    }
    const auto lock = NodeLock::Take(directory, access);
    if (lock.ok() && then) then(*lock.value());
    (void)!::write(ready_[1], "x", 1);
    char letter = 0;
    (void)!::read(end_[0], &letter, 1);
    ::_exit(0);
  }
  ~Holder() { End(); }
  Holder(const Holder&) = delete;
  Holder& operator=(const Holder&) = delete;

  void End() {
    if (pid_ == 0) return;
    (void)!::write(end_[1], "x", 1);
    ::waitpid(pid_, nullptr, 0);
    pid_ = 0;
    for (const int fd : {ready_[0], ready_[1], end_[0], end_[1]}) ::close(fd);
  }
  [[nodiscard]] pid_t pid() const { return pid_; }

 private:
  std::array<int, 2> ready_{};
  std::array<int, 2> end_{};
  pid_t pid_ = 0;
};

class NodeLockTest : public testing::Test {
 protected:
  static LockWait Brief() { return {std::chrono::milliseconds(100), {}}; }
  Result<std::unique_ptr<NodeLock>> Take(NodeAccess access = NodeAccess::kReadWrite,
                                         const LockWait& wait = Brief()) {
    return NodeLock::Take(dir_.path(), access, wait);
  }
  TempDir dir_;
};

TEST_F(NodeLockTest, ALivingOwnerIsNamedAtOnce) {
  const Holder owner(dir_.path(), NodeAccess::kReadWrite);
  const LockWait long_wait{std::chrono::hours(1), {}};
  const auto refused = Take(NodeAccess::kReadWrite, long_wait);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, Errc::kLocked);
  EXPECT_THAT(refused.error().message, HasSubstr(std::to_string(owner.pid())));
  EXPECT_EQ(Take(NodeAccess::kReadOnly, long_wait).error().code, Errc::kLocked);
}

TEST_F(NodeLockTest, AnOwnerWhoseMountHasEndedIsWaitedFor) {
  Holder owner(dir_.path(), NodeAccess::kReadWrite, [](NodeLock& lock) {
    lock.Serve(5);
    lock.StopServing();
  });
  const auto impatient = Take();
  ASSERT_FALSE(impatient.ok());
  EXPECT_EQ(impatient.error().code, Errc::kLocked);
  EXPECT_THAT(impatient.error().message, HasSubstr("whose mount has ended"));
  std::string told;
  const LockWait patient{std::chrono::minutes(1), [&](const std::string& text) {
                           told = text;
                           owner.End();
                         }};
  EXPECT_TRUE(Take(NodeAccess::kReadWrite, patient).ok());
  EXPECT_THAT(told, HasSubstr("waiting for process"));
}

// Holds also before the daemon has noticed the unmount: no mount has the number that it serves.
TEST_F(NodeLockTest, AnOwnerWhoseMountIsNowhereIsWaitedFor) {
  constexpr uint32_t kNoMount = 1'000'000;
  const Holder owner(dir_.path(), NodeAccess::kReadWrite,
                     [](NodeLock& lock) { lock.Serve(kNoMount); });
  EXPECT_THAT(Take().error().message, HasSubstr("whose mount has ended"));
}

TEST_F(NodeLockTest, ReadersShareAndKeepWritersOut) {
  EXPECT_TRUE(Take().ok()) << "makes the file";
  const Holder reader(dir_.path(), NodeAccess::kReadOnly);
  EXPECT_EQ(Take().error().code, Errc::kLocked);
  EXPECT_TRUE(Take(NodeAccess::kReadOnly).ok());
}

TEST_F(NodeLockTest, AReaderMakesNoFile) {
  EXPECT_TRUE(Take(NodeAccess::kReadOnly).ok());
  EXPECT_TRUE(std::filesystem::is_empty(dir_.path()));
}

}  // namespace
}  // namespace volfs
