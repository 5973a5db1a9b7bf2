// The only user of toml++, which is slow to compile.
#include "fusefs/mount/config_file.h"

#include <toml++/toml.h>

#include <filesystem>

#include "blockstore/base/str_cat.h"
#include "control/cli/types_option.h"
#include "fusefs/mount/options.h"

namespace volfs {
namespace {

// "key=value" for a value, "key" for true, "" for false.
Result<std::string> OptionOf(std::string_view key, const toml::node& value) {
  if (const auto* flag = value.as_boolean()) return flag->get() ? std::string(key) : std::string();
  if (const auto* number = value.as_integer()) return StrCat(key, "=", number->get());
  if (const auto* text = value.as_string()) return StrCat(key, "=", text->get());
  return Error{Errc::kInvalid, StrCat(key, ": a text, a whole number, true or false is expected")};
}

Status CheckOption(std::string_view key, const std::string& word) {
  if (word.find(',') != std::string::npos) {
    return Error{Errc::kInvalid, StrCat(key, ": a comma has no place in an option")};
  }
  // `flag = false` says nothing, but only of a flag that there is.
  const Result<MountOptions> options = ParseOptions({word.empty() ? std::string(key) : word});
  return options.ok() ? OkStatus() : Status(options.error());
}

// `false` and "" of an option that exists say nothing.
Status AddOption(std::string_view key, const toml::node& value, ConfigFile& config) {
  ASSIGN_OR_RETURN(std::string word, OptionOf(key, value));
  RETURN_IF_ERROR(CheckOption(key, word));
  if (!word.empty()) config.options.push_back(std::move(word));
  return OkStatus();
}

Result<std::vector<std::string>> TextsOf(std::string_view key, const toml::node& value) {
  const Error wrong{Errc::kInvalid,
                    StrCat(key, ": texts in brackets are expected: [\"...\", ...]")};
  const auto* array = value.as_array();
  if (array == nullptr) return wrong;
  std::vector<std::string> texts;
  for (const toml::node& element : *array) {
    const auto* text = element.as_string();
    if (text == nullptr || text->get().empty()) return wrong;
    texts.push_back(text->get());
  }
  return texts;
}

Status AddNodes(const toml::node& value, const std::filesystem::path& directory,
                ConfigFile& config) {
  ASSIGN_OR_RETURN(const auto texts, TextsOf("nodes", value));
  for (const std::string& text : texts) {
    config.nodes.push_back((directory / text).lexically_normal().string());
  }
  return OkStatus();
}

Status AddMountpoint(const toml::node& value, const std::filesystem::path& directory,
                     ConfigFile& config) {
  const auto* text = value.as_string();
  if (text == nullptr || text->get().empty()) {
    return Error{Errc::kInvalid, "mountpoint: a path in quotes is expected: \"/srv/volumes\""};
  }
  config.mountpoint = (directory / text->get()).lexically_normal().string();
  return OkStatus();
}

Status AddTypes(const toml::node& value, ConfigFile& config) {
  ASSIGN_OR_RETURN(const auto texts, TextsOf("types", value));
  std::string joined;
  for (const std::string& text : texts) joined += StrCat(joined.empty() ? "" : ",", text);
  ASSIGN_OR_RETURN(config.types, cli::ParseTypes(joined));
  return OkStatus();
}

// Adds the line to the error of a value that makes no sense.
Error At(const std::string& path, const toml::key& key, const Error& error) {
  return {error.code, StrCat("configuration file ", path, ", line ", key.source().begin.line, ": ",
                             error.message)};
}

Status AddLimits(const toml::node& value, const std::string& path, ConfigFile& config) {
  const auto* limits = value.as_table();
  if (limits == nullptr) return Error{Errc::kInvalid, "limits: a table is expected: [limits]"};
  for (auto&& [key, limit] : *limits) {
    const bool known = key.str() == "copy_rate" || key.str() == "copy_jobs";
    const Status added = known ? AddOption(key.str(), limit, config)
                               : Error{Errc::kInvalid, StrCat("limits.", key.str(),
                                                              ": unknown; there are copy_rate and "
                                                              "copy_jobs")};
    if (!added.ok()) return At(path, key, added.error());
  }
  return OkStatus();
}

Result<ConfigFile> ConfigOf(const toml::table& table, const std::string& path) {
  const auto directory = std::filesystem::absolute(path).parent_path();
  ConfigFile config;
  for (auto&& [key, value] : table) {
    if (key.str() == "limits" && value.is_table()) {
      RETURN_IF_ERROR(AddLimits(value, path, config));  // names the line of the limit
      continue;
    }
    const Status added = key.str() == "nodes"        ? AddNodes(value, directory, config)
                         : key.str() == "mountpoint" ? AddMountpoint(value, directory, config)
                         : key.str() == "types"      ? AddTypes(value, config)
                         : key.str() == "limits"     ? AddLimits(value, path, config)
                                                     : AddOption(key.str(), value, config);
    if (!added.ok()) return At(path, key, added.error());
  }
  return config;
}

}  // namespace

Result<ConfigFile> ReadConfigFile(const std::string& path) {
  std::error_code error;
  if (!std::filesystem::exists(path, error)) {
    return Error{Errc::kNotFound, StrCat("configuration file ", path, ": no such file")};
  }
  try {
    return ConfigOf(toml::parse_file(path), path);
  } catch (const toml::parse_error& wrong) {
    return Error{Errc::kInvalid, StrCat("configuration file ", path, ", line ",
                                        wrong.source().begin.line, ": ", wrong.description())};
  }
}

}  // namespace volfs
