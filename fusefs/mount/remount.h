#pragma once

#include <string>
#include <vector>

#include "blockstore/base/error.h"
#include "control/cli/mount_arguments.h"

namespace volfs {

// `mount -o remount,...`, which mount(8) hands to its helper. It changes flags of the kernel's
// mount (ro, rw, noexec, noatime, ...) and the limits of copying (copy_rate, copy_jobs) of a mount
// that goes on. All else takes an unmount.

// Returns whether `remount` is among the options.
bool AsksForRemount(const std::vector<std::string>& options);

// Returns kInvalid for an option that is unknown or cannot change while it is mounted, kNotFound if
// no volfs is mounted there, kBusy if it cannot become read-only as files are open for writing.
Status Remount(const MountArguments& arguments);

}  // namespace volfs
