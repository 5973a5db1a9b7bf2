#pragma once

#include <string_view>

namespace volfs {

// Returns the commit that this program was built from: 12 hex digits, and "-dirty" behind them if
// files were changed since. Returns "" where the build does not know it, as in a source package.
std::string_view Commit();

}  // namespace volfs
