#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "blockstore/base/error.h"
#include "blockstore/io/node_calls.h"
#include "blockstore/io/posix_descriptor.h"

namespace volfs {

// The node directory is one of the two seams through which blockstore touches the world (the other
// is runtime.h). Every open, read, write, sync, punch and unlink on a node goes through it, so that
// a test can put a simulated disk, or a RADOS pool, in its place.
//
// Names are relative to the node's directory, of the form "layers/0123456789abcd00". No text that a
// user typed is part of them. Errors: kNotFound, kExists, kNoSpace, kQuota, kReadOnly, kIo, and
// kCorrupt if a name turns out to be something other than a plain file with one link. Every message
// names the file.

struct ByteRange {
  uint64_t offset_bytes = 0;
  uint64_t length_bytes = 0;
  [[nodiscard]] uint64_t end() const { return offset_bytes + length_bytes; }
};

// One open file. All methods from any thread; concurrent writes to disjoint ranges are independent.
class NodeFile {
 public:
  virtual ~NodeFile() = default;

  // Fills `out` from `offset_bytes`. Bytes past the end of the file read as zeros. kCorrupt if the
  // file has become shorter without SetSize.
  virtual Status ReadAt(std::span<std::byte> out, uint64_t offset_bytes) = 0;

  // Writes all of `data` or returns an error, after which any part may have been written. Durable
  // after the next successful SyncData, not before.
  virtual Status WriteAt(std::span<const std::byte> data, uint64_t offset_bytes) = 0;

  // As ReadAt and WriteAt, for a copy that uses each byte once. Where the kernel can (Linux 6.14),
  // the page cache keeps its pages and gets no new ones, and the written bytes go out at once.
  virtual Status ReadOnce(std::span<std::byte> out, uint64_t offset_bytes) {
    return ReadAt(out, offset_bytes);
  }
  virtual Status WriteOnce(std::span<const std::byte> data, uint64_t offset_bytes) {
    return WriteAt(data, offset_bytes);
  }
  // Waits until all written bytes of the range have gone to the disk. They are not durable, as the
  // disk's own cache is not flushed. An error counts as one of SyncData, which need not report it
  // again.
  virtual Status WaitWritten(const ByteRange& range) = 0;
  // Drops the pages that WriteOnce has left in the page cache where the kernel cannot avoid them,
  // as DropCache does.
  virtual void DropWritten(const ByteRange& range) = 0;

  // Gives the range the content that it has in `source` by sharing the blocks: nothing is read or
  // written. Returns false, with nothing changed, if the filesystem does not share these; the
  // caller then copies. Durable as after WriteAt.
  virtual Result<bool> ShareFrom(NodeFile& source, const ByteRange& range) = 0;

  // Gives the file the content of all of `source` at one instant, also while others write that, by
  // sharing the blocks. Returns false, with nothing changed, if the filesystem cannot, or if
  // `source` is in so many pieces that its writers would be delayed for long. kCorrupt if `source`
  // has become shorter without SetSize. Durable as after WriteAt.
  virtual Result<bool> CloneFrom(NodeFile& /*source*/) { return false; }

  // Makes every write, punch and truncation before the call durable, but not the name. Fails, too,
  // if CheckNamed fails, as what was written could never be found again. After an error all that
  // was written since the last success is of unknown state, for ever. The caller must never report
  // it as durable, whatever later calls return.
  virtual Status SyncData() = 0;

  // Returns kIo if the name does not lead to this file any more (it was removed, moved away or
  // replaced), kCorrupt if the file has become shorter without SetSize. Cost: one stat(2).
  virtual Status CheckNamed() { return OkStatus(); }

  // Makes the range read as zeros and frees its space as far as the backing filesystem can; where
  // it cannot punch, zeros are written. The range may reach past the end, and should reach to the
  // end of the block, or the last block keeps its space. The size does not change.
  virtual Status Punch(const ByteRange& range) = 0;

  // kCorrupt, with nothing changed, if the file has become shorter without SetSize and would get
  // zeros for lost bytes.
  virtual Status SetSize(uint64_t size_bytes) = 0;
  virtual Result<uint64_t> Size() = 0;
  // The attributes that the kernel changes when it serves the file itself. kCorrupt as CheckNamed.
  struct State {
    uint64_t size_bytes = 0;
    int64_t mtime_ns = 0;  // since 1970; 0: not known
  };
  virtual Result<State> Stat();
  virtual Result<uint64_t> AllocatedBytes() = 0;  // as the backing filesystem counts them

  // Returns the first range of data at or after `offset_bytes` as the backing filesystem reports
  // it, or nothing if only holes follow. It may call holes data, never data a hole, and bytes that
  // were cut off (CheckNamed) are an error and no hole. Cost: to tell where the range ends the host
  // may walk all of it, so a walk uses a DataCursor.
  virtual Result<std::optional<ByteRange>> NextData(uint64_t offset_bytes) = 0;

