#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>

#include "blockstore/base/error.h"
#include "blockstore/base/runtime.h"
#include "blockstore/base/str_cat.h"

namespace volfs {

// The last refusals of requests and file operations, for control/last_error.
//
// Thread-safety: all methods from any thread. Locks: mu_, a leaf. Cost of Add: no I/O.
class LastError {
 public:
  static constexpr size_t kKept = 64;

  // `operation` is the request file or the file operation ("clone", "unlink"), `object` what it was
  // about, empty or ready to be printed (Printable() of control/text/name.h).
  void Add(uint32_t uid, std::string_view operation, std::string_view object, const Error& error)
      VOLFS_EXCLUDES(mu_);

  // Newest first, a line each: TIME UID OPERATION:OBJECT ERRNO SENTENCE; the object in double
  // quotes if it has blanks. With `uid`: only of what that user was refused, as a sentence may name
  // what nobody else may know of.
  [[nodiscard]] std::string Text(std::optional<uint32_t> uid = std::nullopt) const
      VOLFS_EXCLUDES(mu_);

 private:
  mutable Mutex mu_;
  struct Line {
    uint32_t uid;
    std::string text;
  };
  std::deque<Line> lines_ VOLFS_GUARDED_BY(mu_);  // newest first
};

}  // namespace volfs
