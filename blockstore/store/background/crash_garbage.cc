#include "blockstore/store/background/crash_garbage.h"

#include <utility>

#include "blockstore/base/log.h"

namespace volfs {

void CrashGarbage::Add(Id layer, std::shared_ptr<Volume> volume) {
  MutexLock lock(mu_);
  unpunched_.push_back({layer, std::move(volume)});
}

void CrashGarbage::KeepSome() {
  MutexLock lock(mu_);
  failed_ = true;
}

bool CrashGarbage::gone() const {
  MutexLock lock(mu_);
  return gone_;
}

void CrashGarbage::Free(bool first) {
  std::vector<Unpunched> todo;
  {
    MutexLock lock(mu_);
    if (gone_) return;
    std::swap(todo, unpunched_);
  }
  bool done = true;
  const auto note = [&done](const Status& status) {
    if (status.ok()) return;
    LogWarning(status.error().message);
    done = false;  // the next mount tries again
  };
  if (first) note(reclaimer_.ReclaimAll());
  std::vector<Unpunched> later;
  for (Unpunched& what : todo) {
    const Result<bool> punched = Punch(what);
    if (!punched.ok()) {
      note(punched.error());
    } else if (!punched.value()) {
      later.push_back(std::move(what));
    }
  }
  MutexLock lock(mu_);
  failed_ = failed_ || !done;
  gone_ = !failed_ && later.empty();
  unpunched_ = std::move(later);
}

// Returns false if the layer cannot be punched yet.
Result<bool> CrashGarbage::Punch(const Unpunched& what) {
  // The cache of every layer, opened in this mount or not: the next mount will not know of the
  // unclean stop.
  RETURN_IF_ERROR(reclaimer_.ForgetCache(what.layer));
  if (what.volume != nullptr) {
    ASSIGN_OR_RETURN(const bool was_head, what.volume->hydration().PunchGarbage(what.layer));
    if (was_head) return true;
    // A snapshot has frozen the layer since. Its blocks are in the catalog once that is committed.
    if (!what.volume->commits().Recorded()) return false;
  }
  RETURN_IF_ERROR(reclaimer_.PunchGarbage(what.layer));
  return true;
}

}  // namespace volfs
