#include "fusefs/serve/parked_reads.h"

#include <cassert>
#include <utility>
#include <vector>

namespace volfs {

ParkedReads::ParkedReads() : thread_("volfs-parked", [this] { Work(); }) {}

ParkedReads::~ParkedReads() { Stop(); }

bool ParkedReads::Park(Read read) {
  assert(read.try_answer && read.abandon && read.interrupted);
  Entry* entry = nullptr;
  {
    MutexLock lock(mu_);
    if (stopping_ || entries_.size() >= (read.of_owner ? kMaxReads : kMaxOfOthers)) return false;
    entries_.push_back(Entry{.read = std::move(read), .claimed = true});
    entry = &entries_.back();
  }
  // An interrupt that came before the entry was here found nothing to mark; one that comes from
  // now on does. Claimed until then, so that the thread does not answer the request meanwhile.
  const bool was_interrupted = entry->read.interrupted();
  MutexLock lock(mu_);
  assert(entry->claimed);  // I1: the thread has not taken it out
  entry->interrupted |= was_interrupted;
  entry->claimed = false;
  WakeLocked();  // its text may have come meanwhile
  return true;
}

void ParkedReads::Interrupt(const void* request) {
  MutexLock lock(mu_);
  for (Entry& entry : entries_) {
    if (entry.read.request != request) continue;
    entry.interrupted = true;
    WakeLocked();
  }
}

void ParkedReads::InterruptAll() {
  MutexLock lock(mu_);
  for (Entry& entry : entries_) entry.interrupted = true;
  WakeLocked();
}

void ParkedReads::Watch(const void* file, Poll poll) {
  MutexLock lock(mu_);
  if (stopping_) return;
  polls_.insert_or_assign(file, Watched{std::move(poll), ++last_serial_});
  WakeLocked();
}

void ParkedReads::Unwatch(const void* file) {
  MutexLock lock(mu_);
  polls_.erase(file);
}

void ParkedReads::Wake() {
  MutexLock lock(mu_);
  WakeLocked();
}

void ParkedReads::WakeLocked() {
  woken_ = true;
  changed_.NotifyAll();
}

void ParkedReads::Stop() {
  {
    MutexLock lock(mu_);
    stopping_ = true;
    for (Entry& entry : entries_) entry.interrupted = true;
    WakeLocked();
  }
  if (thread_.joinable()) thread_.Join();
  MutexLock lock(mu_);
  assert(entries_.empty());  // I1: all are answered
  polls_.clear();
}

void ParkedReads::Work() {
  while (true) {
    {
      MutexLock lock(mu_);
      while (!woken_) changed_.Wait(mu_);
      woken_ = false;
    }
    TryReads();
    TryPolls();
    MutexLock lock(mu_);
    if (stopping_ && entries_.empty()) return;
  }
}

// Only this thread takes entries out, so an iterator stays good while the lock is not held.
void ParkedReads::TryReads() {
  mu_.Lock();
  for (auto it = entries_.begin(); it != entries_.end();) {
    if (it->claimed) {  // being parked: Park wakes us when it is done
      ++it;
      continue;
    }
    it->claimed = true;
    const bool abandon = it->interrupted;
    mu_.Unlock();
    bool over = true;
    if (abandon) {
      it->read.abandon();
    } else {
      over = it->read.try_answer();
    }
    mu_.Lock();
    assert(it->claimed);  // I1
    if (over) {
      it = entries_.erase(it);
      continue;
    }
    it->claimed = false;
    if (it->interrupted) woken_ = true;  // it came meanwhile: once more
    ++it;
  }
  mu_.Unlock();
}

// A poll is taken out before its poller is told, who may then poll again at once.
void ParkedReads::TryPolls() {
  std::vector<std::pair<const void*, Watched>> polls;
  {
    MutexLock lock(mu_);
    polls.assign(polls_.begin(), polls_.end());
  }
  for (auto& [file, watched] : polls) {
    if (!watched.poll.readable()) continue;
    {
      MutexLock lock(mu_);
      const auto it = polls_.find(file);
      if (it == polls_.end() || it->second.serial != watched.serial) continue;
      polls_.erase(it);
    }
    watched.poll.notify();
  }
}

}  // namespace volfs
