#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "blockstore/base/runtime.h"

namespace volfs {

// A file to which lines are appended. If it is removed or renamed (logrotate), it is made again
// within kLook, or at the next line after that. While its disk is full or broken, lines are lost
// and counted. The first line that can be written again is preceded by their number.
//
// Thread-safety: none; log.cc holds a lock. Append never throws and never logs. Cost: one write(2),
// once in kLook two stat(2).
class LogFile {
 public:
  explicit LogFile(std::string path);  // created 0600
  ~LogFile();
  LogFile(const LogFile&) = delete;
  LogFile& operator=(const LogFile&) = delete;

  [[nodiscard]] bool ok() const { return fd_ >= 0; }
  [[nodiscard]] int fd() const { return fd_; }

  // `line` ends with LF.
  void Append(std::string_view line) noexcept;

 private:
  static constexpr Nanoseconds kLook = std::chrono::seconds(1);

  void Open();
  void FollowPath(Nanoseconds now);
  void TellLost();
  [[nodiscard]] bool Write(std::string_view bytes);

  const std::string path_;
  int fd_ = -1;
  Nanoseconds looked_{0};
  uint64_t lost_ = 0;
  int lost_errno_ = 0;
  bool torn_ = false;  // the last line that was written lacks its end
};

}  // namespace volfs
