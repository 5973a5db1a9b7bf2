#pragma once

#include <fcntl.h>
#include <sys/stat.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace volfs {

// An open file whose calls return an errno, 0 for success; a short read or write is EIO. It cannot
// be copied, and the destructor closes it. Several threads may use it.
class TestFile {
 public:
  explicit TestFile(const std::string& path, int flags = O_RDWR, mode_t mode = 0644);
  ~TestFile();
  TestFile(const TestFile&) = delete;
  TestFile& operator=(const TestFile&) = delete;

  [[nodiscard]] int fd() const { return fd_; }
  [[nodiscard]] bool ok() const { return fd_ >= 0; }
  [[nodiscard]] int open_error() const { return open_error_; }

  // `rwf`: RWF_SYNC and its kind.
  [[nodiscard]] int WriteAt(uint64_t offset_bytes, std::span<const std::byte> bytes,
                            int rwf = 0) const;
  [[nodiscard]] int ReadAt(uint64_t offset_bytes, std::span<std::byte> bytes) const;
  [[nodiscard]] int Sync() const;
  [[nodiscard]] int Allocate(int mode, uint64_t offset_bytes, uint64_t length_bytes) const;
  // Returns the offset of the next data or hole, or nothing if there is none (ENXIO) or the call
  // fails.
  [[nodiscard]] std::optional<uint64_t> Seek(uint64_t offset_bytes, int whence) const;
  int Close();

 private:
  int fd_ = -1;
  int open_error_ = 0;
};

// Memory for O_DIRECT.
class AlignedBuffer {
 public:
  explicit AlignedBuffer(size_t size);
  ~AlignedBuffer();
  AlignedBuffer(const AlignedBuffer&) = delete;
  AlignedBuffer& operator=(const AlignedBuffer&) = delete;
  [[nodiscard]] std::span<std::byte> bytes() const { return {data_, size_}; }

 private:
  std::byte* data_;
  size_t size_;
};

// Opens the file, writes the text in one write(2) and closes it. Returns the first errno.
int WriteText(const std::string& path, const std::string& text, int flags = O_WRONLY);
// These throw std::runtime_error if they do not work.
std::string ReadText(const std::string& path);
std::vector<std::byte> ReadBytes(const std::string& path);
struct stat StatOf(const std::string& path);

bool Exists(const std::string& path);
// Returns the errno of a call that returned `result`: 0, or errno.
int ErrnoOf(long result);
std::vector<std::string> ListOf(const std::string& directory);  // sorted

// A range of a file that is data by SEEK_DATA and SEEK_HOLE.
struct DataRange {
  uint64_t offset_bytes;
  uint64_t end_bytes;
  bool operator==(const DataRange&) const = default;
};
std::vector<DataRange> DataRangesOf(const std::string& path);

}  // namespace volfs
