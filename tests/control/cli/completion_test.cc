// Goal: a shell is offered the commands, options and names that may stand where the user types.
#include "control/cli/completion.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "control/cli/commands/command_line.h"

namespace volfs::cli {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::Not;
using Strings = std::vector<std::string>;

std::vector<std::string> NamesOf(WordKind kind, const std::string& typed,
                                 const std::string& mount) {
  if (kind == WordKind::kVolume) return {"db.img", "web.img", "of " + mount};
  if (kind == WordKind::kSnapshot) return {typed + "monday"};
  if (kind == WordKind::kImage) return {"db.img", "db.img@"};
  if (kind == WordKind::kNode) return {"a", "b"};
  if (kind == WordKind::kMount) return {"/srv/volumes"};
  return {};
}

Strings Suggested(const Strings& words) {
  const CommandLineParts parts{.mount = {}, .mount_options = {"ro", "copy_rate="}};
  Strings texts;
  for (const Suggestion& one : Complete(CommandLine(parts).Shape(), words, NamesOf)) {
    texts.push_back(one.text);
  }
  return texts;
}

TEST(CompletionTest, OffersCommands) {
  EXPECT_THAT(Suggested({""}), Contains("clone"));
  EXPECT_THAT(Suggested({"sn"}), ElementsAre("snapshot"));
  EXPECT_THAT(Suggested({"node", ""}), ElementsAre("ls", "init", "set", "forget"));
  EXPECT_THAT(Suggested({"nosuch", ""}), Not(IsEmpty())) << "the name may be mended";
  EXPECT_THAT(Suggested({}), IsEmpty());
}

TEST(CompletionTest, SaysWhatACommandDoes) {
  const CommandLineParts parts;
  const auto all = Complete(CommandLine(parts).Shape(), {"umou"}, NamesOf);
  ASSERT_EQ(all.size(), 1U);
  EXPECT_EQ(all[0].says, "Unmount; returns when the daemon is gone");
}

TEST(CompletionTest, OffersTheOptionsOfTheCommand) {
  EXPECT_THAT(Suggested({"clone", "--li"}), ElementsAre("--linked"));
  EXPECT_THAT(Suggested({"clone", "db.img", "--fr"}), ElementsAre("--freeze"));
  EXPECT_THAT(Suggested({"ls", "--fr"}), IsEmpty());
  EXPECT_THAT(Suggested({"clone", "--", "--li"}), IsEmpty()) << "behind -- stand names only";
}

TEST(CompletionTest, OffersNamesOfTheMount) {
  EXPECT_THAT(Suggested({"resize", "d"}), ElementsAre("db.img"));
  EXPECT_THAT(Suggested({"rm", "db.img", "d"}), ElementsAre("db.img", "db.img@"));
  EXPECT_THAT(Suggested({"revert", "db.img@"}), ElementsAre("db.img@monday"));
  EXPECT_THAT(Suggested({"clone", "db.img", "--node", ""}), ElementsAre("a", "b"));
  EXPECT_THAT(Suggested({"clone", "db.img", "--node=b"}), ElementsAre("--node=b"));
  EXPECT_THAT(Suggested({"umount", ""}), ElementsAre("/srv/volumes"));
  EXPECT_THAT(Suggested({"create", "d"}), IsEmpty()) << "a new name has no list";
  EXPECT_THAT(Suggested({"clone", "db.img", "d"}), IsEmpty());
}

TEST(CompletionTest, AsksTheMountThatIsNamed) {
  EXPECT_THAT(Suggested({"cancel", "--mount", "/x", "of"}), ElementsAre("of /x"));
  EXPECT_THAT(Suggested({"cancel", "--mount=/x", "of"}), ElementsAre("of /x"));
  EXPECT_THAT(Suggested({"--mount", "/x", "cancel", "of"}), ElementsAre("of /x"));
}

TEST(CompletionTest, LeavesPathsToTheShell) {
  EXPECT_THAT(Suggested({"check", ""}), ElementsAre(kSuggestDirectories));
  EXPECT_THAT(Suggested({"mount", "/srv/a", "/srv/"}), ElementsAre(kSuggestDirectories));
  EXPECT_THAT(Suggested({"mount", "--config", ""}), ElementsAre(kSuggestFiles));
  EXPECT_THAT(Suggested({"status", "volumes/d"}), ElementsAre(kSuggestFiles));
}

TEST(CompletionTest, OffersChoices) {
  EXPECT_THAT(Suggested({"create", "x", "1G", "--io", ""}), ElementsAre("native", "daemon"));
  EXPECT_THAT(Suggested({"mount", "-o", "ro,c"}), ElementsAre("ro,copy_rate="));
  EXPECT_THAT(Suggested({"node", "set", "/srv/a", "r"}), ElementsAre("region="));
  EXPECT_THAT(Suggested({"node", "set", "/srv/a", "region=x", "t"}), ElementsAre("types="));
  EXPECT_THAT(Suggested({"completion", ""}), ElementsAre("bash", "zsh"));
}

TEST(CompletionTest, HasAScriptForTheShellsThatItNames) {
  EXPECT_FALSE(CompletionScript("csh").ok());
  const Result<std::string> script = CompletionScript("bash");
  ASSERT_TRUE(script.ok());
  EXPECT_THAT(script.value(), testing::HasSubstr("complete -F"));
}

}  // namespace
}  // namespace volfs::cli
