#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "blockstore/base/error.h"
#include "fusefs/serve/filesystem.h"

struct fuse_session;

namespace volfs {

struct SessionOptions {
  std::string mountpoint;        // absolute
  std::string source = "volfs";  // as findmnt(8) and df(1) show it
  bool allow_other = false;
  bool read_only = false;
  bool synchronous = false;
  std::vector<std::string> kernel;  // more options of the kernel's mount
  int max_threads = 16;             // that serve requests at once
};

// One mount and the threads that serve it: libfuse's low-level session.
//
// Thread-safety: Serve on the thread that made it; BreakOff from any.
class Session {
 public:
  // Mounts. Nothing is answered before Serve. `fs` outlives it.
  static Result<std::unique_ptr<Session>> Mount(Filesystem& fs, const SessionOptions& options);
  ~Session();  // unmounts, lazily, if it is still mounted
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // Answers requests, with several threads, until it is unmounted or broken off; requests in work
  // are finished. Uses SIGUSR2 of this thread.
  Status Serve();

  // Serve ends, or has ended.
  [[nodiscard]] bool Over() const;

  // Ends Serve although the mount is in use: later requests are not answered any more.
  void BreakOff();

  [[nodiscard]] fuse_session* raw() { return session_; }

 private:
  Session(fuse_session* session, int max_threads) : session_(session), max_threads_(max_threads) {}

  fuse_session* const session_;
  const int max_threads_;
  std::atomic<bool> serving_{false};
  std::atomic<bool> broken_off_{false};
  pthread_t serving_thread_{};
};

}  // namespace volfs
