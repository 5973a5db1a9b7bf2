#include "control/text/io.h"

#include "blockstore/base/str_cat.h"
#include "control/text/name.h"

namespace volfs {

Result<bool> ParseIo(std::string_view word) {
  if (word == IoText(true)) return true;
  if (word == IoText(false)) return false;
  return Error{Errc::kInvalid, StrCat("io: \"", Printable(word),
                                      "\" is none of the two: native (the kernel serves the volume "
                                      "by itself), daemon (we do)")};
}

std::string_view IoText(bool native) { return native ? "native" : "daemon"; }

}  // namespace volfs
