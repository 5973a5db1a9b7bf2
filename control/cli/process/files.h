#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "blockstore/base/error.h"

namespace volfs::cli {

// Reads small files of /proc, /sys and control/ as text, and cuts text into pieces.

// Reads all of the file. Errors name the path.
Result<std::string> ReadFile(const std::string& path);

// Returns the file's first line without its LF; nothing if it cannot be read.
std::optional<std::string> ReadValue(const std::string& path);

// Returns the names in a directory but "." and "..", sorted.
Result<std::vector<std::string>> ListDirectory(const std::string& path);

// Returns the target of a symbolic link; nothing if it cannot be read.
std::optional<std::string> ReadLink(const std::string& path);

std::vector<std::string_view> SplitLines(std::string_view text);  // an unended last line counts
std::vector<std::string_view> SplitWords(std::string_view line);  // at blanks and tabs
std::vector<std::string> SplitAt(std::string_view text, char separator);  // no empty pieces

// Parses a decimal number; nothing for any other text.
std::optional<uint64_t> ParseNumber(std::string_view text);

}  // namespace volfs::cli
