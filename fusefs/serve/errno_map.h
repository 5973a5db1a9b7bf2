#pragma once

#include "blockstore/base/error.h"

namespace volfs {

// The errno that a user meets for `code`. The only table from our words to numbers; their names
// for people are in control/text/errno_name.h, and a test compares the two. Never 0, never ENOSYS:
// the kernel takes ENOSYS for "never ask again", and for fsync that means "report success for
// ever".
int ErrnoOf(Errc code);

}  // namespace volfs
