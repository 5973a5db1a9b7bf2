#include "blockstore/sync/range_lock.h"

#include <cassert>
#include <iterator>
#include <utility>

namespace volfs {
namespace {

bool Overlap(const BlockRange& a, const BlockRange& b) {
  return a.first < b.end() && b.first < a.end();
}

}  // namespace

RangeLock::Guard& RangeLock::Guard::operator=(Guard&& other) noexcept {
  if (this == &other) return *this;
  Release();
  owner_ = std::exchange(other.owner_, nullptr);
  entry_ = other.entry_;
  range_ = std::exchange(other.range_, BlockRange{});
  return *this;
}

void RangeLock::Guard::Release() {
  RangeLock* owner = std::exchange(owner_, nullptr);
  if (owner == nullptr) return;
  range_ = {};
  MutexLock lock(owner->mu_);
  owner->LeaveLocked(entry_);
}

RangeLock::~RangeLock() {
  MutexLock lock(mu_);
  assert(entries_.empty());
}

RangeLock::Entries::iterator RangeLock::EnterLocked(const BlockRange& range) {
  assert(!range.empty() && range.end() > range.first);
  uint64_t blockers = 0;
  for (const Entry& earlier : entries_) blockers += Overlap(earlier.range, range) ? 1 : 0;
  if (unused_.empty()) unused_.emplace_back();
  entries_.splice(entries_.end(), unused_, unused_.begin());
  const auto entry = std::prev(entries_.end());
  entry->range = range;
  entry->blockers = blockers;
  return entry;
}

void RangeLock::LeaveLocked(Entries::iterator entry) {
  assert(entry->blockers == 0);
  for (auto later = std::next(entry); later != entries_.end(); ++later) {
    if (!Overlap(later->range, entry->range)) continue;
    assert(later->blockers > 0);  // L1: else both would be held
    if (--later->blockers == 0) later->admitted.NotifyAll();
  }
  unused_.splice(unused_.begin(), entries_, entry);
}

RangeLock::Guard RangeLock::Lock(const BlockRange& range) {
  MutexLock lock(mu_);
  const auto entry = EnterLocked(range);
  while (entry->blockers > 0) entry->admitted.Wait(mu_);
  return Guard(this, entry);
}

RangeLock::Guard RangeLock::TryLock(const BlockRange& range) {
  MutexLock lock(mu_);
  for (const Entry& earlier : entries_) {
    if (Overlap(earlier.range, range)) return Guard();
  }
  return Guard(this, EnterLocked(range));
}

bool RangeLock::held(const BlockRange& range) const {
  MutexLock lock(mu_);
  for (const Entry& entry : entries_) {
    if (entry.blockers == 0 && entry.range.first <= range.first &&
        range.end() <= entry.range.end()) {
      return true;
    }
  }
  return false;
}

}  // namespace volfs
