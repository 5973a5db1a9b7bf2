#include "control/text/json.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "blockstore/base/memory.h"
#include "blockstore/base/safe_text.h"
#include "blockstore/base/str_cat.h"

namespace volfs {
namespace {

using nlohmann::ordered_json;

struct ToJson {
  ordered_json operator()(std::nullptr_t) const { return nullptr; }
  ordered_json operator()(uint64_t number) const { return number; }
  ordered_json operator()(Hundredths number) const {
    return static_cast<double>(number.count) / 100;
  }
  ordered_json operator()(const std::string& text) const { return text; }
  ordered_json operator()(const JsonText& text) const {
    return ordered_json::parse(text.json, nullptr, /*allow_exceptions=*/false);
  }
};

struct ToPlainText {
  std::string operator()(std::nullptr_t) const { return ""; }
  std::string operator()(uint64_t number) const { return std::to_string(number); }
  std::string operator()(Hundredths number) const {
    const uint64_t fraction = number.count % 100;
    return StrCat(number.count / 100, fraction < 10 ? ".0" : ".", fraction);
  }
  std::string operator()(const std::string& text) const { return text; }
  std::string operator()(const JsonText& text) const { return text.json; }
};

// The library escapes C0 only, and a terminal may show this text. Unsafe characters stand only
// within strings and have four hexadecimal digits.
std::string EscapeUnsafe(std::string_view json) {
  std::string out;
  while (!json.empty()) {
    const Utf8Character character = FirstCharacter(json);
    const std::string_view bytes = json.substr(0, std::max<size_t>(character.bytes, 1));
    json.remove_prefix(bytes.size());
    if (!IsUnsafe(character.code)) {
      out += bytes;
      continue;
    }
    std::array<char, 8> escaped{};
    std::snprintf(escaped.data(), escaped.size(), "\\u%04x", static_cast<unsigned>(character.code));
    out += escaped.data();
  }
  return out;
}

std::string Dump(const ordered_json& json) {
  return EscapeUnsafe(json.dump(-1, ' ', false, ordered_json::error_handler_t::replace));
}

std::string Dump(const JsonObject& object) {
  // The library's destructor allocates, and must not fail.
  const AllocationScope scope(Allocations::kWait);
  ordered_json json = ordered_json::object();
  for (const JsonMember& member : object) {
    json[std::string(member.name)] = std::visit(ToJson(), member.value);
  }
  return Dump(json);
}

// `dumped` is a string with its quotes.
std::string WithoutQuotes(std::string_view dumped) {
  dumped = dumped.substr(1, dumped.size() - 2);
  std::string out;
  for (size_t i = 0; i < dumped.size(); ++i) {
    if (dumped[i] == '\\') {  // another character always follows
      ++i;
      if (dumped[i] != '"' && dumped[i] != '\\') out += '\\';
    }
    out += dumped[i];
  }
  return out;
}

}  // namespace

JsonText JsonStrings(const std::vector<std::string>& texts) {
  const AllocationScope scope(Allocations::kWait);  // as in Dump
  return {Dump(ordered_json(texts))};
}

JsonText JsonObjects(const std::vector<JsonObject>& objects) {
  std::string text;
  for (const JsonObject& object : objects) text += (text.empty() ? "" : ",") + Dump(object);
  return {StrCat("[", text, "]")};
}

std::string JsonLine(const JsonObject& object) { return Dump(object) + '\n'; }

std::string JsonArray(const std::vector<JsonObject>& objects) {
  std::string text = "[";
  for (const JsonObject& object : objects) {
    text += text.size() == 1 ? "\n" : ",\n";
    text += Dump(object);
  }
  return text + (objects.empty() ? "]\n" : "\n]\n");
}

std::string PlainText(const JsonValue& value) { return std::visit(ToPlainText(), value); }

JsonTexts ParseFlatJson(std::string_view text) {
  const AllocationScope scope(Allocations::kWait);  // as in Dump
  const auto json = ordered_json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return {};
  JsonTexts members;
  for (const auto& [name, value] : json.items()) {
    if (value.is_structured()) return {};
    const std::string dumped = Dump(value);
    members.emplace_back(name, value.is_string() ? WithoutQuotes(dumped) : dumped);
  }
  return members;
}

}  // namespace volfs
