#include "blockstore/base/error.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <cerrno>
#include <cstring>

namespace volfs {
namespace {

struct Row {
  Errc code;
  int os_errno;
  ExitCode exit_code;
};

// The first row of an Errc has the errno that users meet. The first row of an errno has what it
// means to the command.
constexpr std::array kTable = {
    Row{Errc::kNotFound, ENOENT, kExitNotFound},
    Row{Errc::kExists, EEXIST, kExitExists},
    Row{Errc::kInvalid, EINVAL, kExitUsage},
    Row{Errc::kTooBig, E2BIG, kExitUsage},
    Row{Errc::kNameTooLong, ENAMETOOLONG, kExitUsage},
    Row{Errc::kBusy, EBUSY, kExitBusy},
    Row{Errc::kBusy, ETXTBSY, kExitBusy},
    Row{Errc::kDenied, EACCES, kExitFailed},
    Row{Errc::kProtected, EPERM, kExitFailed},
    Row{Errc::kReadOnly, EROFS, kExitFailed},
    Row{Errc::kRange, ERANGE, kExitFailed},
    Row{Errc::kFileTooBig, EFBIG, kExitFailed},
    Row{Errc::kNoNode, ENODEV, kExitNodeNotThere},
    Row{Errc::kNodeDown, EHOSTDOWN, kExitNodeNotThere},
    Row{Errc::kWrongRegion, EXDEV, kExitFailed},
    Row{Errc::kNoSpace, ENOSPC, kExitNoSpace},
    Row{Errc::kQuota, EDQUOT, kExitNoSpace},
    Row{Errc::kIo, EIO, kExitFailed},
    Row{Errc::kCorrupt, EIO, kExitCorrupt},
    Row{Errc::kCorrupt, EUCLEAN, kExitCorrupt},
    Row{Errc::kCorrupt, EBADMSG, kExitCorrupt},
    Row{Errc::kLocked, EBUSY, kExitLocked},
    Row{Errc::kNotSupported, EOPNOTSUPP, kExitFailed},
    Row{Errc::kNoData, ENXIO, kExitFailed},
    Row{Errc::kInterrupted, EINTR, kExitInterrupted},
    Row{Errc::kNoMemory, ENOMEM, kExitFailed},
    Row{Errc::kNoFiles, ENFILE, kExitFailed},
    Row{Errc::kNoFiles, EMFILE, kExitFailed},
};

constexpr const Row* Find(Errc code) {
  return std::find_if(kTable.begin(), kTable.end(),
                      [&](const Row& row) { return row.code == code; });
}

constexpr bool IsComplete() {
  for (size_t i = 0; i < kErrcs; ++i) {
    if (Find(static_cast<Errc>(i)) == kTable.end()) return false;
  }
  return true;
}
static_assert(IsComplete(), "each Errc has a row");

}  // namespace

int ErrnoOf(Errc code) { return Find(code)->os_errno; }

std::string_view ErrnoName(Errc code) {
  const char* const name = strerrorname_np(ErrnoOf(code));
  assert(name != nullptr);
  return name;
}

Errc ErrcOfErrno(int os_errno) {
  for (const Row& row : kTable) {
    if (row.os_errno == os_errno) return row.code;
  }
  return Errc::kIo;
}

ExitCode ExitCodeOf(Errc code) { return Find(code)->exit_code; }

}  // namespace volfs
