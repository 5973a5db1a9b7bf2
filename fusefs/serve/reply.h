#pragma once

#include <fuse3/fuse_lowlevel.h>

#include <string_view>

#include "blockstore/base/error.h"
#include "blockstore/store/store.h"
#include "fusefs/serve/filesystem.h"

namespace volfs {

// How long the kernel may believe an entry or attributes, in seconds. The fixed directories are
// always there, and the daemon tells of their changes (invalidator.h). The kernel asks for their
// attributes again now and then, so that stat(2) notices a daemon that died. Everything else may
// change by another path (a request, the other view) and must show at once: the kernel believes
// nothing, and never keeps that a name does not exist (T67).
struct Lifetime {
  double entry_seconds = 0;
  double attributes_seconds = 0;
};
inline constexpr Lifetime kFixedLifetime{3600, 1};
inline constexpr Lifetime kNoLifetime{0, 0};

inline Filesystem& FilesystemOf(fuse_req_t req) {
  return *static_cast<Filesystem*>(fuse_req_userdata(req));
}

// Returns the user behind a request. Reads the supplementary groups from /proc (some 20 us), but
// for root.
Caller CallerOf(fuse_req_t req);

// Answer the request, exactly once.
void ReplyError(fuse_req_t req, const Error& error);
void ReplyStatus(fuse_req_t req, const Status& status);
// Answers a file operation of which people need to hear more than the errno: `operation` ("rm
// volumes/db") goes to control/last_error with the sentence of `error`.
void ReplyRefusal(fuse_req_t req, std::string_view operation, const Error& error);

// Returns the functions by which the watchdog answers requests and closes handles.
Watchdog::Hooks WatchdogHooks(Filesystem& fs);

}  // namespace volfs
