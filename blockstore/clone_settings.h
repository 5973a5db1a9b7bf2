#pragma once

#include <string>
#include <string_view>

#include "blockstore/units.h"

namespace volfs {

// Settings of a clone's node that are about that clone: a prefix and its id in 16 hex digits
// (FORMAT.md).
inline constexpr std::string_view kCopyRatePrefix = "copy_rate.";
inline constexpr std::string_view kVerifyPrefix = "verify.";

std::string CloneSetting(std::string_view prefix, Id clone);

// The values of kVerifyPrefix.
inline constexpr std::string_view kVerifyWanted = "wanted";
inline constexpr std::string_view kVerifyDone = "ok";

}  // namespace volfs
