#include "fusefs/log_place.h"

#include <unistd.h>

#include <array>
#include <cctype>
#include <cstdio>
#include <filesystem>

#include "blockstore/log.h"
#include "control/cli/state_folder.h"

namespace volfs {
namespace {

constexpr const char* kRootLogs = "/var/log/volfs";

}  // namespace

std::string EscapePath(const std::string& absolute) {
  std::string out;
  for (const char c : absolute.substr(absolute.starts_with('/') ? 1 : 0)) {
    const bool plain = std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '.';
    if (plain && !(c == '.' && out.empty())) {
      out += c;
    } else if (c == '/') {
      out += '-';
    } else {
      std::array<char, 8> code{};
      std::snprintf(code.data(), code.size(), "\\x%02x", static_cast<unsigned char>(c));
      out += code.data();
    }
  }
  return out.empty() ? "-" : out;
}

std::string LogFileFor(const std::string& mountpoint) {
  const std::string folder = ::geteuid() == 0 ? kRootLogs : cli::StateFolder();
  if (folder.empty()) return {};
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) return {};
  return Text(folder, "/", EscapePath(mountpoint), ".log");
}

}  // namespace volfs
