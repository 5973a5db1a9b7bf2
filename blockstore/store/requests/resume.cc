#include "blockstore/base/str_cat.h"
#include "blockstore/store/request_checks.h"
#include "blockstore/store/store.h"

namespace volfs {

Status Store::Resume(const std::string& name, const Caller& caller) {
  std::shared_ptr<CloneJob> job;
  {
    MutexLock lock(parts_.tables.mu);
    const std::shared_ptr<Volume> volume = parts_.tables.names.Find(name);
    if (volume == nullptr) return NoSuchVolume(name);
    if (!Allowed(caller, volume->attributes(), Right::kWrite)) {
      return NoRight(name, "write");
    }
    const CloneEntry* const found = parts_.tables.clones.Find(volume->id());
    if (found == nullptr || found->owed) {
      return Error{Errc::kInvalid, StrCat(name, ": it is not a clone in error")};
    }
    if (found->job == nullptr) return Error{Errc::kNodeDown, found->trouble};
    job = found->job;
    if (job->state() != CloneJob::State::kFailed) {
      return Error{Errc::kInvalid, StrCat(name, ": it is being copied already")};
    }
    job->Resume();
    CloneTable& clones = parts_.tables.clones;
    if (!clones.Locked(found->lock)) clones.Lock(found->lock, volume->id());
  }
  parts_.hydrator.Add(job);
  parts_.events.Emit("status", name, job->clone()->id(), "creating");
  return OkStatus();
}

}  // namespace volfs
