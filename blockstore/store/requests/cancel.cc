#include "blockstore/base/str_cat.h"
#include "blockstore/store/request_checks.h"
#include "blockstore/store/store.h"

namespace volfs {

Status Store::Cancel(const std::string& name, const Caller& caller) {
  const std::shared_ptr<Volume> volume = Find(name);
  if (volume == nullptr) return NoSuchVolume(name);
  if (!parts_.tables.IsClone(volume->id())) {
    return Error{Errc::kInvalid, StrCat(name,
                                        ": it is not a clone that is being copied; nothing "
                                        "was done (`volfs rm` deletes a volume)")};
  }
  return Delete(name, caller);
}

}  // namespace volfs
