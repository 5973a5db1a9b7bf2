#include "control/text/json.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>

namespace volfs {
namespace {

TEST(FlatJsonTest, ReadsAnEvent) {
  const auto members = ParseFlatJson(
      "{\"seq\": 7,\"event\":\"re\\\"named\\\\\", \"id\":null,\"x\":\"a\\nb\\u001b\"}\n");
  ASSERT_EQ(members.size(), 4U);
  EXPECT_EQ(members[0], (std::pair<std::string, std::string>{"seq", "7"}));
  EXPECT_EQ(members[1].second, "re\"named\\");
  EXPECT_EQ(members[2].second, "null");
  EXPECT_EQ(members[3].second, "a\\nb\\u001b");
}

TEST(FlatJsonTest, GivesUpOnTheRest) {
  for (const char* text : {"", "x", "{", "{}", "{\"a\"}", "{\"a\":}", "{\"a\":1", "{\"a\":\"x}",
                           "{\"a\":[1]}", "{\"a\":1,}", "{\"a\":\"\\"}) {
    EXPECT_TRUE(ParseFlatJson(text).empty()) << text;
  }
}

// Any text that the daemon writes is read back unchanged.
TEST(FlatJsonTest, ReadsWhatIsWritten) {
  const JsonTexts read = ParseFlatJson(JsonLine({{"id", uint64_t{1} << 63},
                                                 {"hydrated", Hundredths{3750}},
                                                 {"error", nullptr},
                                                 {"name", std::string("\"\\/\xc3\xa9\x7f")}}));
  EXPECT_EQ(read, (JsonTexts{{"id", "9223372036854775808"},
                             {"hydrated", "37.5"},
                             {"error", "null"},
                             {"name", "\"\\/\xc3\xa9\\u007f"}}));
}

}  // namespace
}  // namespace volfs
