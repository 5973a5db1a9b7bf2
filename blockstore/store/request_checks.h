#pragma once

#include <functional>
#include <string>

#include "blockstore/base/error.h"
#include "blockstore/node/node.h"
#include "blockstore/store/caller.h"
#include "blockstore/volume/volume.h"

namespace volfs {

// What several requests ask before they begin, and how they refuse.

[[nodiscard]] Error NoSuchVolume(const std::string& name);
[[nodiscard]] Error NameTaken(const std::string& name);
[[nodiscard]] Error NoRight(const std::string& name, const char* to);

// A node that does not answer, or whose catalog has failed, can be asked for nothing.
[[nodiscard]] Status CheckNotFenced(Node& node);
// For deleting and reverting. kProtected before kDenied.
[[nodiscard]] Status CheckMayDestroy(const Caller& caller, const Volume& volume, const char* verb);

// Tries `begin` for half a second: a program that has just closed a volume may still be counted as
// having it open.
Status RetryFor(const std::function<Status()>& begin);

}  // namespace volfs
