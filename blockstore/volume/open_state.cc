#include "blockstore/volume/open_state.h"

#include <cassert>
#include <utility>

#include "blockstore/base/str_cat.h"

namespace volfs {

Status OpenState::Add(Access access, bool creates) {
  if (access == Access::kWrite) {
    RETURN_IF_ERROR(state_.CheckWritable());
    if (!creates && (state_.attributes().mode & 0222) == 0) {
      return Error{Errc::kReadOnly, StrCat(state_.name(),
                                           ": its mode has no w bit; `chmod u+w` "
                                           "makes it writable")};
    }
  }
  {
    MutexLock lock(mu_);
    if (reverting_) return Error{Errc::kBusy, StrCat(state_.name(), ": it is being reverted")};
    if (!deleting_) {
      ++(access == Access::kRead ? readers_ : writers_);
      return OkStatus();
    }
  }
  return Error{Errc::kNotFound, StrCat(state_.name(), ": it is being deleted")};
}

void OpenState::Remove(Access access) {
  std::function<void()> gone;
  {
    MutexLock lock(mu_);
    int& count = access == Access::kRead ? readers_ : writers_;
    assert(count > 0);
    --count;
    if (opens() == 0) std::swap(gone, gone_);
  }
  if (gone) gone();
}

int OpenState::readers() const {
  MutexLock lock(mu_);
  return readers_;
}

int OpenState::writers() const {
  MutexLock lock(mu_);
  return writers_;
}

bool OpenState::any() const {
  MutexLock lock(mu_);
  return opens() > 0;
}

bool OpenState::busy() const {
  MutexLock lock(mu_);
  return opens() > 0 || deleting_ || reverting_;
}

bool OpenState::deleting() const {
  MutexLock lock(mu_);
  return deleting_;
}

Status OpenState::BeginRevert() {
  {
    MutexLock lock(mu_);
    if (deleting_) return Error{Errc::kBusy, StrCat(state_.name(), ": it is being deleted")};
    if (!reverting_ && opens() == 0) {
      reverting_ = true;
      return OkStatus();
    }
  }
  return Error{Errc::kBusy, StrCat(state_.name(),
                                   ": it is open, and its contents cannot change under a reader; "
                                   "detach or close it first (`volfs status ",
                                   state_.name(), "` and `fuser` show the processes)")};
}

void OpenState::EndRevert() {
  MutexLock lock(mu_);
  reverting_ = false;
}

Status OpenState::BeginDelete() {
  {
    MutexLock lock(mu_);
    if (reverting_)
      return Error{Errc::kBusy, StrCat(state_.name(), ": it is being reverted; try again")};
    if (!deleting_ && writers_ == 0) {
      deleting_ = true;
      return OkStatus();
    }
  }
  return Error{
      Errc::kBusy,
      StrCat(state_.name(), ": it is open for writing; detach or close it first (`volfs status ",
             state_.name(), "` and `fuser` show the processes)")};
}

void OpenState::AbortDelete() {
  MutexLock lock(mu_);
  deleting_ = false;
}

void OpenState::FinishDelete(std::function<void()> gone) {
  {
    MutexLock lock(mu_);
    assert(deleting_);
    if (opens() > 0) {
      gone_ = std::move(gone);
      return;
    }
  }
  gone();
}

}  // namespace volfs
