#pragma once

#include <cassert>
#include <cstdint>
#include <string>
#include <utility>
#include <variant>

namespace volfs {

// Why an operation failed, in our own vocabulary. fusefs/serve/errno_map.cc holds the only table
// from Errc to errno; control's replies print the errno names of the same table's words. A broken
// invariant is not an Error: it aborts.
enum class Errc : uint8_t {
  kNotFound,      // ENOENT
  kExists,        // EEXIST
  kInvalid,       // EINVAL
  kTooBig,        // E2BIG: a request that is too long
  kNameTooLong,   // ENAMETOOLONG
  kBusy,          // EBUSY
  kDenied,        // EACCES: this user may not
  kProtected,     // EPERM: refused to every user
  kReadOnly,      // EROFS
  kRange,         // ERANGE: a size outside of the limits
  kFileTooBig,    // EFBIG: growing past the type's greatest size
  kNoNode,        // ENODEV: no such node, or none fits
  kNodeDown,      // EHOSTDOWN: a known node is not mounted
  kWrongRegion,   // EXDEV: across regions or nodes
  kNoSpace,       // ENOSPC
  kQuota,         // EDQUOT
  kIo,            // EIO
  kCorrupt,       // EIO to users; the message says what is corrupt
  kLocked,        // EBUSY to users: another daemon has the store
  kNotSupported,  // EOPNOTSUPP
  kNoData,        // ENXIO: lseek found nothing
  kInterrupted,   // EINTR
  kNoMemory,      // ENOMEM: in the daemon, or a user's share is used up
  kNoFiles,       // ENFILE: the daemon or the host has no descriptor left
};

struct [[nodiscard]] Error {
  Errc code;
  std::string message;  // One sentence: the action, its object, the reason, the remedy.
  int os_errno = 0;     // 0 unless a system call failed.
};

// A T, or the Error that prevented it. Dropping one is a warning, hence an error.
template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}      // NOLINT: implicit
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}  // NOLINT: implicit
  [[nodiscard]] bool ok() const noexcept { return state_.index() == 0; }
  T& value() {
    assert(ok());
    return *std::get_if<0>(&state_);
  }
  const T& value() const {
    assert(ok());
    return *std::get_if<0>(&state_);
  }
  const Error& error() const {
    assert(!ok());
    return *std::get_if<1>(&state_);
  }

 private:
  std::variant<T, Error> state_;
};

using Status = Result<std::monostate>;
inline Status OkStatus() { return std::monostate{}; }

// Returns the error of `expr` (a Status or Result) from the enclosing function, if it has one.
#define RETURN_IF_ERROR(expr)                   \
  do {                                          \
    if (auto volfs_r = (expr); !volfs_r.ok()) { \
      return volfs_r.error();                   \
    }                                           \
  } while (false)

// `ASSIGN_OR_RETURN(auto file, dir.Open(name));`: the value, or return the error.
#define ASSIGN_OR_RETURN(lhs, expr) ASSIGN_OR_RETURN_2(lhs, expr, VOLFS_CONCAT(volfs_r_, __LINE__))
// NOLINTNEXTLINE(bugprone-macro-parentheses): `lhs` may be a declaration
#define ASSIGN_OR_RETURN_2(lhs, expr, tmp) \
  auto tmp = (expr);                       \
  if (!tmp.ok()) return tmp.error();       \
  lhs = std::move(tmp.value())
#define VOLFS_CONCAT(a, b) VOLFS_CONCAT_2(a, b)
#define VOLFS_CONCAT_2(a, b) a##b

}  // namespace volfs
