// Goal: a guest is frozen by its agent for the time of a request and thawed in any case, however
// the agent behaves (contract.md 3). Method: the agent is a script on a socket, which answers,
// hangs, lies or dies.
#include "control/cli/guest.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/temp_dir.h"

namespace volfs::cli {
namespace {

using namespace std::chrono_literals;
using testing::AllOf;
using testing::Contains;
using testing::HasSubstr;
using Clock = std::chrono::steady_clock;

// A server with the form of a guest agent. `answer` returns the value for a command, or kHang, or
// kDie. It may be anything: "{\"error\":1}" goes out as it stands.
class ScriptedAgent {
 public:
  static constexpr const char* kHang = "hang";
  static constexpr const char* kDie = "die";
  using Script = std::function<std::string(const std::string& command)>;

  ScriptedAgent(const std::string& socket, Script answer) : answer_(std::move(answer)) {
    listener_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, socket.data(), socket.size());
    EXPECT_EQ(::bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(::listen(listener_, 8), 0);
    thread_ = std::thread([this] { Serve(); });
  }
  ~ScriptedAgent() {
    stopped_ = true;
    thread_.join();
    ::close(listener_);
  }

  std::vector<std::string> commands() {
    const std::lock_guard lock(mu_);
    return commands_;
  }

 private:
  void Serve() {
    while (!stopped_) {
      pollfd ready{listener_, POLLIN, 0};
      if (::poll(&ready, 1, 20) <= 0) continue;
      const int fd = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
      Talk(fd);
      ::close(fd);
    }
  }

  void Talk(int fd) {
    std::string pending;
    while (!stopped_) {
      pollfd ready{fd, POLLIN, 0};
      if (::poll(&ready, 1, 20) <= 0) continue;
      char buffer[4096];
      const ssize_t got = ::recv(fd, buffer, sizeof buffer, 0);
      if (got <= 0) return;
      pending.append(buffer, static_cast<size_t>(got));
      for (size_t end = pending.find('\n'); end != pending.npos; end = pending.find('\n')) {
        const std::string line = pending.substr(0, end);
        pending.erase(0, end + 1);
        if (!Answer(fd, line)) return;
      }
    }
  }

  bool Answer(int fd, const std::string& line) {
    constexpr std::string_view kExecute = "\"execute\":\"";
    const size_t begin = line.find(kExecute) + kExecute.size();
    const std::string command = line.substr(begin, line.find('"', begin) - begin);
    {
      const std::lock_guard lock(mu_);
      commands_.push_back(command);
    }
    std::string answer = answer_(command);
    if (answer == kHang) return true;
    if (answer == kDie) return false;
    if (command == "guest-sync-delimited" && answer.empty()) {
      const size_t id = line.find("\"id\":") + 5;
      answer = line.substr(id, line.find('}', id) - id);
      Send(fd, "half of an old ans\xff");
    }
    return Send(fd, answer[0] == '{' ? answer + "\n" : "{\"return\": " + answer + "}\n");
  }

  static bool Send(int fd, const std::string& text) {
    return ::send(fd, text.data(), text.size(), MSG_NOSIGNAL) >= 0;
  }

  const Script answer_;
  int listener_ = -1;
  std::atomic<bool> stopped_{false};
  std::mutex mu_;
  std::vector<std::string> commands_;
  std::thread thread_;
};

class GuestFreezeTest : public testing::Test {
 protected:
  [[nodiscard]] std::string Socket() const { return dir_ / "qga.sock"; }
  [[nodiscard]] Guest MakeGuest() const { return {Socket(), {300ms, 600ms, 1200ms}}; }

  // An honest agent, but for what `other` says.
  std::string Honest(const std::string& command) {
    if (command == "guest-fsfreeze-freeze") frozen_ = true;
    if (command == "guest-fsfreeze-thaw") frozen_ = false;
    if (command == "guest-fsfreeze-status") return frozen_ ? "\"frozen\"" : "\"thawed\"";
    return command == "guest-sync-delimited" ? "" : "2";
  }