  // Returns where that range begins, for a caller that needs no more. The host walks nothing.
  virtual Result<std::optional<uint64_t>> FirstData(uint64_t offset_bytes);

  // Starts the write-out of the range and drops its clean pages. A background copy uses it so as
  // not to push other data out of the page cache. A mount after one that may have ended with a
  // failed sync uses it so as not to read pages that are clean, but never reached the disk.
  virtual void DropCache(const ByteRange& range) = 0;

  // Returns a descriptor with which the kernel serves the file's readers and writers by itself
  // (FUSE passthrough). None where there is no file that the kernel knows.
  virtual Descriptor Duplicate() { return Descriptor(); }
  // Returns whether any process has the file open for writing. Requires: the file was opened with
  // kReadOnly and this process has no other descriptor of it. False where that cannot be told.
  virtual bool WrittenElsewhere() { return false; }
};

inline Result<std::optional<uint64_t>> NodeFile::FirstData(uint64_t offset_bytes) {
  Result<std::optional<ByteRange>> data = NextData(offset_bytes);
  if (!data.ok()) return data.error();
  return data.value() ? std::optional(data.value()->offset_bytes) : std::nullopt;
}

struct SpaceInfo {
  uint64_t size_bytes = 0;
  uint64_t free_bytes = 0;  // as an ordinary user may allocate
  bool read_only = false;   // the filesystem refuses writes
};

inline Result<NodeFile::State> NodeFile::Stat() {
  Result<uint64_t> size = Size();
  if (!size.ok()) return size.error();
  return State{size.value(), 0};
}

enum class OpenMode { kCreateNew, kReadWrite, kReadOnly };

// How the caller is going to use a node that it opens.
enum class NodeAccess { kReadWrite, kReadOnly };

class NodeDirectory {
 public:
  NodeDirectory() = default;
  virtual ~NodeDirectory() = default;

  // Fails with kExists for kCreateNew. The name is durable after SyncNames.
  virtual Result<std::unique_ptr<NodeFile>> Open(const std::string& name, OpenMode mode) = 0;
  virtual Status Remove(const std::string& name) = 0;  // kNotFound if there is none
  virtual Status SyncNames() = 0;  // makes creations and removals of files in layers/ durable
  virtual Result<std::vector<std::string>> ListLayers() = 0;  // names below layers/, no order
  virtual Result<SpaceInfo> Space() = 0;
  // Names the filesystem whose room Space() reports. Directories with the same answer share that
  // room. An empty name means that it is not known, as for a simulated disk, and counts as a room
  // of its own.
  [[nodiscard]] virtual std::string FilesystemName() const { return ""; }
  // Returns the bytes that the file allocates on the backing filesystem, without opening it.
  virtual Result<uint64_t> AllocatedBytes(const std::string& name) = 0;

  // Checks that this directory is still the node that was opened. kIo says why it is not: its
  // directory, or a file that everything depends on, was removed, replaced or moved away, or its
  // filesystem is gone. Writes are then lost although every call succeeds. The first call remembers
  // which files there are. Returns ok where it cannot be told. Cost: five stat(2) calls, some 2 us.
  virtual Status CheckPresent() = 0;

  // Returns whether CheckNamed of its files can find anything.
  [[nodiscard]] virtual bool ChecksNames() const { return false; }

  // Returns a number that changes while the disk or the server under the node is at work, so that a
  // call that takes its time can be told from one that hangs. May hang itself: where no disk is
  // known, the answer of the filesystem to a question is the work that is counted.
  virtual uint64_t Pulse() { return ++pulses_; }

  // Return the path of this node's catalog for SQLite, and the name of the VFS to open it with.
  virtual std::string catalog_path() const = 0;
  virtual const char* sqlite_vfs() const = 0;  // null: SQLite's own default

  // Returns the name of this directory for messages.
  virtual const std::string& display_path() const = 0;

  // Returns whether every change is refused (read_only_node.h).
  virtual bool read_only() const { return false; }

  // The calls at work on the node: those of its files and of its catalog. While they are hung(),
  // reads and writes are refused with kIo. Everything else waits, as a caller that makes something
  // durable, or frees it, must know the result. While they are slow(), Space returns its last
  // answer. A shared_ptr: an observer of the calls must neither keep the directory nor be kept by
  // it.
  [[nodiscard]] const std::shared_ptr<NodeCalls>& calls() const { return calls_; }

 protected:
  // For a directory that forwards to another one and shares its NodeCalls.
  explicit NodeDirectory(std::shared_ptr<NodeCalls> calls) : calls_(std::move(calls)) {}

 private:
  const std::shared_ptr<NodeCalls> calls_ = std::make_shared<NodeCalls>();
  std::atomic<uint64_t> pulses_{0};
};

}  // namespace volfs
