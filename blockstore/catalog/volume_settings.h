#pragma once

#include <string>
#include <string_view>

#include "blockstore/base/units.h"

namespace volfs {

// Settings of a node that are about one of its volumes: a prefix and its id in 16 hex digits
// (FORMAT.md). The first two are of clones.
inline constexpr std::string_view kCopyRatePrefix = "copy_rate.";
inline constexpr std::string_view kVerifyPrefix = "verify.";

inline constexpr std::string_view kIoPrefix = "io.";

std::string VolumeSetting(std::string_view prefix, Id volume);

// The values of kVerifyPrefix.
inline constexpr std::string_view kVerifyWanted = "wanted";
inline constexpr std::string_view kVerifyDone = "ok";

// The value of kIoPrefix: the kernel may serve the volume's file by itself. Without it we do.
inline constexpr std::string_view kIoNative = "native";

}  // namespace volfs
