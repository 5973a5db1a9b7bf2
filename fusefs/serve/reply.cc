#include "fusefs/serve/reply.h"

#include <cerrno>
#include <vector>

#include "blockstore/base/str_cat.h"

namespace volfs {
namespace {

// As a user would write it: "write volumes/db".
std::string OperationOf(const Watch& watch) {
  const auto* const handle = static_cast<const Handle*>(watch.handle);
  if (handle == nullptr) return watch.what;
  if (handle->kind == Handle::Kind::kVolume) {
    return StrCat(watch.what, " volumes/",
                  static_cast<const VolumeHandle*>(handle)->volume->name());
  }
  if (handle->kind == Handle::Kind::kSnapshot) {
    const SnapshotInfo& info = static_cast<const SnapshotHandle*>(handle)->info;
    return StrCat(watch.what, " snapshots/", info.volume, "/", info.name);
  }
  return watch.what;
}

}  // namespace

Caller CallerOf(fuse_req_t req) {
  const fuse_ctx* context = fuse_req_ctx(req);
  Caller caller{.uid = context->uid, .gid = context->gid, .groups = {}};
  if (caller.uid == 0) return caller;
  std::vector<gid_t> groups(64);
  int count = fuse_req_getgroups(req, static_cast<int>(groups.size()), groups.data());
  if (count > static_cast<int>(groups.size())) {
    groups.resize(static_cast<size_t>(count));
    count = fuse_req_getgroups(req, count, groups.data());
  }
  if (count > 0 && count <= static_cast<int>(groups.size())) {
    caller.groups.assign(groups.begin(), groups.begin() + count);
  }
  return caller;
}

void ReplyError(fuse_req_t req, const Error& error) { fuse_reply_err(req, ErrnoOf(error.code)); }

void ReplyStatus(fuse_req_t req, const Status& status) {
  fuse_reply_err(req, status.ok() ? 0 : ErrnoOf(status.error().code));
}

void ReplyRefusal(fuse_req_t req, std::string_view operation, const Error& error) {
  // That a name is not there is an answer, not a refusal.
  if (error.code != Errc::kNotFound) {
    FilesystemOf(req).control.RecordRefusal(CallerOf(req), operation, error);
  }
  ReplyError(req, error);
}

Watchdog::Hooks WatchdogHooks(Filesystem& fs) {
  const auto request_of = [](const void* request) {
    return static_cast<fuse_req_t>(const_cast<void*>(request));
  };
  return {
      .answer =
          [request_of](const Watch& watch, const Error& error) {
            const fuse_req_t req = request_of(watch.request);
            if (error.code == Errc::kInterrupted) return ReplyError(req, error);
            ReplyRefusal(req, OperationOf(watch), error);
          },
      .interrupted =
          [request_of](const void* request) {
            return fuse_req_interrupted(request_of(request)) != 0;
          },
      .close =
          [&fs](const void* handle) { fs.Close(static_cast<Handle*>(const_cast<void*>(handle))); },
  };
}

}  // namespace volfs
