#pragma once

#include <string_view>

#include "blockstore/base/error.h"

namespace volfs {

// The name of the errno that a user meets for `code`: "EBUSY". Text only, for replies and
// last_error; the numbers are in fusefs/serve/errno_map.cc, and a test there compares the two.
std::string_view ErrcName(Errc code);

}  // namespace volfs
