#pragma once

#include <string_view>
#include <vector>

#include "blockstore/base/error.h"
#include "blockstore/catalog/catalog.h"

namespace volfs::cli {

// Reads "ssd,sata:1G-2T" as --types takes it: each type's name once and, if given, its least and
// greatest size (either may be left out: "1G-", "-2T"). "" is no type at all. kInvalid, with a
// sentence, for anything else.
Result<std::vector<VolumeType>> ParseTypes(std::string_view text);

}  // namespace volfs::cli
