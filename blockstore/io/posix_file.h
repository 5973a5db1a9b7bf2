#pragma once

#include <sys/types.h>

#include <atomic>
#include <cerrno>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "blockstore/base/runtime.h"
#include "blockstore/io/node_directory.h"
#include "blockstore/io/posix_descriptor.h"

namespace volfs {

// The shared part of posix_node.cc and posix_file.cc; private to them.

inline constexpr uint64_t kStatBlockBytes = 512;  // of st_blocks, always on Linux

// Repeats `call` while a signal interrupts it.
template <typename Call>
auto Retry(Call call) {
  for (;;) {
    const auto result = call();
    if (result != -1 || errno != EINTR) return result;
  }
}

// "pread layers/0123456789abcd00 on node directory /data/a: Input/output error"
Error SystemError(int os_errno, std::string_view what, std::string_view where);
// Returns the error of a call that was not made because the node does not answer.
Error NotTried(const NodeCalls& calls, std::string_view what, std::string_view where);

// The directories that a node keeps open.
struct OpenDirectories {
  Descriptor root;
  Descriptor layers;
};

// Names a file whatever its path is. Zeros: no file.
struct Identity {
  dev_t device = 0;
  ino_t inode = 0;
  friend bool operator==(const Identity&, const Identity&) = default;
};

// A name in one of the open directories, and the file that the name led to when it was opened.
struct FilePlace {
  std::shared_ptr<const OpenDirectories> directories;
  int directory = -1;
  std::string last;  // the last part of the name, in `directory`
  Identity identity;
  uint64_t size_bytes = 0;
};

// One file of a real directory. Each method makes one system call (WriteAt one for each 64 KiB)
// inside a NodeCalls::Call.
class PosixFile final : public NodeFile {
 public:
  PosixFile(Descriptor fd, FilePlace place, std::string name, std::string where,
            std::shared_ptr<NodeCalls> calls);

  Status ReadAt(std::span<std::byte> out, uint64_t offset_bytes) override;
  Status WriteAt(std::span<const std::byte> data, uint64_t offset_bytes) override;
  Status ReadOnce(std::span<std::byte> out, uint64_t offset_bytes) override;
  Status WriteOnce(std::span<const std::byte> data, uint64_t offset_bytes) override;
  Status WaitWritten(const ByteRange& range) override;
  void DropWritten(const ByteRange& range) override;
  Result<bool> ShareFrom(NodeFile& source, const ByteRange& range) override;
  Result<bool> CloneFrom(NodeFile& source) override;
  Status SyncData() override;
  Status CheckNamed() override;
  Status Punch(const ByteRange& range) override;
  Status SetSize(uint64_t size_bytes) override;
  Result<uint64_t> Size() override;
  Result<State> Stat() override;
  Result<uint64_t> AllocatedBytes() override;
  Result<std::optional<ByteRange>> NextData(uint64_t offset_bytes) override;
  Result<std::optional<uint64_t>> FirstData(uint64_t offset_bytes) override;
  void DropCache(const ByteRange& range) override;
  Descriptor Duplicate() override;
  bool WrittenElsewhere() override;

 private:
  [[nodiscard]] Error Failed(std::string_view call) const;
  [[nodiscard]] Error FailedAt(std::string_view call, uint64_t offset_bytes) const;
  Status WriteZeros(const ByteRange& range);
  [[nodiscard]] bool InManyPieces() const;
  Result<bool> Share(const PosixFile& source, const ByteRange& range);
  Status Read(std::span<std::byte> out, uint64_t offset_bytes, int flags);
  Status Write(std::span<const std::byte> data, uint64_t offset_bytes, int flags);

  Status CheckStillNamed();
  // Returns kCorrupt if the file has become shorter without SetSize. Cost: one fstat(2).
  Status CheckSize() VOLFS_EXCLUDES(size_mu_);
  Status CheckSizeLocked(uint64_t min_bytes) VOLFS_REQUIRES(size_mu_);
  // The same. Asks nothing if the file need not have this byte; then the cost is one load.
  Status CheckHasByte(uint64_t offset_bytes) VOLFS_EXCLUDES(size_mu_);
  [[nodiscard]] Error Shortened(uint64_t size_bytes) const;
  // Returns that no data follows. kCorrupt if that is so because the file was cut.
  Result<std::optional<uint64_t>> NoMoreData(uint64_t offset_bytes) VOLFS_EXCLUDES(size_mu_);

  Mutex size_mu_;  // held by SetSize, in which the file and min_bytes_ do not agree
  // The file is not shorter than this: its size when it was opened or asked for, or when SetSize
  // returned.
  std::atomic<uint64_t> min_bytes_;
  std::atomic<int> once_flags_;  // of ReadOnce and WriteOnce, as far as the filesystem can
  const Descriptor fd_;
  const FilePlace place_;
  const std::string name_;
  const std::string where_;
  const std::shared_ptr<NodeCalls> calls_;  // the directory's
};

}  // namespace volfs
