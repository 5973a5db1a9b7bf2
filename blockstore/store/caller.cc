#include "blockstore/store/caller.h"

#include <algorithm>

namespace volfs {

bool Allowed(const Caller& caller, const Attributes& attributes, Right right) {
  if (caller.uid == 0) return true;
  const auto bits = static_cast<uint32_t>(right);
  if (caller.uid == attributes.uid) return (attributes.mode >> 6 & bits) != 0;
  const bool member =
      caller.gid == attributes.gid ||
      std::find(caller.groups.begin(), caller.groups.end(), attributes.gid) != caller.groups.end();
  return (attributes.mode >> (member ? 3 : 0) & bits) != 0;
}

}  // namespace volfs
