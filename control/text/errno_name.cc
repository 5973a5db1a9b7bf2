#include "control/text/errno_name.h"

#include <cstdlib>

namespace volfs {

// No default: a new Errc without a name must not compile.
std::string_view ErrcName(Errc code) {
  switch (code) {
    case Errc::kNotFound:
      return "ENOENT";
    case Errc::kExists:
      return "EEXIST";
    case Errc::kInvalid:
      return "EINVAL";
    case Errc::kTooBig:
      return "E2BIG";
    case Errc::kNameTooLong:
      return "ENAMETOOLONG";
    case Errc::kBusy:
      return "EBUSY";
    case Errc::kDenied:
      return "EACCES";
    case Errc::kProtected:
      return "EPERM";
    case Errc::kReadOnly:
      return "EROFS";
    case Errc::kRange:
      return "ERANGE";
    case Errc::kFileTooBig:
      return "EFBIG";
    case Errc::kNoNode:
      return "ENODEV";
    case Errc::kNodeDown:
      return "EHOSTDOWN";
    case Errc::kWrongRegion:
      return "EXDEV";
    case Errc::kNoSpace:
      return "ENOSPC";
    case Errc::kQuota:
      return "EDQUOT";
    case Errc::kIo:
    case Errc::kCorrupt:
      return "EIO";
    case Errc::kLocked:
      return "EBUSY";
    case Errc::kNotSupported:
      return "EOPNOTSUPP";
    case Errc::kNoData:
      return "ENXIO";
    case Errc::kInterrupted:
      return "EINTR";
    case Errc::kNoMemory:
      return "ENOMEM";
    case Errc::kNoFiles:
      return "ENFILE";
  }
  std::abort();
}

}  // namespace volfs
