// Goal: names that other users chose cannot act on the terminal of the user who lists them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/mount/mount_fixture.h"

namespace volfs {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

const std::string kEscape = "\x1b";

class TerminalTest : public MountTest {
 protected:
  // Returns the output of `volfs WORDS` on a terminal.
  CommandResult OnTerminal(const std::string& words) {
    return RunShell("NO_COLOR=1 TERM=xterm script -qec " + Quoted(Quoted(Binary()) + " " + words) +
                    " /dev/null < /dev/null");
  }
};

TEST_F(TerminalTest, TheNameOfAProcessIsEscaped) {
  Mount();
  MustRun("truncate -s 1M " + Volume("db") + " && cp /bin/sleep " +
          Quoted(directory() + "/e" + kEscape + "]0;x\n"));
  const BackgroundProgram user({directory() + "/e" + kEscape + "]0;x\n", "60"},
                               {.directory = Path("volumes")});
  MustRun("until [ \"$(readlink /proc/" + std::to_string(user.pid()) +
          "/cwd)\" = " + Quoted(Path("volumes")) + " ]; do sleep 0.05; done; sleep 0.1");
  const CommandResult told = OnTerminal("umount " + Quoted(Mnt()));
  EXPECT_THAT(told.output, AllOf(HasSubstr("e\\x1b]0;x: "), Not(HasSubstr(kEscape))));
}

TEST_F(TerminalTest, TheNameOfANodesDirectoryIsEscaped) {
  const std::string node = "n" + kEscape + "[31m\nroot: all is well";
  MustRun("mkdir " + Quoted(NodePath(node)) + " && " + Quoted(Binary()) + " node init --name n " +
          Quoted(NodePath(node)));
  for (const std::string& words :
       {"node init " + Quoted(NodePath(node)), "check " + Quoted(NodePath(node)),
        "mount " + Quoted(NodePath(node)) + " " + Quoted(NodePath(node))}) {
    const std::string told = OnTerminal(words).output;
    EXPECT_THAT(told, AllOf(Not(HasSubstr(kEscape)), Not(HasSubstr("\nroot:")))) << words;
  }
  ASSERT_TRUE(RunProgram({Binary(), "mount", NodePath(node), Mnt()}).ok());
  FindDaemon();
  for (const char* words : {"node ls --mount ", "node ls -J --mount ", "doctor --mount "}) {
    const std::string told = OnTerminal(words + Quoted(Mnt())).output;
    EXPECT_THAT(told, AllOf(HasSubstr("ok"), Not(HasSubstr(kEscape)), Not(HasSubstr("\nroot:"))))
        << words;
  }
}

TEST_F(TerminalTest, AnArgumentIsEscaped) {
  for (const std::string& word : {"x" + kEscape + "[2J", std::string("x\u009b2J"),
                                  std::string("--x\u202e"), "--mount=/x" + kEscape}) {
    for (const std::string& words :
         {Quoted(word), "status " + Quoted(word), "mount " + Quoted(word) + " /x",
          "check " + Quoted(word), "detach " + Quoted("/dev/" + word), "ls " + Quoted(word)}) {
      const std::string told = OnTerminal(words).output;
      EXPECT_THAT(
          told, AllOf(Not(HasSubstr(kEscape)), Not(HasSubstr("\u009b")), Not(HasSubstr("\u202e"))))
          << words;
    }
  }
}

}  // namespace
}  // namespace volfs
