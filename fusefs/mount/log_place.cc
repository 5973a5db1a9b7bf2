#include "fusefs/mount/log_place.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdio>
#include <filesystem>
#include <set>

#include "blockstore/base/str_cat.h"
#include "control/cli/host/state_directory.h"

namespace volfs {
namespace {

constexpr const char* kRootLogs = "/var/log/volfs";
constexpr const char* kLogSuffix = ".log";

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
  const std::string directory = ::geteuid() == 0 ? kRootLogs : cli::StateDirectory();
  if (directory.empty()) return {};
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  if (error) return {};
  return StrCat(directory, "/", EscapePath(mountpoint), kLogSuffix);
}

namespace {

struct OneLog {
  std::filesystem::path path;
  std::filesystem::file_time_type written;
};

std::vector<OneLog> LogsIn(const std::filesystem::path& directory) {
  std::vector<OneLog> logs;
  std::error_code error;
  for (std::filesystem::directory_iterator it(directory, error), end; !error && it != end;
       it.increment(error)) {
    std::error_code gone;
    if (it->path().extension() != kLogSuffix || !it->is_regular_file(gone)) continue;
    const auto written = it->last_write_time(gone);
    if (!gone) logs.push_back({it->path(), written});
  }
  return logs;
}

}  // namespace

void RemoveOldLogs(const std::string& log_file, const std::vector<std::string>& mountpoints) {
  const std::filesystem::path own(log_file);
  std::set<std::string> kept{own.filename().string()};
  for (const std::string& mountpoint : mountpoints)
    kept.insert(EscapePath(mountpoint) + kLogSuffix);
  std::vector<OneLog> logs = LogsIn(own.parent_path());
  std::erase_if(logs,
                [&](const OneLog& log) { return kept.contains(log.path.filename().string()); });
  std::sort(logs.begin(), logs.end(),
            [](const OneLog& a, const OneLog& b) { return a.written > b.written; });
  const size_t most = kMaxLogs - std::min(kMaxLogs, kept.size());
  for (size_t i = most; i < logs.size(); ++i) {
    std::error_code error;
    std::filesystem::remove(logs[i].path, error);
    for (const char* rotated : {".1", ".2", ".3"}) {
      std::filesystem::remove(logs[i].path.string() + rotated, error);
    }
  }
}

}  // namespace volfs
