#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <vector>

#include "blockstore/base/str_cat.h"
#include "blockstore/io/posix_descriptor.h"
#include "control/cli/client.h"
#include "control/cli/commands/commands.h"
#include "control/cli/process/failure.h"
#include "control/cli/process/output.h"
#include "control/cli/process/supervisor.h"
#include "control/cli/target.h"

namespace volfs::cli {
namespace {

constexpr size_t kDiffPieceBytes = size_t{1} << 18;

// The two images of one volume that a command compares.
struct DiffNames {
  std::string volume;
  std::string before;
  std::string after;  // empty: the volume as it is now
};

Result<DiffNames> NamesOf(Targets& targets, const std::string& before, const std::string& after) {
  ASSIGN_OR_RETURN(const std::string older, targets.Image(before));
  const size_t at = older.find('@');
  if (at == older.npos) {
    return UsageFailure(StrCat(older, ": say since which snapshot: ", older, "@SNAP"));
  }
  DiffNames names{older.substr(0, at), older.substr(at + 1), ""};
  if (after.empty()) return names;
  ASSIGN_OR_RETURN(const std::string newer, targets.Image(after));
  const size_t cut = newer.find('@');
  if (newer.substr(0, cut) != names.volume) {
    return UsageFailure(StrCat(older, " and ", newer, ": these are images of two volumes"));
  }
  if (cut != newer.npos) names.after = newer.substr(cut + 1);
  return names;
}

// Returns why there is no such pair.
Error NoSuchPair(const Client& client, const DiffNames& names, const Error& error) {
  for (const std::string& snapshot : {names.before, names.after}) {
    const std::string image = snapshot.empty() ? names.volume : StrCat(names.volume, "@", snapshot);
    struct stat info {};
    if (::stat(client.ImagePath(image).c_str(), &info) == 0 || errno != ENOENT) continue;
    const std::string_view kind = snapshot.empty() ? "volume" : "snapshot";
    return Failure(ENOENT, StrCat(image, ": no such ", kind, " on ", client.mountpoint()));
  }
  return error;
}

Result<Descriptor> OpenRanges(const Client& client, const DiffNames& names, bool json) {
  const std::string path =
      client.PathOf(StrCat("control/diff/", names.volume, json ? "/ranges.json/" : "/ranges/",
                           names.before, "..", names.after));
  const Waiting waiting(client.mountpoint());  // it may load the maps of both
  Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.ok()) return file;
  const Error error = SystemFailure(path);
  if (error.os_errno == ENOENT) return NoSuchPair(client, names, error);
  return Failure(error.os_errno, StrCat(error.message, kNoteBreak, "the reason is in ",
                                        client.PathOf("control/last_error")));
}

}  // namespace

Status ShowDiff(const Common& common, const std::string& before, const std::string& after) {
  Targets targets(common.mount);
  ASSIGN_OR_RETURN(const DiffNames names, NamesOf(targets, before, after));
  ASSIGN_OR_RETURN(const Client client, targets.Mount());
  ASSIGN_OR_RETURN(const Descriptor ranges, OpenRanges(client, names, common.json));
  std::vector<char> piece(kDiffPieceBytes);
  for (;;) {
    const ssize_t got = ::read(ranges.get(), piece.data(), piece.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return SystemFailure(StrCat("the changes of ", names.volume));
    if (got == 0) return FlushOutput();
    Print(std::string_view(piece.data(), static_cast<size_t>(got)));
  }
}

}  // namespace volfs::cli
