#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace volfs {

// The values that control files show as JSON and as plain text, so that both agree. Only json.cc
// knows the library behind it.

struct Hundredths {  // 3750 is 37.50
  uint64_t count = 0;
};
struct JsonText {  // JSON already: an array, say
  std::string json;
};
using JsonValue = std::variant<std::nullptr_t, uint64_t, Hundredths, std::string, JsonText>;

struct JsonMember {
  std::string_view name;
  JsonValue value;
};
using JsonObject = std::vector<JsonMember>;  // members keep their order

// Returns ["a","b"].
JsonText JsonStrings(const std::vector<std::string>& texts);

JsonText JsonObjects(const std::vector<JsonObject>& objects);  // as one line

// Returns one line, with its LF. Bytes of strings that are not UTF-8 become U+FFFD.
std::string JsonLine(const JsonObject& object);

// Returns an array with one object per line, and an LF.
std::string JsonArray(const std::vector<JsonObject>& objects);

// Returns the value as a file of its own shows it, without an LF: "37.50", "" for null; a JsonText
// as it stands.
std::string PlainText(const JsonValue& value);

// Names and values as text, in their order.
using JsonTexts = std::vector<std::pair<std::string, std::string>>;

// Reads an object without arrays and objects in it, as info.json and the lines of watch/events are:
// strings without their quotes, all else as it stands ("null"). In strings only \", \\ and \/ lose
// their backslash; what else the daemon escapes is not fit to be printed, and stays escaped.
// Returns nothing if `text` is no such object, so that the caller can show it as it is.
JsonTexts ParseFlatJson(std::string_view text);

}  // namespace volfs
