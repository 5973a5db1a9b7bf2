// Goal: text from others is safe to print: no byte of it acts on a terminal, and harmless text is
// unchanged.
#include "blockstore/base/safe_text.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <string>

namespace volfs {
namespace {

TEST(SafeTextTest, HarmlessTextStays) {
  for (const std::string text : {"", "a b\\c", "\u00e9\u4e2d\U0001f600", "\\x1b"}) {
    EXPECT_EQ(SafeText(text), text);
  }
}

TEST(SafeTextTest, ControlCharactersAreEscaped) {
  EXPECT_EQ(SafeText(std::string("a\x00z\x1b[31m\r\x7f", 10)), "a\\x00z\\x1b[31m\\x0d\\x7f");
  EXPECT_EQ(SafeText("\u009b31m\u0085"), "\\xc2\\x9b31m\\xc2\\x85");  // C1
}

TEST(SafeTextTest, WhatTurnsOrHidesTextIsEscaped) {
  EXPECT_EQ(SafeText("a\u202egnp.exe"), "a\\xe2\\x80\\xaegnp.exe");
  EXPECT_EQ(SafeText("\u2066\u200f\u061c"), "\\xe2\\x81\\xa6\\xe2\\x80\\x8f\\xd8\\x9c");
  EXPECT_EQ(SafeText("\u2028\ufeff"), "\\xe2\\x80\\xa8\\xef\\xbb\\xbf");
}

TEST(SafeTextTest, WhatIsNotUtf8IsEscaped) {
  EXPECT_EQ(SafeText("\x9b"
                     "31m"),
            "\\x9b31m");                                     // C1 of a terminal with eight bits
  EXPECT_EQ(SafeText("\xc0\x9b"), "\\xc0\\x9b");             // overlong ESC
  EXPECT_EQ(SafeText("\xe0\x80\x9b!"), "\\xe0\\x80\\x9b!");  // the same in three
  EXPECT_EQ(SafeText("\xed\xa0\x80"), "\\xed\\xa0\\x80");    // a surrogate
  EXPECT_EQ(SafeText("\xf4\x90\x80\x80"), "\\xf4\\x90\\x80\\x80");
  EXPECT_EQ(SafeText("a\xe4\xb8"), "a\\xe4\\xb8");  // cut off
}

TEST(SafeTextTest, LineFeedsAreKeptWhereTheCallerSaysSo) {
  EXPECT_EQ(SafeText("a\nb\r\n"), "a\\x0ab\\x0d\\x0a");
  EXPECT_EQ(SafeText("a\nb\r\n", LineFeeds::kKept), "a\nb\\x0d\n");
}

RC_GTEST_PROP(SafeTextTest, WhatComesOutIsSafeWhateverComesIn, (const std::string& text)) {
  const std::string safe = SafeText(text);
  RC_ASSERT(SafeText(safe) == safe);
  for (std::string_view rest = safe; !rest.empty();) {
    const Utf8Character character = FirstCharacter(rest);
    RC_ASSERT(character.bytes > 0U);
    RC_ASSERT(!IsUnsafe(character.code));
    rest.remove_prefix(character.bytes);
  }
}

}  // namespace
}  // namespace volfs
