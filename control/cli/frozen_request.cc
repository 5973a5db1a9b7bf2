#include "control/cli/frozen_request.h"

#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "blockstore/base/str_cat.h"
#include "control/cli/freeze.h"
#include "control/cli/guest.h"
#include "control/cli/host/mountinfo.h"
#include "control/cli/mounted_filesystems.h"
#include "control/cli/process/failure.h"
#include "control/cli/process/output.h"
#include "control/cli/process/supervisor.h"

namespace volfs::cli {
namespace {

// Returns the Freezable that the options ask for; null if they ask for none.
Result<std::unique_ptr<Freezable>> FindFreezable(const Client& client,
                                                 const FreezableSource& source) {
  if (!source.freeze.agent.empty()) {
    return std::unique_ptr<Freezable>(std::make_unique<Guest>(source.freeze.agent));
  }
  ASSIGN_OR_RETURN(const std::vector<MountEntry> mounts, ReadMountInfo());
  const std::vector<FilesystemMounts> filesystems = FilesystemsOf(client, source.volume, mounts);
  if (filesystems.empty()) {
    PrintNote(StrCat(source.command, ": ", source.volume,
                     ": no filesystem is mounted from it here, so none is frozen"));
    return std::unique_ptr<Freezable>();
  }
  ASSIGN_OR_RETURN(auto opened,
                   MountedFilesystems::Open(filesystems, client.ImagePath(source.volume)));
  return std::unique_ptr<Freezable>(std::move(opened));
}

Result<std::optional<Freeze>> FreezeSource(const Client& client, const FreezableSource& source) {
  ASSIGN_OR_RETURN(std::unique_ptr<Freezable> freezable, FindFreezable(client, source));
  if (freezable == nullptr) return std::optional<Freeze>();
  ASSIGN_OR_RETURN(Freeze freeze, Freeze::Begin(std::move(freezable)));
  return std::optional<Freeze>(std::move(freeze));
}

}  // namespace

Result<Reply> AskFrozen(const Client& client, const FreezableSource& source,
                        const std::string& file, const std::string& line, Status& unclean) {
  if (!source.freeze.wanted()) return client.Ask(file, line);
  const Waiting waiting(client.mountpoint());  // for the filesystem to write out its data
  ASSIGN_OR_RETURN(std::optional<Freeze> freeze, FreezeSource(client, source));
  Result<Reply> reply = client.Ask(file, line);
  if (freeze) unclean = freeze->End();
  if (!reply.ok() && !unclean.ok()) PrintError(source.command, unclean.error());
  return reply;
}

Error UncleanCopy(const std::string& copy, const Error& unclean) {
  return Error{unclean.code,
               StrCat(copy,
                      ": was made, but its filesystem may not be clean, as if the power had "
                      "gone: ",
                      unclean.message)};
}

}  // namespace volfs::cli
