#include "tests/support/synchronous_calls.h"

#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/falloc.h>
#include <linux/io_uring.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <stdexcept>

#include "tests/support/mount_file.h"
#include "tests/support/sizes.h"

namespace volfs {
namespace {

constexpr uint64_t kCallBytes = kMiB;
constexpr uint64_t kCallAt = 8192;
constexpr uint64_t kCallLength = 4096;
constexpr std::byte kOld{'O'};
constexpr std::byte kNew{'N'};

std::string SourceOf(const std::string& name) { return "source-" + name; }

void Fill(const std::string& path, std::byte value) {
  const TestFile file(path, O_RDWR | O_CREAT);
  const std::vector<std::byte> bytes(kCallBytes, value);
  int error = file.open_error();
  if (error == 0) error = file.WriteAt(0, bytes);
  if (error == 0) error = file.Sync();
  if (error != 0) throw std::runtime_error("filling " + path + ": " + std::strerror(error));
}

int Ended(int64_t result, int64_t wanted) {
  if (result < 0) return static_cast<int>(-result);
  return result == wanted ? 0 : EIO;
}

int WriteByAio(int fd, std::span<std::byte> bytes, int rwf) {
  aio_context_t context = 0;
  if (::syscall(SYS_io_setup, 1, &context) != 0) return errno;
  iocb block{};
  block.aio_fildes = static_cast<uint32_t>(fd);
  block.aio_lio_opcode = IOCB_CMD_PWRITE;
  block.aio_buf = reinterpret_cast<uint64_t>(bytes.data());
  block.aio_nbytes = bytes.size();
  block.aio_offset = kCallAt;
  block.aio_rw_flags = rwf;
  iocb* blocks[] = {&block};
  io_event event{};
  if (::syscall(SYS_io_submit, context, 1, blocks) != 1) return errno;
  if (::syscall(SYS_io_getevents, context, 1, 1, &event, nullptr) != 1) return errno;
  return Ended(event.res, kCallLength);
}

// The minimum without liburing: a ring for one request, never unmapped.
int WriteByUring(int fd, std::span<std::byte> bytes, int rwf) {
  io_uring_params params{};
  const int ring = static_cast<int>(::syscall(SYS_io_uring_setup, 1, &params));
  if (ring < 0) return errno;
  const auto map = [ring](size_t size, off_t what) {
    return static_cast<std::byte*>(
        ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring, what));
  };
  std::byte* const submit = map(params.sq_off.array + sizeof(uint32_t), IORING_OFF_SQ_RING);
  std::byte* const complete =
      map(params.cq_off.cqes + params.cq_entries * sizeof(io_uring_cqe), IORING_OFF_CQ_RING);
  auto* const entry = reinterpret_cast<io_uring_sqe*>(map(sizeof(io_uring_sqe), IORING_OFF_SQES));
  entry->opcode = IORING_OP_WRITE;
  entry->fd = fd;
  entry->addr = reinterpret_cast<uint64_t>(bytes.data());
  entry->len = kCallLength;
  entry->off = kCallAt;
  entry->rw_flags = rwf;
  *reinterpret_cast<uint32_t*>(submit + params.sq_off.array) = 0;
  reinterpret_cast<std::atomic<uint32_t>*>(submit + params.sq_off.tail)->store(1);
  if (::syscall(SYS_io_uring_enter, ring, 1, 1, IORING_ENTER_GETEVENTS, nullptr, 0) != 1) {
    return errno;
  }
  return Ended(reinterpret_cast<io_uring_cqe*>(complete + params.cq_off.cqes)->res, kCallLength);
}

int ShareAll(int source, int target) {
  off_t from = 0;
  off_t to = 0;
  while (static_cast<uint64_t>(to) < kCallBytes) {
    if (::copy_file_range(source, &from, target, &to, kCallBytes, 0) <= 0) return errno;
  }
  return 0;
}

bool Holds(const std::vector<std::byte>& bytes, uint64_t offset, uint64_t length, std::byte value) {
  if (bytes.size() < offset + length) return false;
  const auto first = bytes.begin() + static_cast<ptrdiff_t>(offset);
  return std::all_of(first, first + static_cast<ptrdiff_t>(length),
                     [value](std::byte byte) { return byte == value; });
}

}  // namespace

