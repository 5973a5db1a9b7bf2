#include "control/cli/process/failure.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#include "blockstore/base/str_cat.h"
#include "control/cli/process/files.h"
#include "control/cli/process/output.h"
#include "control/text/json.h"

namespace volfs::cli {

int MountHelperExitCode(Errc code) {
  switch (code) {
    case Errc::kInvalid:
    case Errc::kTooBig:
    case Errc::kNameTooLong:
    case Errc::kDenied:
    case Errc::kProtected:
      return 1;
    case Errc::kNoMemory:
    case Errc::kNoFiles:
      return 2;
    case Errc::kInterrupted:
      return 8;
    default:
      return 32;
  }
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

std::string ErrorJson(const Error& error) {
  const char* name = error.os_errno == 0 ? nullptr : strerrorname_np(error.os_errno);
  std::vector<std::string> lines = SplitAt(error.message, kNoteBreak[0]);
  constexpr std::string_view kRemedy = "; ";
  const std::string sentence = lines.front();
  const size_t end = std::min(sentence.find(kRemedy), sentence.size());
  std::string remedy = sentence.substr(std::min(end + kRemedy.size(), sentence.size()));
  lines.erase(lines.begin());
  if (remedy.empty() && !lines.empty() && lines.front().starts_with("see: ")) {
    remedy = lines.front();
    lines.erase(lines.begin());
  }
  JsonObject object = {{"error", std::string(name != nullptr ? name : ErrnoName(error.code))},
                       {"message", sentence.substr(0, end)},
                       {"remedy", remedy}};
  if (!lines.empty()) object.push_back({"details", JsonStrings(lines)});
  return JsonLine(object);
}

void PrintError(std::string_view command, const Error& error) {
  if (error.message.empty()) return;
  if (CurrentErrorForm() == ErrorForm::kJson) return PrintErrorLine(ErrorJson(error));
  PrintNote(StrCat(command, ": ", ErrorText(error)));
}

}  // namespace volfs::cli
