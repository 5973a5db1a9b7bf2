// What volumes take, and what of it is theirs alone.
#include "blockstore/store.h"

namespace volfs {

// Of one that is being deleted nothing: its layers may be gone.
uint64_t Store::ExclusiveBytes(Volume& volume) {
  const Epoch::Reader reader = volume.node().epoch().Enter();
  if (volume.deleting()) return 0;
  // It is a lower bound: who looks shall not wait for a catalog that somebody else waits for.
  if (volume.node().directory().calls()->slow()) return 0;
  const Result<uint64_t> bytes = reclaimer_->ExclusiveBytes(volume.head());
  return bytes.ok() ? bytes.value() : 0;
}

}  // namespace volfs
