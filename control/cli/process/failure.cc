#include "control/cli/process/failure.h"

#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "blockstore/base/str_cat.h"
#include "control/cli/process/output.h"

namespace volfs::cli {
namespace {

struct ErrcRow {
  int os_errno;  // 0: none of its own
  Errc code;
  int exit_code;
};

// What is not here is kIo, and 1.
constexpr std::array<ErrcRow, 25> kTable = {{
    {ENOENT, Errc::kNotFound, kExitNotFound},
    {EEXIST, Errc::kExists, kExitExists},
    {EINVAL, Errc::kInvalid, kExitUsage},
    {E2BIG, Errc::kTooBig, kExitUsage},
    {ENAMETOOLONG, Errc::kNameTooLong, kExitUsage},
    {EBUSY, Errc::kBusy, kExitBusy},
    {ETXTBSY, Errc::kBusy, kExitBusy},
    {EACCES, Errc::kDenied, kExitFailed},
    {EPERM, Errc::kProtected, kExitFailed},
    {EROFS, Errc::kReadOnly, kExitFailed},
    {ERANGE, Errc::kRange, kExitFailed},
    {EFBIG, Errc::kFileTooBig, kExitFailed},
    {ENODEV, Errc::kNoNode, kExitNodeNotThere},
    {EHOSTDOWN, Errc::kNodeDown, kExitNodeNotThere},
    {EXDEV, Errc::kWrongRegion, kExitFailed},
    {ENOSPC, Errc::kNoSpace, kExitNoSpace},
    {EDQUOT, Errc::kQuota, kExitNoSpace},
    {EUCLEAN, Errc::kCorrupt, kExitCorrupt},
    {EBADMSG, Errc::kCorrupt, kExitCorrupt},
    {EOPNOTSUPP, Errc::kNotSupported, kExitFailed},
    {EINTR, Errc::kInterrupted, kExitInterrupted},
    {ENOMEM, Errc::kNoMemory, kExitFailed},
    {ENFILE, Errc::kNoFiles, kExitFailed},
    {EMFILE, Errc::kNoFiles, kExitFailed},
    {0, Errc::kLocked, kExitLocked},
}};

}  // namespace

Errc ErrcOfErrno(int os_errno) {
  for (const ErrcRow& row : kTable) {
    if (row.os_errno == os_errno && os_errno != 0) return row.code;
  }
  return Errc::kIo;
}

int ExitCodeOf(Errc code) {
  for (const ErrcRow& row : kTable) {
    if (row.code == code) return row.exit_code;
  }
  return kExitFailed;
}

Error Failure(int os_errno, std::string message) {
  return Error{ErrcOfErrno(os_errno), std::move(message), os_errno};
}

Error SystemFailure(std::string_view what) {
  const int os_errno = errno;
  return Failure(os_errno, StrCat(what, ": ", std::strerror(os_errno)));
}

Error UsageFailure(std::string message) { return Error{Errc::kInvalid, std::move(message)}; }

Error SilentFailure(Errc code) { return Error{code, ""}; }

std::string ErrorText(const Error& error) {
  const char* name = error.os_errno == 0 ? nullptr : strerrorname_np(error.os_errno);
  if (name == nullptr) return error.message;
  const size_t first_line = std::min(error.message.find(kNoteBreak), error.message.size());
  return StrCat(error.message.substr(0, first_line), " (", name, ")",
                error.message.substr(first_line));
}

void PrintError(std::string_view command, const Error& error) {
  if (error.message.empty()) return;
  PrintNote(StrCat(command, ": ", ErrorText(error)));
}

}  // namespace volfs::cli
