#pragma once

#include <cstdint>
#include <vector>

#include "blockstore/catalog/catalog.h"

namespace volfs {

// The user on whose behalf a request is made.
struct Caller {
  uint32_t uid = 0;
  uint32_t gid = 0;
  std::vector<uint32_t> groups;  // supplementary
};
enum class Right { kRead = 4, kWrite = 2 };
// Returns whether the mode bits give `caller` the right. Root (uid 0) has every right.
bool Allowed(const Caller& caller, const Attributes& attributes, Right right);

}  // namespace volfs
