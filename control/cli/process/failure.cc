#include "control/cli/process/failure.h"

#include <cerrno>
#include <cstring>
#include <utility>

#include "blockstore/base/str_cat.h"
#include "control/cli/process/output.h"

namespace volfs::cli {

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
