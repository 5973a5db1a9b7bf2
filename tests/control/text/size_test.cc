// Goal: volfs reads a size as truncate(1) does, and accepts nothing else as a size.
#include "control/text/size.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <string>
#include <string_view>

namespace volfs {
namespace {

constexpr uint64_t kMax = 9'223'372'036'854'775'807;

void ExpectSize(std::string_view text, uint64_t bytes) {
  const Result<uint64_t> size = ParseSize(text);
  ASSERT_TRUE(size.ok()) << text << ": " << size.error().message;
  EXPECT_EQ(size.value(), bytes) << text;
}

void ExpectInvalid(std::string_view text) {
  const Result<uint64_t> size = ParseSize(text);
  ASSERT_FALSE(size.ok()) << text << " is " << size.value();
  EXPECT_EQ(size.error().code, Errc::kInvalid) << text;
  EXPECT_FALSE(size.error().message.empty());
}

TEST(SizeTest, BytesNeedNotBeAMultipleOfAnything) {
  for (const uint64_t bytes : {uint64_t{0}, uint64_t{1}, uint64_t{511}, uint64_t{512},
                               uint64_t{513}, uint64_t{1} << 31, uint64_t{1} << 40, kMax}) {
    ExpectSize(std::to_string(bytes), bytes);
  }
  ExpectSize("007", 7);
}

TEST(SizeTest, SuffixesArePowersOf1024OrOf1000) {
  ExpectSize("1K", 1024);
  ExpectSize("3M", 3 * 1024 * 1024);
  ExpectSize("10G", 10'737'418'240);
  ExpectSize("1T", uint64_t{1} << 40);
  ExpectSize("8191P", uint64_t{8191} << 50);
  ExpectSize("1KB", 1000);
  ExpectSize("5MB", 5'000'000);
  ExpectSize("2GB", 2'000'000'000);
  ExpectSize("1TB", 1'000'000'000'000);
  ExpectSize("9223PB", 9'223'000'000'000'000'000);
  ExpectSize("0P", 0);
}

// truncate(1) and qemu-img(1) read these, too.
TEST(SizeTest, SmallLettersAndBinaryUnitsAreReadAsByTruncate) {
  ExpectSize("10g", uint64_t{10} << 30);
  ExpectSize("10GiB", uint64_t{10} << 30);
  ExpectSize("10KiB", 10'240);
  ExpectSize("3k", 3 * 1024);
  ExpectSize("3m", 3 * 1024 * 1024);
  ExpectSize("2t", uint64_t{2} << 40);
  ExpectSize("2TiB", uint64_t{2} << 40);
  ExpectSize("5giB", uint64_t{5} << 30);
  ExpectSize("5kB", 5'000);
  ExpectSize("7E", uint64_t{7} << 60);
  ExpectSize("1EiB", uint64_t{1} << 60);
  ExpectSize("9EB", 9'000'000'000'000'000'000);
}

TEST(SizeTest, RefusesMoreThanASignedNumberHolds) {
  for (const std::string_view text :
       {"9223372036854775808", "18446744073709551615", "18446744073709551616", "8192P", "9224PB",
        "16384P", "99999999999999999999999999", "18014398509481984K"}) {
    ExpectInvalid(text);
  }
}

TEST(SizeTest, RefusesWhatIsMalformed) {
  for (const std::string_view text :
       {"",     "-1",    "+5",   " 5",  "5 ",    "0x10",  "1e9",     "1.5G", "5KB5",
        "5K5",  "K",     "KB",   "5B",  "5Ki",   "5p",    "5kb",     "5e",   "5Z",
        "5gib", "5GIB",  "iB",   "5iB", "5KiBB", "5GiB ", "8E",      "10EB", "5kk",
        "5KK",  "5,000", "five", "5\n", "--5",   "5-",    "\xd9\xa5"}) {
    ExpectInvalid(text);
  }
  ExpectInvalid(std::string_view("5\0", 2));
}

TEST(SizeTest, MessagesEscapeWhatTheUserWrote) {
  const Result<uint64_t> size = ParseSize("\x1b[31m5");
  ASSERT_FALSE(size.ok());
  EXPECT_EQ(size.error().message.find('\x1b'), std::string::npos);
  EXPECT_NE(size.error().message.find("\\x1b[31m5"), std::string::npos);
}

TEST(SizeTest, FormatsForPeople) {
  EXPECT_EQ(FormatSize(0), "0");
  EXPECT_EQ(FormatSize(1023), "1023");
  EXPECT_EQ(FormatSize(1024), "1K");
  EXPECT_EQ(FormatSize(1536), "1.5K");
  EXPECT_EQ(FormatSize(uint64_t{10} << 30), "10G");
  EXPECT_EQ(FormatSize((uint64_t{10} << 30) + 1), "10.0G");
  EXPECT_EQ(FormatSize((uint64_t{1} << 20) - 1), "1.0M");
  EXPECT_EQ(FormatSize(kMax), "8192.0P");
  EXPECT_EQ(FormatSize(UINT64_MAX), "16384.0P");
}

RC_GTEST_PROP(SizeProperty, WholeFormattedSizesParseBack, (uint16_t count)) {
  const uint64_t bytes = uint64_t{count} << *rc::gen::element(0, 10, 20, 30, 40);
  const Result<uint64_t> size = ParseSize(FormatSize(bytes));
  // Between two units FormatSize rounds ("64.0M"); such a text is never parsed.
  if (FormatSize(bytes).find('.') == std::string::npos) RC_ASSERT(size.value() == bytes);
}

RC_GTEST_PROP(SizeProperty, EveryNumberParsesAsItself, (uint64_t number)) {
  RC_ASSERT(ParseSize(std::to_string(number)).ok() == (number <= kMax));
}

RC_GTEST_PROP(SizeProperty, AnyBytesGiveAnAnswer, (const std::string& text)) {
  const Result<uint64_t> size = ParseSize(text);
  // Not inside RC_ASSERT, which shows both sides of an || and so evaluates both.
  const bool answered = size.ok() || size.error().code == Errc::kInvalid;
  RC_ASSERT(answered);
}

}  // namespace
}  // namespace volfs
