// The only user of toml++, which is slow to compile.
#include <toml++/toml.h>

#include <filesystem>

#include "blockstore/log.h"
#include "fusefs/options.h"

namespace volfs {
namespace {

// "key=value" for a value, "key" for true, "" for false.
Result<std::string> OptionOf(std::string_view key, const toml::node& value) {
  if (const auto* flag = value.as_boolean()) return flag->get() ? std::string(key) : std::string();
  if (const auto* number = value.as_integer()) return Text(key, "=", number->get());
  if (const auto* text = value.as_string()) return Text(key, "=", text->get());
  return Error{Errc::kInvalid, Text(key, ": a text, a whole number, true or false is expected")};
}

Status CheckOption(std::string_view key, const std::string& word) {
  if (word.find(',') != std::string::npos) {
    return Error{Errc::kInvalid, Text(key, ": a comma has no place in an option")};
  }
  // `flag = false` says nothing, but only of a flag that there is.
  const Result<MountOptions> options = ParseOptions({word.empty() ? std::string(key) : word});
  return options.ok() ? OkStatus() : Status(options.error());
}

Result<std::vector<std::string>> OptionsOf(const toml::table& table, const std::string& path) {
  std::vector<std::string> words;
  for (auto&& [key, value] : table) {
    auto word = OptionOf(key.str(), value);
    // What makes no sense is told here, where the line is known.
    const Status sense = word.ok() ? CheckOption(key.str(), word.value()) : word.error();
    if (!sense.ok()) {
      return Error{Errc::kInvalid, Text("configuration file ", path, ", line ",
                                        key.source().begin.line, ": ", sense.error().message)};
    }
    if (!word.value().empty()) words.push_back(std::move(word.value()));
  }
  return words;
}

}  // namespace

Result<std::vector<std::string>> ReadConfigFile(const std::string& path) {
  std::error_code error;
  if (!std::filesystem::exists(path, error)) {
    return Error{Errc::kNotFound, Text("configuration file ", path, ": no such file")};
  }
  try {
    return OptionsOf(toml::parse_file(path), path);
  } catch (const toml::parse_error& wrong) {
    return Error{Errc::kInvalid, Text("configuration file ", path, ", line ",
                                      wrong.source().begin.line, ": ", wrong.description())};
  }
}

}  // namespace volfs
