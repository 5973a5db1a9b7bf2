#pragma once

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace volfs {

// Why an operation failed, in our own vocabulary. A broken invariant is not an Error: it aborts.
enum class Errc : uint8_t {
  kNotFound,
  kExists,
  kInvalid,
  kTooBig,  // a request that is too long
  kNameTooLong,
  kBusy,
  kDenied,     // this user may not
  kProtected,  // no user may
  kReadOnly,
  kRange,        // a size outside of the limits
  kFileTooBig,   // growing past the type's greatest size
  kNoNode,       // no such node, or none fits
  kNodeDown,     // a known node is not mounted, or does not answer
  kWrongRegion,  // across regions or nodes
  kNoSpace,
  kQuota,
  kIo,
  kCorrupt,  // the message says what is corrupt
  kLocked,   // another daemon has the store
  kNotSupported,
  kNoData,  // lseek found nothing
  kInterrupted,
  kNoMemory,  // in the daemon, or a user's share is used up
  kNoFiles,   // the daemon or the host has no descriptor left; stays the last one
};
inline constexpr size_t kErrcs = static_cast<size_t>(Errc::kNoFiles) + 1;

// Exit codes of the command.
enum ExitCode : int {
  kExitOk = 0,
  kExitFailed = 1,
  kExitUsage = 2,
  kExitNotFound = 3,
  kExitExists = 4,
  kExitBusy = 5,
  kExitNoSpace = 6,
  kExitNodeNotThere = 7,
  kExitLocked = 8,
  kExitCorrupt = 9,
  kExitInterrupted = 130,  // as a shell says it of SIGINT
};

// One table (error.cc) says what an Errc is to users.

// Returns the errno of the system call that is refused. Never 0, and never ENOSYS, which the kernel
// takes for "never ask again" (of fsync: "report success for ever").
int ErrnoOf(Errc code);
// Returns that errno's name, "EBUSY".
std::string_view ErrnoName(Errc code);
// Returns the Errc that a refusal by a mount stands for; kIo for an errno that the table lacks.
Errc ErrcOfErrno(int os_errno);
// Returns the exit code of the command.
ExitCode ExitCodeOf(Errc code);

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
#define RETURN_IF_ERROR(expr)                          \
  do {                                                 \
    if (const auto& volfs_r = (expr); !volfs_r.ok()) { \
      return volfs_r.error();                          \
    }                                                  \
  } while (false)

// `ASSIGN_OR_RETURN(auto file, dir.Open(name));`: the value, or return the error.
#define ASSIGN_OR_RETURN(lhs, expr) ASSIGN_OR_RETURN_2(lhs, expr, VOLFS_CONCAT(volfs_r_, __LINE__))
// NOLINTBEGIN(bugprone-macro-parentheses): `lhs` may be a declaration
#define ASSIGN_OR_RETURN_2(lhs, expr, tmp) \
  auto tmp = (expr);                       \
  if (!tmp.ok()) return tmp.error();       \
  lhs = std::move(tmp.value())
// NOLINTEND(bugprone-macro-parentheses)
#define VOLFS_CONCAT(a, b) VOLFS_CONCAT_2(a, b)
#define VOLFS_CONCAT_2(a, b) a##b

}  // namespace volfs
