#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tests/support/mount_file.h"

namespace volfs {

// One way in which a program asks that a change be durable when its call returns, on a volume of
// its own: the preparation, the call, and the check after a crash. The table of ARCHITECTURE.md,
// section 3 ("Synchronous changes"), as data for tests.
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
  std::string name;  // of the volume, too
  Kind kind;
  int open_flags;  // besides O_RDWR
  int rwf;         // RWF_SYNC or RWF_DSYNC

  // It is about one: there is nothing that a snapshot could lie under.
  [[nodiscard]] bool new_volume() const { return kind == Kind::kCreate || kind == Kind::kShare; }

  // In `volumes`, the directory. Makes the volume, durably, but for the snapshot.
  // Throws std::runtime_error if that does not work, as do the others.
  void Prepare(const std::string& volumes) const;
  // Returns the errno of the call. Its descriptors stay open, in `open`, so that no close can make
  // anything durable.
  using Files = std::vector<std::unique_ptr<TestFile>>;
  int Make(const std::string& volumes, Files& open) const;
  // Tells what is wrong with the volume, or "".
  [[nodiscard]] std::string Check(const std::string& volumes) const;
};

// All of them. `by_mount`: those of a mount with the option sync instead, where nothing else asks.
std::vector<SynchronousCall> SynchronousCalls(bool by_mount);

// False where the kernel has no io_uring for us.
bool HasUring();

}  // namespace volfs