void SynchronousCall::Prepare(const std::string& volumes) const {
  if (kind == Kind::kCreate) return;
  if (kind != Kind::kShare) return Fill(volumes + "/" + name, kOld);
  Fill(volumes + "/" + SourceOf(name), kNew);
  const TestFile target(volumes + "/" + name, O_RDWR | O_CREAT | O_EXCL);
  if (!target.ok()) throw std::runtime_error("cannot make " + name);
}

int SynchronousCall::Make(const std::string& volumes, Files& open) const {
  const std::string path = volumes + "/" + name;
  const bool appends = kind == Kind::kAppend;
  const int append_flag = appends && rwf == 0 ? O_APPEND : 0;
  const int create_flags = kind == Kind::kCreate ? O_CREAT | O_EXCL : 0;
  const int append_rwf = appends && rwf != 0 ? RWF_APPEND : 0;
  const auto opened = [&open](const std::string& file, int flags) -> const TestFile& {
    return *open.emplace_back(std::make_unique<TestFile>(file, flags));
  };
  const int fd = opened(path, O_RDWR | open_flags | append_flag | create_flags).fd();
  if (fd < 0) return open.back()->open_error();
  // One buffer for all calls, because all write the same bytes. It lives forever, because the
  // kernel may use it after an error.
  static const AlignedBuffer buffer(kCallLength);
  std::fill(buffer.bytes().begin(), buffer.bytes().end(), kNew);
  const iovec data{buffer.bytes().data(), kCallLength};
  switch (kind) {
    case Kind::kCreate:
    case Kind::kWrite:
    case Kind::kAppend:
      return ErrnoOf(::pwritev2(fd, &data, 1, appends ? kCallBytes : kCallAt, rwf | append_rwf) ==
                             kCallLength
                         ? 0
                         : -1);
    case Kind::kAio:
      return WriteByAio(fd, buffer.bytes(), rwf);
    case Kind::kUring:
      return WriteByUring(fd, buffer.bytes(), rwf);
    case Kind::kTruncate:
      return ErrnoOf(::ftruncate(fd, 2 * kCallBytes));
    case Kind::kByPath:
      return ErrnoOf(::truncate(path.c_str(), 2 * kCallBytes));
    case Kind::kAllocate:
      return ErrnoOf(::fallocate(fd, 0, kCallBytes, kCallBytes));
    case Kind::kPunch:
      return ErrnoOf(
          ::fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, kCallAt, kCallLength));
    case Kind::kZero:
      return ErrnoOf(::fallocate(fd, FALLOC_FL_ZERO_RANGE, kCallAt, kCallLength));
    case Kind::kShare:
      break;
  }
  return ShareAll(opened(volumes + "/" + SourceOf(name), O_RDONLY).fd(), fd);
}

std::string SynchronousCall::Check(const std::string& volumes) const {
  const std::vector<std::byte> bytes = ReadBytes(volumes + "/" + name);
  bool kept = false;
  switch (kind) {
    case Kind::kWrite:
    case Kind::kAio:
    case Kind::kUring:
      kept = Holds(bytes, kCallAt, kCallLength, kNew) && Holds(bytes, 0, kCallAt, kOld);
      break;
    case Kind::kCreate:
      kept = bytes.size() == kCallAt + kCallLength && Holds(bytes, kCallAt, kCallLength, kNew);
      break;
    case Kind::kAppend:
      kept =
          bytes.size() == kCallBytes + kCallLength && Holds(bytes, kCallBytes, kCallLength, kNew);
      break;
    case Kind::kTruncate:
    case Kind::kByPath:
    case Kind::kAllocate:
      kept = bytes.size() == 2 * kCallBytes && Holds(bytes, kCallBytes, kCallBytes, std::byte{0});
      break;
    case Kind::kPunch:
    case Kind::kZero:
      kept = Holds(bytes, kCallAt, kCallLength, std::byte{0});
      break;
    case Kind::kShare:
      kept = bytes.size() == kCallBytes && Holds(bytes, 0, kCallBytes, kNew);
      break;
  }
  return kept ? ""
              : name + ": acknowledged and lost (" + std::to_string(bytes.size()) + " bytes)\n";
}

