#include "fusefs/mount/options.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <string_view>

#include "blockstore/base/str_cat.h"
#include "blockstore/clone/hydrator.h"
#include "control/text/io.h"
#include "control/text/size.h"

namespace volfs {
namespace {

// Options that mount(8), fstab(5) and systemd.mount(5) allow and act upon themselves.
constexpr std::array<std::string_view, 16> kForOthers = {
    "defaults", "rw",      "auto",   "noauto", "user", "nouser",     "users",  "owner",
    "group",    "_netdev", "nofail", "suid",   "dev",  "noiversion", "silent", "loud"};
constexpr std::array<std::string_view, 3> kForOthersPrefixes = {"x-", "X-", "comment="};

// Options that libfuse hands on to the kernel as flags of the mount.
constexpr std::array<std::string_view, 13> kForKernel = {
    "nosuid",   "nodev",    "noexec",     "exec",        "atime",         "noatime", "nodiratime",
    "diratime", "relatime", "norelatime", "strictatime", "nostrictatime", "dirsync"};
// ... and those of them that it does not know by name: harmless to leave out.
constexpr std::array<std::string_view, 5> kIgnoredFlags = {"relatime", "norelatime", "strictatime",
                                                           "nostrictatime", "diratime"};

template <size_t N>
bool Contains(const std::array<std::string_view, N>& list, std::string_view word) {
  return std::find(list.begin(), list.end(), word) != list.end();
}

bool ForOthers(std::string_view word) {
  const bool prefixed = std::any_of(kForOthersPrefixes.begin(), kForOthersPrefixes.end(),
                                    [&](std::string_view p) { return word.starts_with(p); });
  return prefixed || Contains(kForOthers, word);
}

Error BadOption(std::string_view word, std::string_view why) {
  return Error{Errc::kInvalid, StrCat("mount option ", word, ": ", why)};
}

Result<uint32_t> ParseNumber(std::string_view word, std::string_view value) {
  uint32_t number = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
  if (error != std::errc() || end != value.data() + value.size()) {
    return BadOption(word, "a number is expected");
  }
  return number;
}

struct FlagOption {
  std::string_view name;
  bool MountOptions::*flag;
};
constexpr std::array<FlagOption, 6> kFlagOptions = {{
    {"allow_shrink", &MountOptions::allow_shrink},
    {"allow_other", &MountOptions::allow_other},
    {"init", &MountOptions::init},
    {"nopoll", &MountOptions::no_poll},
    {"private", &MountOptions::is_private},
    {"ro", &MountOptions::read_only},
}};

Status SetFlag(const FlagOption& option, MountOptions& options) {
  options.*option.flag = true;
  options.given.emplace_back(option.name, "1");
  return OkStatus();
}

// ---- options with a value; `word` is KEY=VALUE, for messages

Status SetControlGid(std::string_view word, std::string_view value, MountOptions& options) {
  ASSIGN_OR_RETURN(options.control_gid, ParseNumber(word, value));
  return OkStatus();
}

Status SetCopyRate(std::string_view word, std::string_view value, MountOptions& options) {
  if (value != "max" && !ParseSize(value).ok()) {
    return BadOption(word, "bytes per second are expected (10M), `max`, or 0 to pause");
  }
  options.copy_rate = value;
  return OkStatus();
}

Status SetCopyJobs(std::string_view word, std::string_view value, MountOptions& options) {
  ASSIGN_OR_RETURN(const uint32_t jobs, ParseNumber(word, value));
  if (jobs == 0) return BadOption(word, "at least 1 is expected; copy_rate=0 pauses copying");
  if (jobs > Hydrator::kMaxJobs) {
    return BadOption(word, StrCat("at most ", Hydrator::kMaxJobs, " are expected"));
  }
  options.copy_jobs = value;
  return OkStatus();
}

Status SetIo(std::string_view word, std::string_view value, MountOptions& options) {
  const Result<bool> native = ParseIo(value);
  if (!native.ok()) return BadOption(word, native.error().message);
  options.native = native.value();
  return OkStatus();
}

Status AddAccept(std::string_view word, std::string_view value, MountOptions& options) {
  if (value.size() != 16 || value.find_first_not_of("0123456789abcdef") != value.npos) {
    return BadOption(word,
                     "the 16 hex digits of a copy's last mount are expected, as the refusal "
                     "of that copy tells them");
  }
  options.accept.emplace_back(value);
  return OkStatus();
}

Status SetNodeTimeout(std::string_view word, std::string_view value, MountOptions& options) {
  ASSIGN_OR_RETURN(const uint32_t seconds, ParseNumber(word, value));
  if (seconds == 0) return BadOption(word, "at least 1 second is expected");
  options.node_timeout = std::chrono::seconds(seconds);
  return OkStatus();
}

struct ValueOption {
  std::string_view key;
  Status (*set)(std::string_view word, std::string_view value, MountOptions& options);
  bool shown = true;  // in control/config
};
constexpr std::array<ValueOption, 6> kValueOptions = {{
    {"accept", AddAccept, false},
    {"control_gid", SetControlGid},
    {"copy_jobs", SetCopyJobs},
    {"copy_rate", SetCopyRate},
    {"io", SetIo},
    {"node_timeout", SetNodeTimeout},
}};

Status SetValue(std::string_view word, std::string_view key, std::string_view value,
                MountOptions& options) {
  const auto* const option = std::find_if(kValueOptions.begin(), kValueOptions.end(),
                                          [&](const ValueOption& one) { return one.key == key; });
  if (option == kValueOptions.end()) return BadOption(word, "unknown");
  RETURN_IF_ERROR(option->set(word, value, options));
  if (!option->shown) return OkStatus();
  std::erase_if(options.given, [&](const auto& pair) { return pair.first == key; });
  options.given.emplace_back(key, value);
  return OkStatus();
}

// The last of them counts, as for mount(8).
Status SetSynchronous(bool synchronous, MountOptions& options) {
  options.synchronous = synchronous;
  std::erase_if(options.given, [](const auto& pair) { return pair.first == "sync"; });
  if (synchronous) options.given.emplace_back("sync", "1");
  return OkStatus();
}

Status ParseOne(std::string_view word, MountOptions& options) {
  for (const FlagOption& option : kFlagOptions) {
    if (word == option.name) return SetFlag(option, options);
  }
  if (word == "sync" || word == "async") return SetSynchronous(word == "sync", options);
  if (ForOthers(word) || Contains(kIgnoredFlags, word)) return OkStatus();
  if (Contains(kForKernel, word)) {
    options.kernel.emplace_back(word);
    return OkStatus();
  }
  const size_t equals = word.find('=');
  if (equals == std::string_view::npos) return BadOption(word, "unknown");
  return SetValue(word, word.substr(0, equals), word.substr(equals + 1), options);
}

}  // namespace

Result<MountOptions> ParseOptions(const std::vector<std::string>& words) {
  MountOptions options;
  for (const std::string& several : words) {
    std::string_view rest = several;
    while (!rest.empty()) {
      const std::string_view word = rest.substr(0, rest.find(','));
      rest.remove_prefix(std::min(rest.size(), word.size() + 1));
      if (!word.empty()) RETURN_IF_ERROR(ParseOne(word, options));
    }
  }
  return options;
}

std::vector<std::string> MountOptionNames() {
  std::vector<std::string> names = {"async", "sync"};
  for (const FlagOption& option : kFlagOptions) names.emplace_back(option.name);
  for (const ValueOption& option : kValueOptions) names.push_back(StrCat(option.key, "="));
  names.insert(names.end(), kForKernel.begin(), kForKernel.end());
  return names;
}

}  // namespace volfs
