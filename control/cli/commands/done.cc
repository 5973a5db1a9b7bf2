#include <algorithm>
#include <optional>
#include <string_view>

#include "control/cli/commands/commands.h"
#include "control/cli/process/files.h"
#include "control/cli/process/output.h"

namespace volfs::cli {

void PrintDone(const Common& common, const JsonObject& done) {
  if (common.json) Print(JsonLine(done));
}

bool AsksForJson(int argc, char** argv) {
  const std::vector<std::string_view> words(argv, argv + argc);
  const auto end = std::find(words.begin(), words.end(), "--");
  return std::any_of(words.begin(), end,
                     [](std::string_view word) { return word == "-J" || word == "--json"; });
}

JsonObject ReplyObject(const Reply& reply) {
  JsonObject object;
  for (const auto& [key, value] : reply.fields) {
    const std::optional<uint64_t> number = ParseNumber(value);
    const bool is_number = key == "size" && number;  // a volume's name may look like one
    object.push_back({key, is_number ? JsonValue(*number) : JsonValue(value)});
  }
  return object;
}

}  // namespace volfs::cli
