#include <cstdio>
#include <new>
#include <string>

#include "blockstore/base/str_cat.h"
#include "control/cli/commands/command.h"
#include "control/cli/process/supervisor.h"
#include "fusefs/mount/commit.h"
#include "fusefs/mount/mount.h"
#include "fusefs/mount/options.h"

#if defined(VOLFS_SABOTAGE)
#error "the planted bugs of blockstore/base/sabotage.h are for the simulation only"
#endif

namespace {

std::string Version() {
  const std::string_view commit = volfs::Commit();
  return commit.empty() ? VOLFS_VERSION : volfs::StrCat(VOLFS_VERSION, " (commit ", commit, ")");
}

}  // namespace

// A daemon does not get here for want of memory (memory.h); a command may.
int main(int argc, char** argv) try {
  return volfs::RunCommand(argc, argv,
                           {.mount = volfs::Mount,
                            .mount_options = volfs::MountOptionNames(),
                            .version = Version(),
                            .run = volfs::cli::Supervise});
} catch (const std::bad_alloc&) {
  std::fputs("volfs: there is no memory left for this; try again\n", stderr);
  return 1;
}
