#pragma once

#include <cstdint>
#include <vector>

#include "blockstore/catalog/catalog.h"

namespace volfs {

// Who asks. Root (uid 0) may everything.
struct Caller {
  uint32_t uid = 0;
  uint32_t gid = 0;
  std::vector<uint32_t> groups;  // supplementary
};
enum class Right { kRead = 4, kWrite = 2 };
bool Allowed(const Caller& caller, const Attributes& attributes, Right right);

}  // namespace volfs
