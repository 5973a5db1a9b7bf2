// Goal: every command answers within some seconds although a node or a daemon does not answer, and
// names it (exit code 7).
// Method: a stopped bindfs stands for a dead server, a frozen ext4 for a disk that takes no writes.
// A process that waits for the latter cannot be killed.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "tests/mount/mount_fixture.h"

namespace volfs {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using Clock = std::chrono::steady_clock;

constexpr int kSilent = 7;
constexpr int kStoreLocked = 8;
constexpr int kFsckFailed = 8;

std::vector<std::string> LinesOf(const std::string& text) {
  std::istringstream in(text);
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

// The verbs that a command's help names.
std::vector<std::string> VerbsOf(const std::string& command) {
  return LinesOf(
      MustRun(command + " --help | sed -n '/^Subcommands:/,$ s/^  \\([a-z]*\\) .*/\\1/p'"));
}

class SilentNodeTest : public MountTest {
 protected:
  // 5 s on an idle machine. The opposite would be an endless wait.
  static constexpr int kAtOnceMs = 20'000;

  void TearDown() override {
    Awaken();
    if (thawer_ != 0) ::kill(-thawer_, SIGKILL);
    (void)RunShell("fsfreeze -u " + NodePath("b"));
    if (daemon_stopped_) ::kill(pid(), SIGCONT);
    if (HasFailure()) DetachAlsoLateOnes();
    if (pid() != 0) {
      AwaitAnswers();  // otherwise umount reports the silent node
      Unmount();
    }
    (void)RunShell("umount " + NodePath("b") + "; umount " + Server());
    MountTest::TearDown();
  }

  // A process that was given up ends its system call when the daemon goes on, so that the device of
  // an `attach` may come late.
  void DetachAlsoLateOnes() {
    int calm = 0;
    for (int i = 0; i < 400 && calm < 20; ++i) {
      calm = DetachLoopsNaming(directory() + "/") ? 0 : calm + 1;
      SleepMs(25);
    }
  }

  void AwaitAnswers() {
    for (int i = 0; i < 500; ++i) {
      const std::string states = RunShell("cat " + Path("control/nodes/*/state")).output;
      if (states.find("does not answer") == std::string::npos) return;
      SleepMs(10);
    }
  }

  [[nodiscard]] std::string Server() const { return directory() + "/server"; }
  // Returns a node directory on the server.
  [[nodiscard]] std::string Far() const { return Server() + "/far"; }

  // Forgets a node in a list of this test's nodes alone: other tests have theirs mounted.
  CommandResult Forget(const std::string& uuid) const {
    MustRun("grep -F " + directory() + " /var/lib/volfs/nodes > " + Known());
    return Volfs("node forget --registry " + Known() + " " + uuid);
  }
  [[nodiscard]] std::string Known() const { return directory() + "/nodes"; }

  void StartServer() {
    MustRun("mkdir " + directory() + "/behind " + Server() + " && mkdir -m 700 " + directory() +
            "/behind/far && bindfs -o attr_timeout=0,entry_timeout=0,negative_timeout=0 " +
            directory() + "/behind " + Server());
    server_ = std::stoi(MustRun("pgrep -f 'bindfs .*" + Server() + "'"));
  }
  void StopServer() {
    ::kill(server_, SIGSTOP);
    stopped_ = true;
  }
  void Awaken() {
    if (stopped_) ::kill(server_, SIGCONT);
    stopped_ = false;
  }

  void PutNodeOnADisk() {
    MustRun("truncate -s 128M " + directory() + "/b.ext4 && mkfs.ext4 -q -F " + directory() +
            "/b.ext4 && mount -o loop " + directory() + "/b.ext4 " + NodePath("b") +
            " && chmod 700 " + NodePath("b"));
  }
  // A background process thaws it even if the test fails.
  void Freeze() {
    MustRun("fsfreeze -f " + NodePath("b"));
    thawer_ = std::stoi(MustRun("setsid sh -c 'sleep 60; fsfreeze -u " + NodePath("b") +
                                "' > /dev/null 2>&1 & echo $!"));
  }
  void StopDaemon() {
    ::kill(pid(), SIGSTOP);
    daemon_stopped_ = true;
  }

  struct Silent {
    std::string words;
    std::string named;
    int exit_code = kSilent;
  };
  // Runs all commands at once. Each ends in time with its exit code and names the silent node or
  // daemon. Its output is a pipe, whose reader waits until the last process that has it open ends.
  void ExpectSilence(const std::vector<Silent>& commands) {
    std::vector<std::unique_ptr<BackgroundProgram>> running;
    for (const Silent& command : commands) {
      running.push_back(std::make_unique<BackgroundProgram>(
          std::vector<std::string>{"sh", "-c", Binary() + " " + command.words}));
    }
    for (size_t i = 0; i < commands.size(); ++i) {
      SCOPED_TRACE(commands[i].words);
      const CommandResult result = running[i]->Finish(kAtOnceMs);
      EXPECT_EQ(result.exit_code, commands[i].exit_code) << result.output;
      EXPECT_THAT(result.output, AllOf(HasSubstr(commands[i].named), HasSubstr("does not answer")));
    }
  }

 private:
  int server_ = 0;
  bool stopped_ = false;
  bool daemon_stopped_ = false;
  int thawer_ = 0;
};

// Was mounted once, and is not part of this mount.
TEST_F(SilentNodeTest, MountGoesOnWithoutANodeThatIsOnlyKnown) {
  StartServer();
  MustRun(Binary() + " mount " + Far() + " " + Mnt() + " && " + Binary() + " umount " + Mnt());
  StopServer();
  const auto begin = Clock::now();
  const CommandResult mounted = TryMount({"a"});
  EXPECT_LT(Clock::now() - begin, std::chrono::milliseconds(kAtOnceMs));
  ASSERT_EQ(mounted.exit_code, 0) << mounted.output;
  EXPECT_THAT(mounted.output, AllOf(HasSubstr(Far()), HasSubstr("going on without it")));
  FindDaemon();
  EXPECT_THAT(Volfs("doctor").output, AllOf(HasSubstr(Far()), HasSubstr("volfs node forget")));
  Unmount();
  Awaken();
  // The node was not forgotten: its directory, now empty, counts as the mountpoint of a disk that
  // did not come up.
  MustRun("rm -r " + directory() + "/behind/far && mkdir -m 700 " + directory() + "/behind/far");
  const CommandResult empty = Volfs("mount " + Far() + " " + Mnt());
  EXPECT_NE(empty.exit_code, 0);
  EXPECT_THAT(empty.output, HasSubstr("was node"));
}

// A node that is lost for good may have taken its server with it.
TEST_F(SilentNodeTest, ANodeOnASilentServerCanBeForgotten) {
  StartServer();
  Mount({"a", "server/far"});
  const std::string uuid = ReadText(Path("control/nodes/far/uuid"));
  Unmount();
  StopServer();
  const auto begin = Clock::now();
  const CommandResult forgotten = Forget(uuid);
  EXPECT_LT(Clock::now() - begin, std::chrono::milliseconds(kAtOnceMs));
  EXPECT_EQ(forgotten.exit_code, 0) << forgotten.output;
  EXPECT_THAT(forgotten.output, HasSubstr("forgot node far"));
  EXPECT_THAT(ReadText(Known()), testing::Not(HasSubstr(Far())));
}

// All silent nodes together cost the same few seconds as one. If they were tried one after another,
// the limit would end before the last one, which would then hang the command.
TEST_F(SilentNodeTest, ANodeCanBeForgottenBesideManyThatAreSilentToo) {
  StartServer();
  for (const std::string name : {"far1", "far2", "far3", "far4"}) {
    MustRun("mkdir -m 700 " + directory() + "/behind/" + name);
  }
  Mount({"a", "server/far", "server/far1", "server/far2", "server/far3", "server/far4"});
  const std::string uuid = ReadText(Path("control/nodes/far4/uuid"));
  Unmount();
  StopServer();
  const CommandResult forgotten = Forget(uuid);
  EXPECT_EQ(forgotten.exit_code, 0) << forgotten.output;
  EXPECT_THAT(forgotten.output, HasSubstr("forgot node far4"));
  EXPECT_THAT(ReadText(Known()),
              AllOf(HasSubstr(Server() + "/far3"), testing::Not(HasSubstr(Server() + "/far4"))));
  const std::string doctor = Volfs("doctor").output;
  for (const std::string name : {"far1", "far2", "far3", "far4"}) {
    EXPECT_THAT(doctor, HasSubstr(Server() + "/" + name + ": was mounted here before"));
  }
}

TEST_F(SilentNodeTest, CommandsNameADirectoryThatIsSilent) {
  StartServer();
  MustRun(Binary() + " node init " + Far());
  StopServer();
  ExpectSilence({{"mount " + Far() + " " + Mnt(), Far()},
                 {"mount " + NodePath("a") + " " + Far() + " " + Mnt(), Far()},
                 {"mount -f " + Far() + " " + Mnt(), Far()},
                 {"mount " + NodePath("a") + " " + Server() + "/mnt", "mountpoint"},
                 {"check " + Far(), Far(), kFsckFailed},
                 {"node set " + Far() + " region=x", Far()},
                 {"node init " + Far(), Far()}});
  EXPECT_FALSE(RunShell("mountpoint -q " + Mnt()).ok());
}

// A process that opens a file for writing there cannot be killed, so no command may wait for it.
TEST_F(SilentNodeTest, CommandsNameADirectoryThatIsFrozen) {
  PutNodeOnADisk();
  MustRun(Binary() + " node init " + NodePath("b"));
  Freeze();
  EXPECT_EQ(Volfs("check " + NodePath("b")).exit_code, 0) << "it only reads";
  ExpectSilence({{"mount " + NodePath("a") + " " + NodePath("b") + " " + Mnt(), NodePath("b")}});
  ExpectSilence({{"node set " + NodePath("b") + " region=x", NodePath("b")}});
}

TEST_F(SilentNodeTest, CommandsNameADaemonThatIsSilent) {
  Mount();
  MustRun("truncate -s 1M " + Volume("v"));
  StopDaemon();
  std::vector<Silent> commands = {{"umount " + Mnt(), Mnt()}};
  for (const char* words :
       {"ls", "status", "status v", "map v", "node ls", "create w 1M", "clone v", "snapshot v s",
        "rm v", "resize v 2M", "mv v w", "cancel v", "attach v"}) {
    commands.push_back({std::string(words) + " --mount " + Mnt(), "the daemon of " + Mnt()});
  }
  ExpectSilence(commands);
  const CommandResult doctor = VolfsHere("doctor");
  EXPECT_THAT(doctor.output, AllOf(HasSubstr(Mnt()), HasSubstr("does not answer")));
}

// Every verb that `volfs --help` names ends in time, also those that ask other things first (7
// where only the daemon can answer). An error is JSON with --json. A process that waits for events
// learns of a daemon that falls silent later.
TEST_F(SilentNodeTest, EveryVerbEndsWhereTheDaemonIsSilent) {
  Mount();
  MustRun("truncate -s 1M " + Volume("v") + " && mkdir " + directory() + "/fresh");
  MustAsk("snapshot", "v s");
  const std::string uuid = LinesOf(ReadText(Path("control/nodes/a/uuid"))).front();
  (void)AttachLoop(Volume("v"));
  BackgroundProgram events({Binary(), "events", "--mount", Mnt()});
  SleepMs(300);
  StopDaemon();
  const std::string here = " --mount " + Mnt();
  struct Verb {
    std::string words;
    int exit_code = kSilent;
  };
  const std::map<std::string, Verb> verbs = {
      {"mount", {NodePath("a") + " " + Mnt()}},
      {"umount", {Mnt()}},
      {"create", {"w 1M" + here}},
      {"clone", {"v" + here}},
      {"snapshot", {"v t" + here}},
      {"restore", {"v@s w" + here}},
      {"revert", {"v@s" + here}},
      {"rm", {"v@s" + here}},
      {"resize", {"v 2M" + here}},
      {"mv", {"v w" + here}},
      {"cancel", {"v" + here}},
      {"ls", {here}},
      {"status", {here}},
      {"map", {"v" + here}},
      {"diff", {"v@s" + here}},
      {"prune", {"v --keep-last 1" + here}},
      {"events", {here}},
      {"attach", {"v" + here}},
      {"detach", {"v" + here}},
      {"node ls", {here}},
      {"node init", {directory() + "/fresh", 0}},
      {"node set", {NodePath("a") + " region=x", kStoreLocked}},
      {"node forget",
       {"--registry " + directory() + "/none " + uuid + " " + NodePath("a"), kStoreLocked}},
      {"check", {NodePath("a"), kFsckFailed}},
      {"doctor", {here, 1}},
      {"completion", {"bash", 0}},
  };
  std::vector<std::string> names;
  for (const std::string& name : VerbsOf(Binary())) {
    if (name != "node") names.push_back(name);
  }
  for (const std::string& name : VerbsOf(Binary() + " node")) {
    names.push_back("node " + name);
  }
  std::vector<std::unique_ptr<BackgroundProgram>> running;
  for (const std::string& name : names) {
    ASSERT_TRUE(verbs.contains(name)) << name << ": is not tried here";
    running.push_back(std::make_unique<BackgroundProgram>(std::vector<std::string>{
        "sh", "-c", Binary() + " " + name + " --json " + verbs.at(name).words}));
  }
  for (size_t i = 0; i < names.size(); ++i) {
    SCOPED_TRACE(names[i]);
    const CommandResult result = running[i]->Finish(kAtOnceMs);
    EXPECT_EQ(result.exit_code, verbs.at(names[i]).exit_code) << result.output;
    if (result.exit_code != kSilent) continue;
    EXPECT_THAT(result.output, AllOf(HasSubstr("{\"error\":\"EHOSTDOWN\",\"message\":\""),
                                     HasSubstr("does not answer"), HasSubstr("\"remedy\":\"")));
  }
  const CommandResult waited = events.Finish(kAtOnceMs);
  EXPECT_EQ(waited.exit_code, kSilent);
  EXPECT_THAT(waited.output, HasSubstr("see its log for a node that hangs")) << "as doctor says it";
  ::kill(pid(), SIGCONT);
  DetachAlsoLateOnes();
}

// The daemon answers requests that do not need the node.
TEST_F(SilentNodeTest, LookingAnswersAlthoughANodeOfTheMountDoesNot) {
  PutNodeOnADisk();
  Mount({"a", "b"}, "node_timeout=1");
  MustRun("echo x > " + Volume("v") + " && truncate -s 1M " + Path("nodes/b/w"));
  Freeze();
  const auto begin = Clock::now();
  EXPECT_NE(VolfsHere("create u 1M --node b").exit_code, 0);
  for (const char* words : {"ls -l", "status", "status w", "map w", "node ls"}) {
    EXPECT_EQ(VolfsHere(words).exit_code, 0) << words;
  }
  const CommandResult doctor = VolfsHere("doctor");
  EXPECT_NE(doctor.exit_code, 0);
  EXPECT_THAT(doctor.output, AllOf(HasSubstr("node b"), HasSubstr("does not answer")));
  EXPECT_LT(Clock::now() - begin, std::chrono::milliseconds(3 * kAtOnceMs));
  MustRun("fsfreeze -u " + NodePath("b"));
}

}  // namespace
}  // namespace volfs
