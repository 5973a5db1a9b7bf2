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

// The node directory: one of the two seams through which blockstore touches the world (the other is
// runtime.h). Every open, read, write, sync, punch and unlink on a node goes through it, so that a
// test can put a simulated disk, or a RADOS pool, in its place.
//
// Names are relative to the node's directory, of the form "layers/0123456789abcd00"; they never
// hold what a user typed. Errors: kNotFound, kExists, kNoSpace, kQuota, kReadOnly, kIo, and
// kCorrupt if a name turns out to be something other than a plain file with one link; every message
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

  // Fills `out` from `offset_bytes`; what lies past the end of the file reads as zeros.
  virtual Status ReadAt(std::span<std::byte> out, uint64_t offset_bytes) = 0;

  // Writes all of `data` or returns an error (then any part of it may have been written).
  // Durable after the next successful SyncData, not before.
  virtual Status WriteAt(std::span<const std::byte> data, uint64_t offset_bytes) = 0;

  // The same for who copies and does not come back: where the kernel can (Linux 6.14), the page
  // cache keeps what it had and gets nothing new, and what was written goes out at once.
  virtual Status ReadOnce(std::span<std::byte> out, uint64_t offset_bytes) {
    return ReadAt(out, offset_bytes);
  }
  virtual Status WriteOnce(std::span<const std::byte> data, uint64_t offset_bytes) {
    return WriteAt(data, offset_bytes);
  }
  // Returns when what was written of the range has gone to the disk: it has nothing of that to do
  // any more. Not durable, as the disk's own cache is not flushed. An error is one of SyncData,
  // which need not tell it again.
  virtual Status WaitWritten(const ByteRange& range) = 0;
  // Where the kernel cannot: drops what WriteOnce has left in the page cache, as DropCache does.
  virtual void DropWritten(const ByteRange& range) = 0;

  // The range becomes what `source` has there, by sharing its blocks: nothing is read or written.
  // False, and nothing has changed, if the filesystem does not share these; then copy. Durable as
  // after WriteAt.
  virtual Result<bool> ShareFrom(NodeFile& source, const ByteRange& range) = 0;

  // The file becomes all that `source` is at one instant, whoever writes that meanwhile, by sharing
  // its blocks. False, and nothing has changed, if the filesystem cannot, or if it would hold up
  // the writers for long, as `source` is in too many pieces. Durable as after WriteAt.
  virtual Result<bool> CloneFrom(NodeFile& /*source*/) { return false; }

  // Makes all that was written, punched and truncated before the call durable; not the name. An
  // error, too, if the file has no name any more: nobody will ever find what was written to it.
  // After an error what was written since the last success is of unknown state, for ever: the
  // caller must never report it as durable, whatever later calls return.
  virtual Status SyncData() = 0;

  // The range reads as zeros and its space is free as far as the backing filesystem can; where it
  // cannot punch, zeros are written. It may reach past the end, and should, to the end of the
  // block, or the last block keeps its space. The size does not change.
  virtual Status Punch(const ByteRange& range) = 0;

  virtual Status SetSize(uint64_t size_bytes) = 0;
  virtual Result<uint64_t> Size() = 0;
  // What the kernel changes when it serves the file itself.
  struct State {
    uint64_t size_bytes = 0;
    int64_t mtime_ns = 0;  // since 1970; 0: not known
  };
  virtual Result<State> Stat();
  virtual Result<uint64_t> AllocatedBytes() = 0;  // what the file takes on the backing filesystem

  // The first range of data at or after `offset_bytes` as the backing filesystem reports it;
  // nothing if only holes follow. It may call holes data, never data a hole.
  // Cost: to tell where it ends the host may walk all of it, so a walk uses a DataCursor.
  virtual Result<std::optional<ByteRange>> NextData(uint64_t offset_bytes) = 0;

  // Where that begins, for a caller that needs no more: the host walks nothing.
  virtual Result<std::optional<uint64_t>> FirstData(uint64_t offset_bytes);

  // Starts the write-out of the range and drops its clean pages: so that a background copy does not
  // push other people's data out of the page cache; and so that after a mount that may have ended
  // with a failed sync nobody reads pages that are clean, but never reached the disk.
  virtual void DropCache(const ByteRange& range) = 0;

  // A descriptor of its own, for the kernel to serve the file's readers and writers without us
  // (FUSE passthrough); none where there is no file that the kernel knows.
  virtual Descriptor Duplicate() { return Descriptor(); }
  // Has anybody the file open for writing, whatever process it is? Of a file that was opened with
  // kReadOnly and that this process has not open otherwise. False where that cannot be told.
  virtual bool WrittenElsewhere() { return false; }
};

