// Goal: only well-formed names are accepted, and no message carries raw bytes (trap T17).
#include "control/text/name.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

namespace volfs {
namespace {

Errc CodeOf(std::string_view name) {
  const Status status = CheckName(name, "volume");
  EXPECT_FALSE(status.ok()) << name;
  return status.ok() ? Errc::kIo : status.error().code;
}

TEST(NameTest, TakesTheForm) {
  for (const std::string_view name :
       {"a", "Z", "0", "db", "db.img", "a..b", "a-", "a_", "a.", "control", "volumes", "9lives"}) {
    EXPECT_TRUE(CheckName(name, "volume").ok()) << name;
  }
  EXPECT_TRUE(CheckName(std::string(128, 'a'), "volume").ok());
}

TEST(NameTest, RefusesEverythingElse) {
  const std::vector<std::string> names = {"",
                                          ".",
                                          "..",
                                          "../x",
                                          "a/b",
                                          "/",
                                          ".a",
                                          "-a",
                                          "_a",
                                          "@a",
                                          "a@b",
                                          "a:b",
                                          "a,b",
                                          "a\n",
                                          "a\t",
                                          "a\x7f",
                                          "\xff",
                                          "a ",
                                          "\u202e"
                                          "gmi",
                                          " a",
                                          "a=b",
                                          "a*",
                                          "a'b",
                                          "a\\b",
                                          "\u00e9",
                                          std::string("a\0b", 3)};
  for (const std::string& name : names) EXPECT_EQ(CodeOf(name), Errc::kInvalid) << name;
}

TEST(NameTest, HasALimit) {
  for (const size_t bytes : {129, 255, 256, 1025}) {
    EXPECT_EQ(CodeOf(std::string(bytes, 'a')), Errc::kNameTooLong) << bytes;
    EXPECT_EQ(CodeOf(std::string(bytes, '/')), Errc::kInvalid) << "the form comes first";
  }
}

TEST(NameTest, MessagesSayWhoseNameAndAreShort) {
  const Status status = CheckName("\x1b]0;" + std::string(4000, '\n'), "snapshot");
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().message.rfind("snapshot name \"\\x1b]0;\\x0a", 0), 0U);
  EXPECT_LT(status.error().message.size(), 500U);
}

TEST(NameTest, DefaultCloneNamesKeepTheImageExtension) {
  EXPECT_EQ(CloneName("db"), "db-clone");
  EXPECT_EQ(CloneName("db.img"), "db-clone.img");
  EXPECT_EQ(CloneName("db.raw"), "db-clone.raw");
  EXPECT_EQ(CloneName("db.qcow2"), "db.qcow2-clone");
  EXPECT_EQ(CloneName("db.img.img"), "db.img-clone.img");
  EXPECT_EQ(CloneName("img"), "img-clone");
}

TEST(NameTest, PrintableIsOneLineOfAscii) {
  EXPECT_EQ(Printable("a b\\\n\x7f\xff"), "a b\\\\\\x0a\\x7f\\xff");
  EXPECT_EQ(Printable("abcdef", 3), "abc...");
  EXPECT_EQ(OneLine("node \u00e9:\na\\b"), "node \u00e9:\\x0aa\\b");
}

RC_GTEST_PROP(NameProperty, PrintableHasOnlyPrintableBytes, (const std::string& text)) {
  const std::string shown = Printable(text);
  RC_ASSERT(std::all_of(shown.begin(), shown.end(), [](char c) { return c >= ' ' && c < 0x7f; }));
}

}  // namespace
}  // namespace volfs