// Runs in a process of its own, because the end of a ring interrupts the next calls of its process
// (EINTR of an open on FUSE).
bool HasUring() {
  const pid_t child = ::fork();
  if (child == 0) {
    io_uring_params params{};
    ::_exit(::syscall(SYS_io_uring_setup, 1, &params) >= 0 ? 0 : 1);
  }
  int status = 1;
  ::waitpid(child, &status, 0);
  return status == 0;
}

namespace {

using Kind = SynchronousCall::Kind;

struct Named {
  const char* name;
  int value;
};

std::vector<SynchronousCall> CallsOfTheMount() {
  std::vector<SynchronousCall> calls;
  for (const Named& flag : {Named{"", 0}, Named{"direct-", O_DIRECT}}) {
    for (const auto& [word, kind] :
         {std::pair{"write", Kind::kWrite}, std::pair{"append", Kind::kAppend},
          std::pair{"create", Kind::kCreate}}) {
      calls.push_back({std::string(flag.name) + word, kind, flag.value, 0});
    }
  }
  for (const auto& [word, kind] :
       {std::pair{"aio", Kind::kAio}, std::pair{"truncate", Kind::kTruncate},
        std::pair{"by-path", Kind::kByPath}, std::pair{"allocate", Kind::kAllocate},
        std::pair{"punch", Kind::kPunch}, std::pair{"zero", Kind::kZero},
        std::pair{"share", Kind::kShare}}) {
    calls.push_back({word, kind, kind == Kind::kAio ? O_DIRECT : 0, 0});
  }
  return calls;
}

}  // namespace

std::vector<SynchronousCall> SynchronousCalls(bool by_mount) {
  if (by_mount) return CallsOfTheMount();
  std::vector<SynchronousCall> calls;
  const auto add = [&](const char* word, Kind kind, const std::string& how, int flags, int rwf) {
    calls.push_back({how + "-" + word, kind, flags, rwf});
  };
  for (const Named& direct : {Named{"", 0}, Named{"direct-", O_DIRECT}}) {
    for (const auto& [word, kind] :
         {std::pair{"write", Kind::kWrite}, std::pair{"append", Kind::kAppend},
          std::pair{"create", Kind::kCreate}}) {
      const std::string how = direct.name;
      add(word, kind, how + "sync", direct.value | O_SYNC, 0);
      add(word, kind, how + "dsync", direct.value | O_DSYNC, 0);
      add(word, kind, how + "rwf-sync", direct.value, RWF_SYNC);
      add(word, kind, how + "rwf-dsync", direct.value, RWF_DSYNC);
    }
  }
  for (const auto& [word, kind] :
       {std::pair{"aio", Kind::kAio}, std::pair{"uring", Kind::kUring}}) {
    if (kind == Kind::kUring && !HasUring()) continue;
    add(word, kind, "dsync", O_DSYNC, 0);
    add(word, kind, "direct-dsync", O_DIRECT | O_DSYNC, 0);
    add(word, kind, "direct-rwf-dsync", O_DIRECT, RWF_DSYNC);
  }
  for (const auto& [word, kind] :
       {std::pair{"truncate", Kind::kTruncate}, std::pair{"allocate", Kind::kAllocate},
        std::pair{"punch", Kind::kPunch}, std::pair{"zero", Kind::kZero},
        std::pair{"share", Kind::kShare}}) {
    add(word, kind, "dsync", O_DSYNC, 0);
    add(word, kind, "direct-sync", O_DIRECT | O_SYNC, 0);
  }
  return calls;
}

}  // namespace volfs
