#include "fusefs/mount/session.h"

#include <fuse3/fuse_lowlevel.h>
#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <array>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <new>
#include <string_view>

#include "blockstore/base/log.h"
#include "blockstore/base/memory.h"
#include "blockstore/base/str_cat.h"
#include "fusefs/ops/operations.h"
#include "fusefs/serve/reply.h"

namespace volfs {
namespace {

constexpr uint32_t kMaxRequestBytes = 1U << 20;
// Read-ahead and asynchronous direct I/O in flight, of all images: where it is reached the kernel
// keeps back that of every image, so one that hangs must not reach it alone.
constexpr uint32_t kMaxBackground = 256;
constexpr uint32_t kCongestion = 192;
// Threads that wait for requests; more come when these are at work, and end after it. The kernel
// wakes the one that has slept longest, so with many of them none finds its caches warm: 8 instead
// of 64 made 4 KiB direct I/O at depth 32 on tmpfs, 2 cores, 1.15 times as fast (medians of 5).
constexpr unsigned kIdleThreads = 8;
constexpr Nanoseconds kKickPause = std::chrono::milliseconds(20);
constexpr Nanoseconds kMemoryPause = std::chrono::milliseconds(50);

// --- messages of libfuse -------------------------------------------------------------------------

Mutex last_words_mu;
std::string last_words VOLFS_GUARDED_BY(last_words_mu);  // its last message, without the newline

// libfuse is C: no exception may pass it. Its message that memory lacks may be lost for want of it.
void OnFuseLog(fuse_log_level level, const char* format, va_list arguments) try {
  const AllocationScope scope(Allocations::kFail);
  std::array<char, 512> text;
  std::vsnprintf(text.data(), text.size(), format, arguments);
  std::string line = text.data();
  while (!line.empty() && line.back() == '\n') line.pop_back();
  if (line.empty()) return;
  if (level <= FUSE_LOG_WARNING) LogWarning(StrCat("libfuse: ", line));
  MutexLock lock(last_words_mu);
  last_words = std::move(line);
} catch (const std::bad_alloc&) {  // NOLINT: as said
}

std::string LastWords() {
  MutexLock lock(last_words_mu);
  return last_words;
}

// --- init ----------------------------------------------------------------------------------------

void Want(fuse_conn_info* conn, uint64_t flag) {
#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 17)
  if ((conn->capable_ext & flag) != 0) fuse_set_feature_flag(conn, flag);
#else
  conn->want |= conn->capable & static_cast<unsigned>(flag);
#endif
}

void DoNotWant(fuse_conn_info* conn, uint64_t flag) {
#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 17)
  fuse_unset_feature_flag(conn, flag);
#else
  conn->want &= ~static_cast<unsigned>(flag);
#endif
}

void OnInit(void* userdata, fuse_conn_info* conn) {
  const AllocationScope scope(Allocations::kWait);
  Want(conn, FUSE_CAP_ASYNC_READ);
  Want(conn, FUSE_CAP_ASYNC_DIO);
  Want(conn, FUSE_CAP_PARALLEL_DIROPS);
#ifdef FUSE_CAP_HANDLE_KILLPRIV_V2
  // No mode here has setuid or setgid bits, so there are none to be taken away by a write; without
  // this the kernel asks for an xattr before each.
  Want(conn, FUSE_CAP_HANDLE_KILLPRIV_V2);
#endif
#ifdef FUSE_CAP_DIRECT_IO_ALLOW_MMAP
  Want(conn, FUSE_CAP_DIRECT_IO_ALLOW_MMAP);
#endif
  // The kernel would keep writes to itself: a clone would miss them, and lseek would lie (T49).
  DoNotWant(conn, FUSE_CAP_WRITEBACK_CACHE);
  // We tell the kernel ourselves when contents change (invalidator.h).
  DoNotWant(conn, FUSE_CAP_AUTO_INVAL_DATA);
  // atomic_o_trunc: with it the kernel takes every file that was opened with O_TRUNC for empty; a
  // request file would then have one writer at a time, as its size says what may be written side by
  // side. Without it a truncation is a SetAttr, which answers with the true size or refuses.
  DoNotWant(conn, FUSE_CAP_ATOMIC_O_TRUNC);
  // Splicing saves no copy here and costs system calls.
  DoNotWant(conn, FUSE_CAP_SPLICE_READ);
  DoNotWant(conn, FUSE_CAP_SPLICE_WRITE);
  DoNotWant(conn, FUSE_CAP_SPLICE_MOVE);
  conn->max_write = kMaxRequestBytes;
  conn->max_background = kMaxBackground;
  conn->congestion_threshold = kCongestion;
  conn->time_gran = 1;
  auto& fs = *static_cast<Filesystem*>(userdata);
#ifdef FUSE_CAP_PASSTHROUGH
  Want(conn, FUSE_CAP_PASSTHROUGH);
  // The kernel's own writes have the flags of the open, which know nothing of a synchronous mount.
  const bool serves = (conn->capable_ext & FUSE_CAP_PASSTHROUGH) != 0 && !fs.options.synchronous;
  if (serves) fs.backings.Enable();
#endif
  if (fs.on_ready) fs.on_ready();
}

// --- the edge ------------------------------------------------------------------------------------

// Where a request meets a lack of memory (memory.h): before it begins, or not at all. An exception
// must not pass libfuse, which is C, nor a Watchdog::Guard, which would not know who answers.
template <auto Operation>
struct WaitsForMemory;
template <typename... Arguments, void (*Operation)(fuse_req_t, Arguments...)>
struct WaitsForMemory<Operation> {
  static void Run(fuse_req_t req, Arguments... arguments) {
    const AllocationScope scope(Allocations::kWait);
    Operation(req, arguments...);
  }
};

template <auto Operation>
struct AsksForMemory;
template <typename... Arguments, void (*Operation)(fuse_req_t, Arguments...)>
struct AsksForMemory<Operation> {
  static void Run(fuse_req_t req, Arguments... arguments) {
    const AllocationScope scope(Allocations::kWait);
    if (!MemoryToSpare()) return ReplyError(req, NoMemory());
    Operation(req, arguments...);
  }
};

fuse_lowlevel_ops Operations() {
  fuse_lowlevel_ops ops{};
  ops.init = OnInit;
  ops.lookup = AsksForMemory<op::Lookup>::Run;
  ops.forget = WaitsForMemory<op::Forget>::Run;
  ops.forget_multi = WaitsForMemory<op::ForgetMulti>::Run;
  ops.statfs = AsksForMemory<op::StatFs>::Run;
  ops.getattr = AsksForMemory<op::GetAttr>::Run;
  ops.setattr = AsksForMemory<op::SetAttr>::Run;
  ops.setxattr = op::SetXattr;
  ops.getxattr = AsksForMemory<op::GetXattr>::Run;
  ops.listxattr = AsksForMemory<op::ListXattr>::Run;
  ops.removexattr = op::RemoveXattr;
  ops.opendir = AsksForMemory<op::OpenDir>::Run;
  ops.readdir = AsksForMemory<op::ReadDir>::Run;
  ops.releasedir = WaitsForMemory<op::ReleaseDir>::Run;
  ops.fsyncdir = AsksForMemory<op::FsyncDir>::Run;
  ops.create = AsksForMemory<op::Create>::Run;
  ops.mknod = AsksForMemory<op::Mknod>::Run;
  ops.mkdir = op::Mkdir;
  ops.symlink = op::Symlink;
  ops.link = op::Link;
  ops.unlink = AsksForMemory<op::Unlink>::Run;
  ops.rmdir = AsksForMemory<op::Rmdir>::Run;
  ops.rename = AsksForMemory<op::Rename>::Run;
  ops.open = AsksForMemory<op::Open>::Run;
  ops.release = WaitsForMemory<op::Release>::Run;
  ops.read = WaitsForMemory<op::Read>::Run;
  ops.write = WaitsForMemory<op::Write>::Run;
  ops.flush = WaitsForMemory<op::Flush>::Run;
  ops.fsync = WaitsForMemory<op::Fsync>::Run;
  ops.fallocate = WaitsForMemory<op::Fallocate>::Run;
  ops.lseek = WaitsForMemory<op::Lseek>::Run;
  ops.copy_file_range = AsksForMemory<op::CopyFileRange>::Run;
  ops.poll = WaitsForMemory<op::Poll>::Run;
  return ops;
}

// --- mounting ------------------------------------------------------------------------------------

// libfuse cuts options at commas, and takes a backslash for the escape of one.
std::string Escaped(std::string_view value) {
  std::string out;
  for (const char c : value) {
    if (c == ',' || c == '\\') out += '\\';
    out += c;
  }
  return out;
}

std::string MountOptionText(const SessionOptions& options) {
  std::string text =
      StrCat("default_permissions,fsname=", Escaped(options.source), ",subtype=volfs,nosuid,nodev");
  if (options.allow_other) text += ",allow_other";
  if (options.read_only) text += ",ro";
  if (options.synchronous) text += ",sync";
  for (const std::string& option : options.kernel) text += "," + option;
  return text;
}

fuse_session* NewSession(Filesystem& fs, const SessionOptions& options) {
  const fuse_lowlevel_ops ops = Operations();
  fuse_args args = FUSE_ARGS_INIT(0, nullptr);
  const bool ok = fuse_opt_add_arg(&args, "volfs") == 0 && fuse_opt_add_arg(&args, "-o") == 0 &&
                  fuse_opt_add_arg(&args, MountOptionText(options).c_str()) == 0;
  fuse_session* session = ok ? fuse_session_new(&args, &ops, sizeof ops, &fs) : nullptr;
  fuse_opt_free_args(&args);
  return session;
}

void OnKick(int /*signal*/) {}

}  // namespace

Result<std::unique_ptr<Session>> Session::Mount(Filesystem& fs, const SessionOptions& options) {
  fuse_set_log_func(OnFuseLog);
  fuse_session* const raw = NewSession(fs, options);
  if (raw == nullptr) {
    return Error{Errc::kInvalid, StrCat("cannot make a FUSE session: ", LastWords())};
  }
  if (fuse_session_mount(raw, options.mountpoint.c_str()) != 0) {
    fuse_session_destroy(raw);
    return Error{Errc::kIo, StrCat("cannot mount on ", options.mountpoint, ": ", LastWords(),
                                   "; `volfs doctor` looks for the cause")};
  }
  fs.backings.SetDevice(fuse_session_fd(raw));
  return std::unique_ptr<Session>(new Session(raw, options.max_threads));
}

Session::~Session() {
  fuse_session_unmount(session_);
  fuse_session_destroy(session_);
}

Status Session::Serve() {
  struct sigaction kick {};
  kick.sa_handler = OnKick;  // no SA_RESTART: it shall interrupt libfuse's waiting
  sigaction(SIGUSR2, &kick, nullptr);
  fuse_loop_config* const config = fuse_loop_cfg_create();
  if (config == nullptr) return NoMemory();
  fuse_loop_cfg_set_clone_fd(config, 1);
  const auto threads = static_cast<unsigned>(max_threads_);
  fuse_loop_cfg_set_max_threads(config, threads);
  fuse_loop_cfg_set_idle_threads(config, kIdleThreads);
  serving_thread_ = pthread_self();
  serving_ = true;
  int result = fuse_session_loop_mt(session_, config);
  // One thread of the loop that had no memory for its buffer has ended it for all. Nothing that the
  // kernel had sent was lost.
  while (result == -ENOMEM && !broken_off_) {
    LogWarning("no memory for a buffer of requests; going on with fewer threads");
    SleepFor(kMemoryPause);
    fuse_session_reset(session_);
    result = fuse_session_loop_mt(session_, config);
  }
  serving_ = false;
  fuse_loop_cfg_destroy(config);
  if (result >= 0) return OkStatus();
  // -1 is no errno: a thread was not to be had, and libfuse has said so.
  const std::string why = result == -1 ? LastWords() : std::strerror(-result);
  return Error{Errc::kIo, StrCat("the FUSE session ended: ", why), -result};
}

bool Session::Over() const { return fuse_session_exited(session_) != 0; }

// The loop looks at its flag when something wakes it up: a signal. One that comes just before it
// falls asleep is lost, so it gets another.
void Session::BreakOff() {
  broken_off_ = true;
  fuse_session_exit(session_);
  while (serving_) {
    pthread_kill(serving_thread_, SIGUSR2);
    SleepFor(kKickPause);
  }
}

}  // namespace volfs
