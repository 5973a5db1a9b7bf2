#include "blockstore/store/request_checks.h"

#include "blockstore/base/str_cat.h"

namespace volfs {
namespace {

// A descriptor's release reaches us after close(2) has returned: `umount && rm` must not fail for
// it.
constexpr Nanoseconds kReleasePatience = std::chrono::milliseconds(500);
constexpr Nanoseconds kReleasePoll = std::chrono::milliseconds(5);

}  // namespace

Error NoSuchVolume(const std::string& name) {
  return Error{Errc::kNotFound, StrCat(name, ": no such volume")};
}

Error NameTaken(const std::string& name) {
  return Error{Errc::kExists, StrCat(name, ": the name is taken; choose another")};
}

Error NoRight(const std::string& name, const char* to) {
  return Error{Errc::kDenied, StrCat(name, ": you have no right to ", to, " it")};
}

Status CheckNotFenced(Node& node) {
  RETURN_IF_ERROR(node.CheckAnswers());
  RETURN_IF_ERROR(node.CheckChanges());
  if (!node.catalog().fenced()) return OkStatus();
  return Error{node.catalog().lost() ? Errc::kIo : Errc::kReadOnly,
               StrCat("node ", node.name(), " is read-only until the next mount, since ",
                      node.catalog().fence_reason())};
}

Status CheckMayDestroy(const Caller& caller, const Volume& volume, const char* verb) {
  const Attributes attributes = volume.attributes();
  // Before the check of rights, which the owner fails too: this reason tells how to go on.
  if ((attributes.mode & 0222) == 0) {
    return Error{Errc::kProtected, StrCat(volume.name(),
                                          ": its mode has no w bit, which protects it; "
                                          "`chmod u+w` first")};
  }
  if (!Allowed(caller, attributes, Right::kWrite)) return NoRight(volume.name(), verb);
  return OkStatus();
}

Status RetryFor(const std::function<Status()>& begin) {
  for (const Nanoseconds end = MonotonicNow() + kReleasePatience;; SleepFor(kReleasePoll)) {
    const Status begun = begin();
    if (begun.ok() || MonotonicNow() >= end) return begun;
  }
}

}  // namespace volfs
