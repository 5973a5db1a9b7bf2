#include "blockstore/base/log_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

namespace volfs {

LogFile::LogFile(std::string path) : path_(std::move(path)) { Open(); }

LogFile::~LogFile() {
  if (fd_ >= 0) ::close(fd_);
}

// One that cannot be had, as when there is no descriptor left, leaves the one that there was.
void LogFile::Open() {
  const int fd = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0600);
  if (fd < 0) return;
  if (fd_ < 0) {
    fd_ = fd;
    return;
  }
  ::dup3(fd, fd_, O_CLOEXEC);  // the number stays, as LogRaw knows it
  ::close(fd);
}

void LogFile::FollowPath(Nanoseconds now) {
  if (now - looked_ < kLook) return;
  looked_ = now;
  struct stat ours {};
  struct stat there {};
  if (fd_ >= 0 && (::fstat(fd_, &ours) != 0 || !S_ISREG(ours.st_mode))) return;
  const bool same = ::stat(path_.c_str(), &there) == 0 && ours.st_ino == there.st_ino &&
                    ours.st_dev == there.st_dev;
  if (fd_ < 0 || !same) Open();
}

bool LogFile::Write(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t wrote = ::write(fd_, bytes.data(), bytes.size());
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(wrote));
    torn_ = bytes.empty() ? bytes.data()[-1] != '\n' : true;
  }
  return true;
}

void LogFile::TellLost() {
  std::array<char, 200> text{};
  const int length = std::snprintf(
      text.data(), text.size(), "%s(%llu lines are missing here, they could not be written: %s)\n",
      torn_ ? "\n" : "", static_cast<unsigned long long>(lost_), strerrordesc_np(lost_errno_));
  if (Write({text.data(), static_cast<size_t>(length)})) lost_ = 0;
}

void LogFile::Append(std::string_view line) noexcept {
  FollowPath(MonotonicNow());
  if (lost_ != 0) TellLost();
  if (lost_ == 0 && Write(line)) return;
  if (lost_++ == 0) lost_errno_ = errno;
}

}  // namespace volfs
