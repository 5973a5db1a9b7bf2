#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tests/support/mount_file.h"

namespace volfs {

// One way in which a program asks that a change be durable when its call returns, on a volume of
// its own: the preparation, the call, and the check after a crash. Together they are the table of
// ARCHITECTURE.md, section 3 ("Synchronous changes"), as data for tests.
struct SynchronousCall {
  enum class Kind : uint8_t {
    kWrite,     // pwritev2 in the middle
    kCreate,    // pwritev2 to a volume that its descriptor makes
    kAppend,    // at the end; O_APPEND, or RWF_APPEND where RWF_SYNC or RWF_DSYNC is used
    kAio,       // io_submit in the middle
    kUring,     // io_uring in the middle
    kTruncate,  // ftruncate to twice the size
    kByPath,    // truncate likewise
    kAllocate,  // fallocate past the end
    kPunch,     // fallocate, a hole
    kZero,      // fallocate, zeros
    kShare,     // copy_file_range to a new volume
  };
  std::string name;  // also of the volume
  Kind kind;
  int open_flags;  // besides O_RDWR
  int rwf;         // RWF_SYNC or RWF_DSYNC

  // Returns whether the call makes the volume: then no snapshot can lie under it.
  [[nodiscard]] bool new_volume() const { return kind == Kind::kCreate || kind == Kind::kShare; }

  // Makes the volume in the directory `volumes`, durably, except for the snapshot. Like the other
  // methods, throws std::runtime_error if that does not work.
  void Prepare(const std::string& volumes) const;
  // Returns the errno of the call. Its descriptors stay open, in `open`, so that no close can make
  // anything durable.
  using Files = std::vector<std::unique_ptr<TestFile>>;
  int Make(const std::string& volumes, Files& open) const;
  // Returns the fault of the volume, or "".
  [[nodiscard]] std::string Check(const std::string& volumes) const;
};

// Returns all of them. `by_mount`: those on a mount with the option sync, without any other request
// for durability.
std::vector<SynchronousCall> SynchronousCalls(bool by_mount);

// Returns false where the kernel denies io_uring.
bool HasUring();

}  // namespace volfs
