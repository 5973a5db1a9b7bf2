#include "control/cli/command.h"
#include "control/cli/supervisor.h"
#include "fusefs/mount.h"

#if defined(VOLFS_SABOTAGE)
#error "the planted bugs of blockstore/sabotage.h are for the simulation only"
#endif

int main(int argc, char** argv) {
  return volfs::RunCommand(argc, argv, volfs::Mount, volfs::cli::Supervise);
}
