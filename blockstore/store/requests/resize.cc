#include "blockstore/base/log.h"
#include "blockstore/base/str_cat.h"
#include "blockstore/store/request_checks.h"
#include "blockstore/store/store.h"

namespace volfs {
namespace {

Status CheckMayShrink(const StoreParts& parts, const Volume& volume) {
  if (parts.options.allow_shrink) return OkStatus();
  return Error{Errc::kProtected,
               StrCat(volume.name(), " has ", volume.size_bytes(),
                      " bytes: making it smaller would destroy its end; to write into it as it "
                      "is use `dd conv=notrunc`, `qemu-img convert -n` or `rsync --inplace` (the "
                      "mount option allow_shrink allows it)")};
}

}  // namespace

Status Store::Shrink(Volume& volume, uint64_t size_bytes, Volume::Cut cut) {
  if (parts_.options.allow_shrink) cut = Volume::Cut::kAnything;
  if (cut == Volume::Cut::kAnything) RETURN_IF_ERROR(CheckMayShrink(parts_, volume));
  if (parts_.tables.IsClone(volume.id())) {
    return Error{Errc::kBusy, StrCat(volume.name(),
                                     ": it is a clone that is still being copied; make it smaller "
                                     "when it is available")};
  }
  const auto under_head = [&] {
    const Epoch::Reader reader = volume.node().epoch().Enter();
    return volume.head()->record().parent;
  };
  Gate::Passage tree = volume.node().tree_gate().Enter();
  const Id under = under_head();
  Status shrunk = volume.Shrink(size_bytes, cut);
  tree.Leave();
  // The range holds data, so the general rule holds, and its error tells the remedy.
  if (!shrunk.ok() && shrunk.error().code == Errc::kProtected)
    shrunk = CheckMayShrink(parts_, volume);
  RETURN_IF_ERROR(shrunk);
  if (under == kNoId) return OkStatus();
  if (const Status freed = parts_.reclaimer.Reclaim(under); !freed.ok()) {
    LogWarning(StrCat(volume.name(), ": the space that was cut off is freed at the next mount: ",
                      freed.error().message));
  }
  return OkStatus();
}

Status Store::Resize(const std::string& name, uint64_t size_bytes, const Caller& caller) {
  const std::shared_ptr<Volume> volume = Find(name);
  if (volume == nullptr) return NoSuchVolume(name);
  volume->native().RefreshFromFile();
  const VolumeRecord record = volume->record();
  if (!Allowed(caller, record.attributes, Right::kWrite)) return NoRight(name, "resize");
  const bool shrinks = size_bytes < volume->size_bytes();
  if (shrinks) RETURN_IF_ERROR(CheckMayShrink(parts_, *volume));
  const VolumeType* const type = volume->node().FindType(record.type);
  if (type != nullptr && (size_bytes > type->greatest_bytes || size_bytes < type->least_bytes)) {
    return Error{Errc::kRange, StrCat(name, ": type ", type->name, " allows ", type->least_bytes,
                                      " to ", type->greatest_bytes, " bytes")};
  }
  RETURN_IF_ERROR(volume->node().CheckAnswers());
  RETURN_IF_ERROR(
      volume->opens().Add(Volume::Access::kWrite));  // keeps it from being deleted meanwhile
  Status done = shrinks ? Shrink(*volume, size_bytes) : volume->Grow(size_bytes);
  if (done.ok() && !shrinks) done = volume->Sync();
  volume->opens().Remove(Volume::Access::kWrite);
  RETURN_IF_ERROR(done);
  parts_.events.Emit("resized", name, volume->id(), "");
  return OkStatus();
}

}  // namespace volfs