inline Result<std::optional<uint64_t>> NodeFile::FirstData(uint64_t offset_bytes) {
  Result<std::optional<ByteRange>> data = NextData(offset_bytes);
  if (!data.ok()) return data.error();
  return data.value() ? std::optional(data.value()->offset_bytes) : std::nullopt;
}

struct SpaceInfo {
  uint64_t size_bytes = 0;
  uint64_t free_bytes = 0;  // what an ordinary user may still allocate
  bool read_only = false;   // the filesystem takes no write
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

  // kCreateNew fails with kExists; the name is durable after SyncNames.
  virtual Result<std::unique_ptr<NodeFile>> Open(const std::string& name, OpenMode mode) = 0;
  virtual Status Remove(const std::string& name) = 0;  // kNotFound if it is not there
  virtual Status SyncNames() = 0;  // makes creations and removals of files in layers/ durable
  virtual Result<std::vector<std::string>> ListLayers() = 0;  // names below layers/, no order
  virtual Result<SpaceInfo> Space() = 0;
  // Names the filesystem whose room Space() is: directories with the same answer take from one
  // room.
  // "" where that is not known, as of a simulated disk: then it is a room of its own.
  [[nodiscard]] virtual std::string FilesystemName() const { return ""; }
  // What the file takes on the backing filesystem; it need not be open, and is not opened.
  virtual Result<uint64_t> AllocatedBytes(const std::string& name) = 0;

  // Is this directory still the node that was opened? kIo says why it is not: its directory, or a
  // file that everything depends on, was removed, replaced or moved away, or its filesystem is
  // gone. What is written then may reach nobody, although every call succeeds. The first call
  // remembers what there is; ok where it cannot be told. Cost: five stat(2) calls, some 2 us.
  virtual Status CheckPresent() = 0;

  // Returns a number that changes while the disk or the server under the node is at work, so that a
  // call that takes its time can be told from one that hangs. May hang itself: where no disk is
  // known, the answer of the filesystem to a question is the work that is counted.
  virtual uint64_t Pulse() { return ++pulses_; }

  // Where SQLite finds this node's catalog: a path for, and the name of, one of its VFSes.
  virtual std::string catalog_path() const = 0;
  virtual const char* sqlite_vfs() const = 0;  // null: SQLite's own default

  // What people call this directory in messages.
  virtual const std::string& display_path() const = 0;

  // True: every change is refused (read_only_node.h).
  virtual bool read_only() const { return false; }

  // The calls that are at work on it: those of the files and of the catalog. While they are
  // hung(), reads and writes are refused with kIo; everything else waits, as who makes something
  // durable, or frees it, must know the truth. While they are slow(), Space is what it last was.
  // shared_ptr: who looks at them must not keep the directory, nor be kept by it.
  [[nodiscard]] const std::shared_ptr<NodeCalls>& calls() const { return calls_; }

 protected:
  // For a directory that forwards to another one and shares its NodeCalls.
  explicit NodeDirectory(std::shared_ptr<NodeCalls> calls) : calls_(std::move(calls)) {}

 private:
  const std::shared_ptr<NodeCalls> calls_ = std::make_shared<NodeCalls>();
  std::atomic<uint64_t> pulses_{0};
};

}  // namespace volfs
