#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "control/cli/client.h"

namespace volfs::cli {

// The state of a clone, as control/volumes/NAME/ shows it.
struct Progress {
  double per_cent = 0;
  uint64_t copied_bytes = 0;
  uint64_t total_bytes = 0;
  uint64_t rate_bytes = 0;
  std::optional<uint64_t> eta_seconds;  // nothing: unknown
  std::string error;                    // why it stands still; empty if it does not
};

// Returns kNotFound if there is no such volume (any more).
Result<Progress> ReadProgress(const Client& client, std::string_view volume);

// Returns 65 as "1:05", 3700 as "1:01:40".
std::string FormatSeconds(uint64_t seconds);

// Returns the progress as a line of at most `width` columns:
//   "db-clone [=====>    ]  52.10%  1.2G of 2.3G  105.0M/s  eta 0:11"
// Parts that do not fit are left out, the bar first, then from the right.
std::string RenderProgress(std::string_view name, const Progress& progress, size_t width);

}  // namespace volfs::cli
