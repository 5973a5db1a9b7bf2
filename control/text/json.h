#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace volfs {

// What control files say as JSON, and in words: one set of values for both, so that they agree.
// json.cc is the only file that knows the library behind it.

struct Hundredths {  // 3750 is 37.50
  uint64_t count = 0;
};
using JsonValue = std::variant<std::nullptr_t, uint64_t, Hundredths, std::string>;

struct JsonMember {
  std::string_view name;
  JsonValue value;
};
using JsonObject = std::vector<JsonMember>;  // members keep their order

// One line, with its LF. Bytes of strings that are not UTF-8 come as U+FFFD.
std::string JsonLine(const JsonObject& object);

// An array with an object a line, and an LF.
std::string JsonArray(const std::vector<JsonObject>& objects);

// The value as a file of its own shows it, without an LF: "37.50", "" for null.
std::string PlainText(const JsonValue& value);

}  // namespace volfs
