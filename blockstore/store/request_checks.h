#pragma once

#include <functional>
#include <string>

#include "blockstore/base/error.h"
#include "blockstore/node/node.h"
#include "blockstore/store/caller.h"
#include "blockstore/volume/volume.h"

namespace volfs {

// Checks that several requests make before they begin, and their refusals. Called from any thread.

[[nodiscard]] Error NoSuchVolume(const std::string& name);
[[nodiscard]] Error NameTaken(const std::string& name);
[[nodiscard]] Error NoRight(const std::string& name, const char* to);

// Returns an error if the node does not answer, takes no changes, or is fenced.
[[nodiscard]] Status CheckNotFenced(Node& node);
// Checks that `caller` may delete or revert `volume`. Returns kProtected before kDenied.
[[nodiscard]] Status CheckMayDestroy(const Caller& caller, const Volume& volume, const char* verb);

// Tries `begin` for half a second, as a program that has just closed a volume may still be counted
// as having it open. Sleeps between the tries.
Status RetryFor(const std::function<Status()>& begin);

}  // namespace volfs
