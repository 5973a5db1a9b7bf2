#include "control/json.h"

#include <nlohmann/json.hpp>

#include "blockstore/log.h"

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
};

struct ToPlainText {
  std::string operator()(std::nullptr_t) const { return ""; }
  std::string operator()(uint64_t number) const { return std::to_string(number); }
  std::string operator()(Hundredths number) const {
    const uint64_t fraction = number.count % 100;
    return Text(number.count / 100, fraction < 10 ? ".0" : ".", fraction);
  }
  std::string operator()(const std::string& text) const { return text; }
};

std::string Dump(const JsonObject& object) {
  ordered_json json = ordered_json::object();
  for (const JsonMember& member : object) {
    json[std::string(member.name)] = std::visit(ToJson(), member.value);
  }
  return json.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
}

}  // namespace

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

}  // namespace volfs
