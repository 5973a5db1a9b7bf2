#include "tests/support/mount_file.h"

#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <new>
#include <stdexcept>

namespace volfs {
namespace {

constexpr std::align_val_t kPage{4096};

int Outcome(ssize_t done, size_t wanted) {
  if (done < 0) return errno;
  return static_cast<size_t>(done) == wanted ? 0 : EIO;
}

[[noreturn]] void Fail(const std::string& path, int os_errno) {
  throw std::runtime_error(path + ": " + std::strerror(os_errno));
}

}  // namespace

TestFile::TestFile(const std::string& path, int flags, mode_t mode)
    : fd_(::open(path.c_str(), flags | O_CLOEXEC, mode)) {
  if (fd_ < 0) open_error_ = errno;
}

TestFile::~TestFile() { (void)Close(); }

int TestFile::WriteAt(uint64_t offset_bytes, std::span<const std::byte> bytes, int rwf) const {
  const iovec data{const_cast<std::byte*>(bytes.data()), bytes.size()};
  return Outcome(::pwritev2(fd_, &data, 1, static_cast<off_t>(offset_bytes), rwf), bytes.size());
}

int TestFile::ReadAt(uint64_t offset_bytes, std::span<std::byte> bytes) const {
  return Outcome(::pread(fd_, bytes.data(), bytes.size(), static_cast<off_t>(offset_bytes)),
                 bytes.size());
}

int TestFile::Sync() const { return ErrnoOf(::fsync(fd_)); }

int TestFile::Allocate(int mode, uint64_t offset_bytes, uint64_t length_bytes) const {
  return ErrnoOf(
      ::fallocate(fd_, mode, static_cast<off_t>(offset_bytes), static_cast<off_t>(length_bytes)));
}

std::optional<uint64_t> TestFile::Seek(uint64_t offset_bytes, int whence) const {
  const off_t found = ::lseek(fd_, static_cast<off_t>(offset_bytes), whence);
  if (found < 0) return std::nullopt;
  return static_cast<uint64_t>(found);
}

int TestFile::Close() {
  if (fd_ < 0) return 0;
  const int error = ErrnoOf(::close(fd_));
  fd_ = -1;
  return error;
}

AlignedBuffer::AlignedBuffer(size_t size)
    : data_(static_cast<std::byte*>(::operator new(size, kPage))), size_(size) {
  std::memset(data_, 0, size);
}

AlignedBuffer::~AlignedBuffer() { ::operator delete(data_, kPage); }

int WriteText(const std::string& path, const std::string& text, int flags) {
  TestFile file(path, flags);
  if (!file.ok()) return file.open_error();
  const int wrote = Outcome(::write(file.fd(), text.data(), text.size()), text.size());
  const int closed = file.Close();
  return wrote != 0 ? wrote : closed;
}

std::string ReadText(const std::string& path) {
  const std::vector<std::byte> bytes = ReadBytes(path);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::vector<std::byte> ReadBytes(const std::string& path) {
  const TestFile file(path, O_RDONLY);
  if (!file.ok()) Fail(path, file.open_error());
  std::vector<std::byte> bytes;
  constexpr size_t kPiece = size_t{1} << 20;
  for (size_t used = 0;;) {
    bytes.resize(used + kPiece);
    const ssize_t got = ::read(file.fd(), bytes.data() + used, kPiece);
    if (got < 0) Fail(path, errno);
    used += static_cast<size_t>(got);
    bytes.resize(used);
    if (got == 0) return bytes;
  }
}

struct stat StatOf(const std::string& path) {
  struct stat st {};
  if (::lstat(path.c_str(), &st) != 0) Fail(path, errno);
  return st;
}

bool Exists(const std::string& path) {
  struct stat st {};
  return ::lstat(path.c_str(), &st) == 0;
}

int ErrnoOf(long result) { return result < 0 ? errno : 0; }

std::vector<std::string> ListOf(const std::string& directory) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(directory)) {
    names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::vector<DataRange> DataRangesOf(const std::string& path) {
  const TestFile file(path, O_RDONLY);
  if (!file.ok()) Fail(path, file.open_error());
  std::vector<DataRange> ranges;
  for (uint64_t at = 0;;) {
    const std::optional<uint64_t> data = file.Seek(at, SEEK_DATA);
    if (!data) return ranges;
    const std::optional<uint64_t> hole = file.Seek(*data, SEEK_HOLE);
    if (!hole) Fail(path, errno);
    if (!ranges.empty() && ranges.back().end_bytes == *data) {
      ranges.back().end_bytes = *hole;
    } else {
      ranges.push_back({*data, *hole});
    }
    at = *hole;
  }
}

}  // namespace volfs
