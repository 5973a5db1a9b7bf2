#include "control/cli/host/mountinfo.h"

#include <algorithm>
#include <charconv>

#include "control/cli/process/files.h"

namespace volfs::cli {
namespace {

bool IsOctal(char c) { return c >= '0' && c <= '7'; }

// The kernel writes blanks, tabs, line feeds and backslashes as \ooo.
std::string Unescape(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool escaped = text[i] == '\\' && i + 3 < text.size() && IsOctal(text[i + 1]) &&
                         IsOctal(text[i + 2]) && IsOctal(text[i + 3]);
    if (!escaped) {
      out += text[i];
      continue;
    }
    const int value = (text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0');
    out += static_cast<char>(value);
    i += 3;
  }
  return out;
}

bool ParseInt(std::string_view text, int& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

// proc(5): id parent major:minor root mountpoint options [optional fields] - type source super
std::optional<MountEntry> ParseLine(std::string_view line) {
  constexpr size_t kBeforeOptional = 6;
  const std::vector<std::string_view> words = SplitWords(line);
  if (words.size() < kBeforeOptional) return std::nullopt;
  const auto dash = std::find(words.begin() + kBeforeOptional, words.end(), "-");
  if (words.end() - dash < 3) return std::nullopt;

  MountEntry entry;
  if (!ParseInt(words[0], entry.id) || !ParseInt(words[1], entry.parent)) return std::nullopt;
  entry.device = words[2];
  entry.root = Unescape(words[3]);
  entry.mountpoint = Unescape(words[4]);
  entry.type = Unescape(dash[1]);
  entry.source = Unescape(dash[2]);
  return entry;
}

}  // namespace

std::vector<MountEntry> ParseMountInfo(std::string_view text) {
  std::vector<MountEntry> mounts;
  for (const std::string_view line : SplitLines(text)) {
    if (std::optional<MountEntry> entry = ParseLine(line)) mounts.push_back(std::move(*entry));
  }
  return mounts;
}

Result<std::vector<MountEntry>> ReadMountInfo() {
  ASSIGN_OR_RETURN(const std::string text, ReadFile("/proc/self/mountinfo"));
  return ParseMountInfo(text);
}

std::optional<uint32_t> DeviceMinorOf(const std::string& mountpoint) {
  constexpr std::string_view kNoDisk = "0:";
  const Result<std::vector<MountEntry>> mounts = ReadMountInfo();
  if (!mounts.ok()) return std::nullopt;
  std::optional<uint64_t> minor;
  for (const MountEntry& mount : mounts.value()) {
    if (mount.mountpoint != mountpoint || !mount.device.starts_with(kNoDisk)) continue;
    minor = ParseNumber(std::string_view(mount.device).substr(kNoDisk.size()));
  }
  if (!minor) return std::nullopt;
  return static_cast<uint32_t>(*minor);
}

bool IsAtOrBelow(std::string_view path, std::string_view directory) {
  if (directory == "/") return path.starts_with('/');
  return path.starts_with(directory) &&
         (path.size() == directory.size() || path[directory.size()] == '/');
}

std::optional<MountEntry> VolfsMountOf(const std::vector<MountEntry>& mounts,
                                       std::string_view path) {
  const MountEntry* best = nullptr;
  for (const MountEntry& entry : mounts) {
    if (entry.type != kVolfsType || entry.root != "/") continue;
    if (!IsAtOrBelow(path, entry.mountpoint)) continue;
    if (best == nullptr || entry.mountpoint.size() >= best->mountpoint.size()) best = &entry;
  }
  if (best == nullptr) return std::nullopt;
  return *best;
}

std::vector<MountEntry> VolfsMounts(const std::vector<MountEntry>& mounts) {
  std::vector<MountEntry> found;
  for (const MountEntry& entry : mounts) {
    if (entry.type != kVolfsType || entry.root != "/") continue;
    const bool known = std::any_of(found.begin(), found.end(), [&entry](const MountEntry& other) {
      return other.device == entry.device;
    });
    if (!known) found.push_back(entry);
  }
  return found;
}

}  // namespace volfs::cli
