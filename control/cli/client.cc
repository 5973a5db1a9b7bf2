#include "control/cli/client.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "blockstore/base/str_cat.h"
#include "blockstore/io/posix_descriptor.h"
#include "control/cli/process/failure.h"
#include "control/cli/process/files.h"
#include "control/cli/process/supervisor.h"
#include "control/text/json.h"

namespace volfs::cli {
namespace {

// Longer than any reply that the daemon gives.
constexpr size_t kMaxReplyBytes = 16384;

std::string ReadReply(int fd) {
  std::array<char, kMaxReplyBytes> buffer;
  ssize_t got = 0;
  do {
    got = ::read(fd, buffer.data(), buffer.size());
  } while (got < 0 && errno == EINTR);
  if (got <= 0) return "";
  const std::string_view text(buffer.data(), static_cast<size_t>(got));
  return std::string(text.substr(0, text.find('\n')));
}

Error OpenFailure(const Client& client, std::string_view file, int os_errno) {
  const std::string path = client.PathOf(StrCat("control/", file));
  if (os_errno == EACCES || os_errno == EPERM) {
    return Failure(os_errno, StrCat(path,
                                    ": only the user who mounted may ask here; mount with "
                                    "-o control_gid=GID to let a group"));
  }
  if (os_errno == ENOTCONN) {
    return Failure(os_errno, StrCat(client.mountpoint(),
                                    ": the daemon of this mount is gone; volfs "
                                    "umount it, then mount again"));
  }
  if (os_errno == EROFS) {
    return Failure(os_errno,
                   StrCat(client.mountpoint(),
                          ": is mounted for reading only; mount it without `ro` to change "
                          "anything"));
  }
  return Failure(os_errno, StrCat(path, ": ", std::strerror(os_errno)));
}

}  // namespace

std::string ValueOf(const Fields& fields, std::string_view name) {
  for (const auto& [field, value] : fields) {
    if (field == name) return value;
  }
  return "";
}

Reply ParseReply(std::string_view line) {
  Reply reply;
  for (const std::string_view word : SplitWords(line)) {
    const size_t equals = word.find('=');
    if (equals == word.npos || equals == 0) continue;
    reply.fields.emplace_back(word.substr(0, equals), word.substr(equals + 1));
  }
  return reply;
}

Error ParseRefusal(std::string_view reply, int os_errno, std::string_view request) {
  constexpr std::string_view kPrefix = "error ";
  if (reply.starts_with(kPrefix)) {
    reply.remove_prefix(kPrefix.size());
    const size_t blank = reply.find(' ');  // behind the errno's name
    if (blank != reply.npos && blank + 1 < reply.size()) {
      return Failure(os_errno, std::string(reply.substr(blank + 1)));
    }
  }
  return Failure(os_errno, StrCat(request, ": ", std::strerror(os_errno)));
}

std::string Client::PathOf(std::string_view relative) const {
  return StrCat(mountpoint_ == "/" ? "" : mountpoint_, "/", relative);
}

std::string Client::ImagePath(std::string_view name) const {
  const size_t at = name.find('@');
  if (at == name.npos) return PathOf(StrCat("volumes/", name));
  return PathOf(StrCat("snapshots/", name.substr(0, at), "/", name.substr(at + 1)));
}

Result<Reply> Client::Ask(std::string_view file, std::string_view line) const {
  const Waiting waiting(mountpoint_);
  const Descriptor fd(::open(PathOf(StrCat("control/", file)).c_str(), O_RDWR | O_CLOEXEC));
  if (!fd.ok()) return OpenFailure(*this, file, errno);
  const std::string request = StrCat(line, "\n");
  // One write is one request. It is not repeated, because an interrupted one may have been carried
  // out.
  const ssize_t wrote = ::write(fd.get(), request.data(), request.size());
  const int os_errno = errno;
  const std::string reply = ReadReply(fd.get());
  if (wrote < 0) return ParseRefusal(reply, os_errno, StrCat(file, " ", line));
  return ParseReply(reply);
}

Result<std::string> Client::ReadControl(std::string_view relative) const {
  Result<std::string> text = ReadFile(PathOf(StrCat("control/", relative)));
  if (text.ok()) return text;
  const int os_errno = text.error().os_errno;
  if (os_errno == ENOTCONN || os_errno == EACCES) return OpenFailure(*this, relative, os_errno);
  return text;
}

Result<std::string> Client::Field(std::string_view volume, std::string_view field) const {
  ASSIGN_OR_RETURN(const std::string text, ReadControl(StrCat("volumes/", volume, "/", field)));
  return text.substr(0, text.find('\n'));
}

Result<Fields> Client::Info(std::string_view name) const {
  ASSIGN_OR_RETURN(const std::string directory, ControlDirectory(name));
  ASSIGN_OR_RETURN(const std::string text, ReadControl(StrCat(directory, "/info.json")));
  Fields fields = ParseFlatJson(text);
  if (!fields.empty()) return fields;
  return Error{Errc::kIo, StrCat(name, ": its info.json cannot be understood: ", text)};
}

Result<std::string> Client::ControlDirectory(std::string_view name) const {
  const size_t at = name.find('@');
  if (at == name.npos) {
    RETURN_IF_ERROR(CheckVolume(name));
    return StrCat("volumes/", name);
  }
  const std::string_view volume = name.substr(0, at);
  const std::string directory = StrCat("snapshots/", volume, "/", name.substr(at + 1));
  const Result<std::string> id = ReadControl(directory + "/id");
  if (id.ok()) return directory;
  if (id.error().os_errno != ENOENT) return id.error();
  return Failure(ENOENT, StrCat(name, ": no such snapshot; `volfs ls -s ", volume,
                                "` shows those of ", volume));
}

Status Client::CheckVolume(std::string_view volume) const {
  const Result<std::string> id = Field(volume, "id");
  if (id.ok()) return OkStatus();
  if (id.error().os_errno != ENOENT) return id.error();
  return Failure(ENOENT,
                 StrCat(volume, ": no such volume; `volfs ls` shows those of ", mountpoint_));
}

Result<uint64_t> Client::ImageSize(std::string_view name) const {
  struct stat info {};
  const std::string path = ImagePath(name);
  if (::stat(path.c_str(), &info) != 0) return SystemFailure(path);
  return static_cast<uint64_t>(info.st_size);
}

}  // namespace volfs::cli
