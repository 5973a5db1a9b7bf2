#include "control/cli/retention.h"

#include "blockstore/base/str_cat.h"
#include "control/cli/process/failure.h"

namespace volfs::cli {
namespace {

std::string LocalTime(time_t time, const char* format) {
  std::tm parts{};
  std::array<char, 512> text{};
  if (::localtime_r(&time, &parts) == nullptr) return "";
  return {text.data(), std::strftime(text.data(), text.size(), format, &parts)};
}

}  // namespace

KeepRules NoKeepRules() {
  return {{{"--keep-last", "The N newest", "last", nullptr},
           {"--keep-hourly", "The newest of each of the N newest hours", "hourly", "%Y%m%d%H"},
           {"--keep-daily", "The same of days", "daily", "%Y%m%d"},
           {"--keep-weekly", "The same of weeks, which begin on Mondays", "weekly", "%G%V"},
           {"--keep-monthly", "The same of months", "monthly", "%Y%m"}}};
}

std::vector<std::vector<std::string>> ReasonsToKeep(const std::vector<time_t>& times,
                                                    const KeepRules& rules) {
  std::vector<std::vector<std::string>> reasons(times.size());
  for (const KeepRule& rule : rules) {
    uint64_t left = rule.count;
    std::string last;
    for (size_t i = 0; i < times.size() && left > 0; ++i) {
      const std::string period =
          rule.period == nullptr ? std::to_string(i) : LocalTime(times[i], rule.period);
      if (period == last) continue;
      last = period;
      reasons[i].emplace_back(rule.reason);
      --left;
    }
  }
  return reasons;
}

Result<time_t> ParseUtcSeconds(const std::string& text) {
  std::tm parts{};
  const char* const end = ::strptime(text.c_str(), "%Y-%m-%dT%H:%M:%SZ", &parts);
  if (end == nullptr || *end != '\0') {
    return Error{Errc::kIo, StrCat("\"", text, "\" is not a time that can be understood")};
  }
  return ::timegm(&parts);
}

Result<std::string> NameFromTemplate(const std::string& text, time_t now) {
  if (text.find('%') == std::string::npos) return text;
  const std::string name = LocalTime(now, text.c_str());
  if (name.empty()) return UsageFailure(StrCat(text, ": strftime(3) makes no name of it"));
  return name;
}

}  // namespace volfs::cli
