#include <fcntl.h>
#include <poll.h>

#include <cerrno>
#include <memory>
#include <optional>
#include <string>

#include "blockstore/base/log.h"
#include "control/tree/diff_place.h"
#include "fusefs/ops/open_image.h"
#include "fusefs/ops/operations.h"
#include "fusefs/ops/serve.h"
#include "fusefs/serve/reply.h"

namespace volfs::op {
namespace {

constexpr unsigned kReadEvents = POLLIN | POLLRDNORM;
constexpr unsigned kWriteEvents = POLLOUT | POLLWRNORM;

const std::shared_ptr<ControlFile>& FileOf(const fuse_file_info& fi) {
  return static_cast<ControlHandle&>(HandleOf(&fi)).file;
}

// False, and the request is still open, if there is nothing to read yet.
bool ReplyText(fuse_req_t req, const Result<std::optional<std::string>>& text) {
  if (!text.ok()) {
    ReplyError(req, text.error());
    return true;
  }
  if (!text.value().has_value()) return false;
  fuse_reply_buf(req, text.value()->data(), text.value()->size());
  return true;
}

bool AnswerRead(fuse_req_t req, ControlFile& file, size_t size, uint64_t offset_bytes) {
  return ReplyText(req, file.Read(size, offset_bytes));
}

// Called with a lock of the request held: must not answer it, only have it answered.
void OnInterrupt(fuse_req_t req, void* parked) {
  static_cast<ParkedReads*>(parked)->Interrupt(req);
}

bool IsOwner(const Filesystem& fs, uint32_t uid) { return uid == 0 || uid == fs.options.uid; }

void ParkRead(fuse_req_t req, std::shared_ptr<ControlFile> file, size_t size,
              uint64_t offset_bytes) {
  Filesystem& fs = FilesystemOf(req);
  // Before it is parked: afterwards another thread may have answered it, and it is gone.
  fuse_req_interrupt_func(req, OnInterrupt, &fs.parked);
  const bool parked = fs.parked.Park({
      .request = req,
      .of_owner = IsOwner(fs, fuse_req_ctx(req)->uid),
      .try_answer = [req, file = std::move(file), size,
                     offset_bytes] { return AnswerRead(req, *file, size, offset_bytes); },
      .abandon = [req, &fs] { fuse_reply_err(req, fs.closing ? ESHUTDOWN : EINTR); },
      .interrupted = [req] { return fuse_req_interrupted(req) != 0; },
  });
  if (!parked) fuse_reply_err(req, EAGAIN);
}

Result<Opened> OpenControlFile(Filesystem& fs, uint64_t ino, fuse_file_info fi,
                               const Caller& caller) {
  ASSIGN_OR_RETURN(auto file, fs.control.Open(ino, ForWrite(fi), caller));
  fi.direct_io = 1;  // each open file has a text of its own, which no cache may mix
#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 15)
  fi.parallel_direct_writes = 1;  // a request that waits shall not hold up another's
#endif
  const Node* const node = file->node();
  auto handle = std::make_unique<ControlHandle>(ino, std::move(file));
  handle->node = node;
  handle->limiter = fs.LimiterOf(node);
  return AddHandle(fs, std::move(handle), fi);
}

// In a pool: it may load two maps, and freeze a volume.
void OpenBelowDiff(fuse_req_t req, fuse_ino_t ino, const fuse_file_info& fi) {
  Filesystem& fs = FilesystemOf(req);
  if (fs.closing) return ReplyClosing(req);
  Serve(
      req, InPool{fs.requests, {.what = "open below control/diff"}},
      [=, &fs, caller = CallerOf(req)] {
        return IsDiffImageIno(ino) ? OpenDiffFile(fs, ino, fi)
                                   : OpenControlFile(fs, ino, fi, caller);
      },
      [req](Result<Opened> opened) {
        if (!opened.ok()) return ReplyRefusal(req, "open control/diff", opened.error());
        ReplyOpen(req, std::move(opened.value()));
      });
}

constexpr uint32_t kManyPolls = 1024;  // eight requests of io_uring

// See Filesystem::image_polls.
bool EndsPolling(Filesystem& fs, const Handle& handle) {
  if (fs.options.no_poll) return true;
  if (handle.kind == Handle::Kind::kControl) {
    fs.control_polled = true;
    return false;
  }
  if (fs.control_polled) return false;
  const uint32_t polls = ++fs.image_polls;
  if (polls == kManyPolls) {
    LogInfo(
        "images are used through io_uring: from now on the kernel polls by itself, and poll(2) "
        "says "
        "of all files that they are ready, those in control/watch too");
  }
  return polls >= kManyPolls;
}

}  // namespace

void OpenControl(fuse_req_t req, fuse_ino_t ino, fuse_file_info* fi) {
  if (IsDiffIno(ino)) return OpenBelowDiff(req, ino, *fi);
  Filesystem& fs = FilesystemOf(req);
  fs.backings.Look();
  const Caller caller = CallerOf(req);
  Serve(
      req, AtOnce{{.what = "open a control file"}},
      [&] { return OpenControlFile(fs, ino, *fi, caller); },
      [req](Result<Opened> opened) {
        if (!opened.ok()) return ReplyError(req, opened.error());
        ReplyOpen(req, std::move(opened.value()));
      });
}

void ReadControl(fuse_req_t req, size_t size, off_t offset, const fuse_file_info& fi) {
  const std::shared_ptr<ControlFile>& file = FileOf(fi);
  const auto offset_bytes = static_cast<uint64_t>(offset);
  if (const Handle& handle = HandleOf(&fi); handle.node != nullptr) {
    return Serve(
        req, OnNode{handle, "read"}, [=] { return file->Read(size, offset_bytes); },
        [req](const auto& text) { ReplyText(req, text); });
  }
  if (AnswerRead(req, *file, size, offset_bytes)) return;
  if ((fi.flags & O_NONBLOCK) != 0) {
    fuse_reply_err(req, EAGAIN);
  } else if (FilesystemOf(req).closing) {
    ReplyClosing(req);
  } else {
    ParkRead(req, file, size, offset_bytes);
  }
}

void WriteControl(fuse_req_t req, const char* data, size_t size, const fuse_file_info& fi) {
  Serve(
      req, InPool{FilesystemOf(req).requests, {.what = "write a control file"}},
      [file = FileOf(fi), text = std::string(data, size), caller = CallerOf(req)] {
        return file->Write(text, caller);
      },
      [req](const Result<size_t>& taken) {
        if (!taken.ok()) return ReplyError(req, taken.error());
        fuse_reply_write(req, taken.value());
      });
}

// A poll handle is destroyed when its poller was told, when another takes its place, or when the
// file is closed (T60). Images are always ready. ENOSYS ends polling for all files.
void Poll(fuse_req_t req, fuse_ino_t /*ino*/, fuse_file_info* fi, fuse_pollhandle* poll_handle) {
  const std::shared_ptr<fuse_pollhandle> keeper(
      poll_handle, [](fuse_pollhandle* p) { fuse_pollhandle_destroy(p); });
  Handle& handle = HandleOf(fi);
  if (EndsPolling(FilesystemOf(req), handle)) {
    fuse_reply_err(req, ENOSYS);
    return;
  }
  if (handle.kind != Handle::Kind::kControl) {
    fuse_reply_poll(req, kReadEvents | kWriteEvents);
    return;
  }
  const std::shared_ptr<ControlFile>& file = FileOf(*fi);
  if (poll_handle != nullptr) {
    FilesystemOf(req).parked.Watch(
        &handle, {.readable = [file] { return file->Readable(); },
                  .notify = [keeper] { fuse_lowlevel_notify_poll(keeper.get()); }});
  }
  fuse_reply_poll(req, kWriteEvents | (file->Readable() ? kReadEvents : 0));
}

}  // namespace volfs::op
