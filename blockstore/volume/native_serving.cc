#include "blockstore/volume/native_serving.h"

#include <utility>

#include "blockstore/base/log.h"
#include "blockstore/base/str_cat.h"

namespace volfs {

Result<Descriptor> NativeServing::Begin() {
  // Inside the gate, so that a snapshot at the same time sees either this open or no native one
  // (N2).
  ASSIGN_OR_RETURN(const IoScope io, map_.BeginWrite());
  Layer* const raw = map_.head();
  if (!raw->flat() || raw->failed()) return Descriptor();  // the daemon still reads it
  ASSIGN_OR_RETURN(Layer::Exported exported, raw->ExportDescriptor(OpenFiles::For::kWrite));
  if (!exported.file.ok()) return Descriptor();
  if (!active()) RETURN_IF_ERROR(TakeSizeFromFile(Time::kIgnored));
  active_.fetch_add(1);
  MutexLock lock(mu_);
  exported_.push_back(std::move(exported.use));
  return std::move(exported.file);
}

void NativeServing::End() {
  RefreshFromFile();
  // The kernel's page cache of the image does not have the bytes that it wrote to the file.
  opens_.AgeCaches();
  active_.fetch_sub(1);
  OpenFiles::Use ended;  // outlives the lock
  MutexLock lock(mu_);
  ended = std::move(exported_.back());
  exported_.pop_back();
}

void NativeServing::RefreshFromFile() {
  if (const Status done = LearnSize(); !done.ok()) {
    LogWarning(StrCat(state_.name(), ": its size is not known: ", done.error().message));
  }
}

Status NativeServing::LearnSize() {
  if (!active()) return OkStatus();
  // The Ref keeps the map, which Begin has loaded, in memory: a map loaded now could have the old
  // size.
  const MapRefCount::Ref use = map_.Enter();
  return active() ? TakeSizeFromFile(Time::kTaken) : OkStatus();
}

Status NativeServing::TakeSizeFromFile(Time time) {
  MutexLock growing(map_.grow_mu());
  const Epoch::Reader reader = context_.epoch.Enter();
  Layer* const raw = map_.head();
  if (!raw->flat()) return OkStatus();  // closed since, and a snapshot was taken
  ASSIGN_OR_RETURN(const NodeFile::State file, raw->TakeSizeFromFile());
  map_.Grow(file.size_bytes);
  state_.RaiseSize(file.size_bytes);
  // A time of the file that has not changed is not taken: utimensat may have set an older one
  // since.
  const bool changed = followed_mtime_ns_.exchange(file.mtime_ns) != file.mtime_ns;
  if (changed && time == Time::kTaken) state_.SetModified(file.mtime_ns);
  return OkStatus();
}

Status NativeServing::AdoptAfterCrash() {
  const Status adopted = AdoptIfAlone();
  if (adopted.ok()) return adopted;
  closed_by_mount_ = true;
  return state_.Fail(adopted.error());
}

Status NativeServing::AdoptIfAlone() {
  if (!map_.head()->flat() || !map_.head()->record().has_file) return OkStatus();
  RETURN_IF_ERROR(TakeSizeFromFile(Time::kIgnored));
  ASSIGN_OR_RETURN(const bool written, map_.head()->WrittenElsewhere());
  if (!written) return OkStatus();
  return Error{Errc::kBusy,
               "a process that had it open with io=native when the last mount died still has: "
               "end that process (`fuser`, `losetup`), then unmount and mount again"};
}

Status NativeServing::CheckNotActive(std::string_view what) const {
  if (!active()) return OkStatus();
  return Error{Errc::kBusy,
               StrCat(state_.name(),
                      ": it is open with io=native, where the kernel writes it without "
                      "asking: ",
                      what,
                      " has to wait until it is closed (or, once closed, ask for the other "
                      "mode: `echo daemon > control/volumes/",
                      state_.name(), "/io`)")};
}

}  // namespace volfs
