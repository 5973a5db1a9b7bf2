#pragma once

#include <string_view>

#include "blockstore/base/error.h"

namespace volfs {

// Who serves a volume, in words: "native", the kernel by itself, or "daemon". In requests, in
// control/volumes/NAME/io and as a mount option.
Result<bool> ParseIo(std::string_view word);  // true: native
std::string_view IoText(bool native);

}  // namespace volfs
