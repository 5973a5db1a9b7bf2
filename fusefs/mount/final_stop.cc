#include "fusefs/mount/final_stop.h"

#include <unistd.h>

#include "blockstore/base/log.h"
#include "blockstore/base/str_cat.h"

namespace volfs {

FinalStop::FinalStop(Store& store, const Watchdog& watchdog)
    : watchdog_(watchdog), store_(&store), thread_("volfs-final", [this] { Work(); }) {}

FinalStop::~FinalStop() {
  {
    MutexLock lock(mu_);
    ended_ = true;
    changed_.NotifyAll();
  }
  thread_.Join();
}

void FinalStop::Follow(Session* session) {
  MutexLock lock(mu_);
  session_ = session;
  serving_ = session != nullptr;
}

void FinalStop::LeaveStoreAlone() {
  MutexLock lock(mu_);
  store_ = nullptr;
}

bool FinalStop::EndingLocked() const {
  return !serving_ || (session_ != nullptr && session_->Over());
}

void FinalStop::Work() {
  MutexLock lock(mu_);
  Nanoseconds since = kForever;  // when ending was first seen to be held up
  while (!ended_) {
    const Nanoseconds now = MonotonicNow();
    const bool held_up = EndingLocked() && watchdog_.Trouble();
    if (!held_up) since = kForever;
    if (held_up && since == kForever) since = now;
    if (held_up && now - since > kPatience) {
      LogError(
          "the mount is over, but a node that does not answer keeps the daemon from ending in "
          "order: the data of the others is made durable, and the process exits");
      if (store_ != nullptr) {
        for (const std::string& what : store_->CommitAll()) {
          LogError(StrCat("ending: not durable: ", what));
        }
      }
      ::_exit(1);
    }
    (void)changed_.WaitUntil(mu_, now + kTick);
  }
}

}  // namespace volfs
