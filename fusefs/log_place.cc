#include "fusefs/log_place.h"

#include <unistd.h>

#include <array>
#include <cctype>
#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "blockstore/log.h"

namespace volfs {
namespace {

constexpr const char* kRootState = "/var/lib/volfs";
constexpr const char* kRootLogs = "/var/log/volfs";

std::string Environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? std::string() : std::string(value);
}

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

std::string StateFolder() {
  if (::geteuid() == 0) return kRootState;
  const std::string state = Environment("XDG_STATE_HOME");
  if (state.starts_with('/')) return Text(state, "/volfs");
  const std::string home = Environment("HOME");
  return home.starts_with('/') ? Text(home, "/.local/state/volfs") : std::string();
}

std::string LogFileFor(const std::string& mountpoint) {
  const std::string folder = ::geteuid() == 0 ? kRootLogs : StateFolder();
  if (folder.empty()) return {};
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) return {};
  return Text(folder, "/", EscapePath(mountpoint), ".log");
}

}  // namespace volfs
