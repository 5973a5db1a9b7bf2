#pragma once

#include <array>
#include <cstdint>
#include <ctime>
#include <string>
#include <string_view>
#include <vector>

#include "blockstore/base/error.h"

namespace volfs::cli {

// One rule of `volfs prune`: of the snapshots of each period the newest is kept, in the `count`
// newest periods that have any. So restic(1) means it, too.
struct KeepRule {
  const char* option;
  const char* says;
  const char* reason;
  const char* period;  // strftime(3), local time; null: each snapshot is a period of its own
  uint64_t count = 0;
};

using KeepRules = std::array<KeepRule, 5>;
KeepRules NoKeepRules();  // all counts are 0

// Returns the reasons to keep each of the snapshots; without a reason it is to be deleted. `times`
// are in seconds since 1970, newest first.
std::vector<std::vector<std::string>> ReasonsToKeep(const std::vector<time_t>& times,
                                                    const KeepRules& rules);

// Returns the time that an info.json tells, such as 2025-01-31T12:00:00Z.
Result<time_t> ParseUtcSeconds(const std::string& text);

// Returns the name that a template of strftime(3) makes, in local time. Returns a text without "%"
// as it is.
Result<std::string> NameFromTemplate(const std::string& text, time_t now);

}  // namespace volfs::cli
