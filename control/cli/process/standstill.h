#pragma once

#include <sys/types.h>

#include <string>

namespace volfs::cli {

// Tells whether the main thread of a process makes no step: it sleeps in one call and is not woken,
// as while it waits for a dead server. A slow disk wakes it all the time.
//
// Thread-safety: one thread. Cost of a look: two files of /proc.
class Standstill {
 public:
  // Returns for how many looks in a row the thread has slept without a step; 0: it has made one, or
  // nothing is known of it.
  int Look(pid_t pid);
  [[nodiscard]] int looks() const { return looks_; }

 private:
  pid_t seen_pid_ = 0;
  std::string seen_;
  int looks_ = 0;
};

}  // namespace volfs::cli
