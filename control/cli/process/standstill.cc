#include "control/cli/process/standstill.h"

#include <optional>
#include <string_view>
#include <vector>

#include "blockstore/base/str_cat.h"
#include "control/cli/process/files.h"

namespace volfs::cli {
namespace {

// How far a thread has come.
struct Steps {
  char state = 'X';
  std::string counters;
};

std::optional<Steps> StepsOf(pid_t pid) {
  const std::string directory = StrCat("/proc/", pid, "/task/", pid);
  const Result<std::string> stat = ReadFile(directory + "/stat");
  const Result<std::string> status = ReadFile(directory + "/status");
  if (!stat.ok() || !status.ok()) return std::nullopt;
  const size_t name_end = stat.value().rfind(") ");
  if (name_end == std::string::npos) return std::nullopt;
  Steps steps;
  const std::vector<std::string_view> words =
      SplitWords(std::string_view(stat.value()).substr(name_end + 2));
  constexpr size_t kUser = 11;  // proc(5), counted from the state
  if (words.size() <= kUser + 1) return std::nullopt;
  steps.state = words[0][0];
  steps.counters = StrCat(words[kUser], " ", words[kUser + 1]);
  for (const std::string_view line : SplitLines(status.value())) {
    if (line.find("ctxt_switches") != line.npos) steps.counters += StrCat(" ", line);
  }
  return steps;
}

}  // namespace

int Standstill::Look(pid_t pid) {
  const std::optional<Steps> now = pid > 0 ? StepsOf(pid) : std::nullopt;
  const bool sleeps = now && (now->state == 'S' || now->state == 'D');
  if (sleeps && pid == seen_pid_ && now->counters == seen_) return ++looks_;
  seen_pid_ = pid;
  if (now) seen_ = now->counters;
  return looks_ = 0;
}

}  // namespace volfs::cli