  TempDir dir_;
  std::atomic<bool> frozen_{false};
};

TEST_F(GuestFreezeTest, AnAgentFreezesAndThaws) {
  ScriptedAgent agent(Socket(), [this](const std::string& c) { return Honest(c); });
  Guest guest = MakeGuest();
  ASSERT_TRUE(guest.Freeze().ok());
  EXPECT_TRUE(frozen_);
  EXPECT_TRUE(guest.Thaw().ok());
  EXPECT_FALSE(frozen_);
}

// It freezes late: the answer comes after the end of the wait.
TEST_F(GuestFreezeTest, OneThatHangsWhileItFreezesIsThawed) {
  ScriptedAgent agent(Socket(), [this](const std::string& c) {
    const std::string answer = Honest(c);
    return c == "guest-fsfreeze-freeze" ? ScriptedAgent::kHang : answer;
  });
  Guest guest = MakeGuest();
  const auto begin = Clock::now();
  const Status frozen = guest.Freeze();
  ASSERT_FALSE(frozen.ok());
  EXPECT_EQ(frozen.error().code, Errc::kNodeDown);
  EXPECT_THAT(frozen.error().message, AllOf(HasSubstr(Socket()), HasSubstr("nothing was asked")));
  EXPECT_FALSE(frozen_);
  EXPECT_LT(Clock::now() - begin, 5s);
}

TEST_F(GuestFreezeTest, OneThatNeverAnswersIsAskedNothing) {
  ScriptedAgent agent(Socket(), [](const std::string&) { return ScriptedAgent::kHang; });
  Guest guest = MakeGuest();
  const Status frozen = guest.Freeze();
  ASSERT_FALSE(frozen.ok());
  EXPECT_THAT(frozen.error().message, HasSubstr("does not answer"));
  EXPECT_THAT(agent.commands(), testing::Each("guest-sync-delimited"));
}

TEST_F(GuestFreezeTest, OneThatRefusesIsQuoted) {
  ScriptedAgent agent(Socket(), [this](const std::string& c) -> std::string {
    if (c != "guest-fsfreeze-freeze") return Honest(c);
    return "{\"error\": {\"class\": \"GenericError\", \"desc\": \"disabled here\"}}";
  });
  Guest guest = MakeGuest();
  const Status frozen = guest.Freeze();
  ASSERT_FALSE(frozen.ok());
  EXPECT_THAT(frozen.error().message, HasSubstr("disabled here"));
}

TEST_F(GuestFreezeTest, OneThatFroze0FilesystemsOrSaysThawedHasFrozenNothing) {
  for (const bool none : {true, false}) {
    SCOPED_TRACE(none);
    ::unlink(Socket().c_str());
    ScriptedAgent agent(Socket(), [&](const std::string& c) -> std::string {
      if (c == "guest-fsfreeze-freeze") return none ? "0" : "1";
      if (c == "guest-fsfreeze-status") return "\"thawed\"";
      return Honest(c);
    });
    Guest guest = MakeGuest();
    EXPECT_FALSE(guest.Freeze().ok());
    EXPECT_THAT(agent.commands(), Contains("guest-fsfreeze-thaw"));
  }
}

// A guest that thaws by itself, as Windows does after 10 s.
TEST_F(GuestFreezeTest, OneThatThawedTooEarlyIsReported) {
  ScriptedAgent agent(Socket(), [this](const std::string& c) { return Honest(c); });
  Guest guest = MakeGuest();
  ASSERT_TRUE(guest.Freeze().ok());
  frozen_ = false;
  const Status thawed = guest.Thaw();
  ASSERT_FALSE(thawed.ok());
  EXPECT_THAT(thawed.error().message, HasSubstr("before the instant was known to be fixed"));
}

// It comes back: a new connection thaws. The copy may be unclean all the same.
TEST_F(GuestFreezeTest, OneThatDiesIsThawedOverANewConnection) {
  std::atomic<int> deaths{0};
  ScriptedAgent agent(Socket(), [&](const std::string& c) -> std::string {
    if (c == "guest-fsfreeze-status" && deaths++ == 1) return ScriptedAgent::kDie;
    return Honest(c);
  });
  Guest guest = MakeGuest();
  ASSERT_TRUE(guest.Freeze().ok());
  const Status thawed = guest.Thaw();
  ASSERT_FALSE(thawed.ok());
  EXPECT_THAT(thawed.error().message, HasSubstr("did not answer"));
  EXPECT_FALSE(frozen_);
}

TEST_F(GuestFreezeTest, OneThatDoesNotThawIsReportedWithTheWayOut) {
  ScriptedAgent agent(Socket(), [this](const std::string& c) -> std::string {
    return c == "guest-fsfreeze-thaw" ? "0" : Honest(c);
  });
  Guest guest = MakeGuest();
  ASSERT_TRUE(guest.Freeze().ok());
  const auto begin = Clock::now();
  const Status thawed = guest.Thaw();
  ASSERT_FALSE(thawed.ok());
  EXPECT_THAT(thawed.error().message,
              AllOf(HasSubstr("may still be frozen"), HasSubstr("virsh domfsthaw")));
  EXPECT_LT(Clock::now() - begin, 10s);
}

TEST_F(GuestFreezeTest, OneThatNeverEndsItsAnswerIsNone) {
  ScriptedAgent agent(Socket(), [](const std::string&) { return "{" + std::string(100'000, 'x'); });
  Guest guest = MakeGuest();
  EXPECT_FALSE(guest.Freeze().ok());
}

TEST_F(GuestFreezeTest, NobodyListens) {
  Guest missing = MakeGuest();
  const Status frozen = missing.Freeze();
  ASSERT_FALSE(frozen.ok());
  EXPECT_EQ(frozen.error().code, Errc::kNotFound);
  Guest long_path("/" + std::string(200, 'x'));
  EXPECT_EQ(long_path.Freeze().error().code, Errc::kInvalid);
}

}  // namespace
}  // namespace volfs::cli
