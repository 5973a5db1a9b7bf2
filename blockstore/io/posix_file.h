#pragma once

#include <atomic>
#include <cerrno>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

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

// One file of a real directory. Each method makes one system call (WriteAt one for each 64 KiB)
// inside a NodeCalls::Call.
class PosixFile final : public NodeFile {
 public:
  PosixFile(Descriptor fd, std::string name, std::string where, std::shared_ptr<NodeCalls> calls);

  Status ReadAt(std::span<std::byte> out, uint64_t offset_bytes) override;
  Status WriteAt(std::span<const std::byte> data, uint64_t offset_bytes) override;
  Status ReadOnce(std::span<std::byte> out, uint64_t offset_bytes) override;
  Status WriteOnce(std::span<const std::byte> data, uint64_t offset_bytes) override;
  Status WaitWritten(const ByteRange& range) override;
  void DropWritten(const ByteRange& range) override;
  Result<bool> ShareFrom(NodeFile& source, const ByteRange& range) override;
  Result<bool> CloneFrom(NodeFile& source) override;
  Status SyncData() override;
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

  std::atomic<int> once_flags_;  // of ReadOnce and WriteOnce, as far as the filesystem can
  const Descriptor fd_;
  const std::string name_;
  const std::string where_;
  const std::shared_ptr<NodeCalls> calls_;  // the directory's
};

}  // namespace volfs
