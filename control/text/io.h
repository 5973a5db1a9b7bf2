#pragma once

#include <string_view>

#include "blockstore/base/error.h"

namespace volfs {

// The words that say whether the kernel by itself ("native") or the daemon ("daemon") serves a
// volume. They stand in requests, in control/volumes/NAME/io and as a mount option.
Result<bool> ParseIo(std::string_view word);  // true if native
std::string_view IoText(bool native);

}  // namespace volfs
