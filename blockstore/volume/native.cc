// Volumes whose file the kernel reads and writes by itself (io=native).
#include <algorithm>

#include "blockstore/base/log.h"
#include "blockstore/base/str_cat.h"
#include "blockstore/volume/volume.h"

namespace volfs {

Result<Descriptor> Volume::BeginNative() {
  ASSIGN_OR_RETURN(const MapRefCount::Ref use, map_.Acquire());
  // Inside the gate: whoever takes an instant meanwhile sees either this or no native open.
  const Gate::Passage passage = map_.gate().Enter();
  const Epoch::Reader reader = context_.epoch.Enter();
  Layer* const raw = head();
  if (!raw->flat() || raw->failed()) return Descriptor();  // ... what failed can still be read
  ASSIGN_OR_RETURN(Layer::Lent lent, raw->ExportDescriptor(OpenFiles::For::kWrite));
  if (!lent.file.ok()) return Descriptor();
  if (!native()) RETURN_IF_ERROR(TakeSizeFromFile(Time::kIgnored));
  native_.fetch_add(1);
  MutexLock lock(meta_mu_);
  lent_.push_back(std::move(lent.use));
  return std::move(lent.file);
}

void Volume::EndNative() {
  RefreshFromFile();
  // The kernel's own cache of the image knows nothing of what was written.
  opens_.AgeCaches();
  native_.fetch_sub(1);
  OpenFiles::Use ended;  // outlives the lock
  MutexLock lock(meta_mu_);
  ended = std::move(lent_.back());
  lent_.pop_back();
}

void Volume::RefreshFromFile() {
  if (const Status done = LearnSize(); !done.ok()) {
    LogWarning(StrCat(name(), ": its size is not known: ", done.error().message));
  }
}

Status Volume::LearnSize() {
  if (!native()) return OkStatus();
  // Its map was loaded before it was native, and stays: none is loaded with the size of before.
  const MapRefCount::Ref use = map_.Enter();
  return native() ? TakeSizeFromFile(Time::kTaken) : OkStatus();
}

Status Volume::TakeSizeFromFile(Time time) {
  MutexLock growing(map_.grow_mu());
  const Epoch::Reader reader = context_.epoch.Enter();
  Layer* const raw = head();
  if (!raw->flat()) return OkStatus();  // closed since, and an instant was taken
  ASSIGN_OR_RETURN(const NodeFile::State file, raw->TakeSizeFromFile());
  map_.Grow(file.size_bytes);
  state_.RaiseSize(file.size_bytes);
  // Only what is new: utimensat may have set an older one.
  const bool changed = followed_mtime_ns_.exchange(file.mtime_ns) != file.mtime_ns;
  if (changed && time == Time::kTaken) state_.SetModified(file.mtime_ns);
  return OkStatus();
}

Status Volume::AdoptAfterCrash() {
  const Status adopted = AdoptIfAlone();
  if (adopted.ok()) return adopted;
  closed_by_mount_ = true;
  return state_.Fail(adopted.error());
}

Status Volume::AdoptIfAlone() {
  if (!head()->flat() || !head()->record().has_file) return OkStatus();
  RETURN_IF_ERROR(TakeSizeFromFile(Time::kIgnored));
  ASSIGN_OR_RETURN(const bool written, head()->WrittenElsewhere());
  if (!written) return OkStatus();
  return Error{Errc::kBusy,
               "a process that had it open with io=native when the last mount died still has: "
               "end that process (`fuser`, `losetup`), then unmount and mount again"};
}

Status Volume::CheckNotNative(std::string_view what) const {
  if (!native()) return OkStatus();
  return Error{Errc::kBusy,
               StrCat(name(),
                      ": it is open with io=native, where the kernel writes it without "
                      "asking: ",
                      what,
                      " has to wait until it is closed (or, once closed, ask for the other "
                      "mode: `echo daemon > control/volumes/",
                      name(), "/io`)")};
}

// Inside slot_. What is written from here on may be in it or not: the instant is the host's.
Result<Volume::FrozenHead> Volume::CloneFile(const Extra& extra) {
  RETURN_IF_ERROR(TakeSizeFromFile(Time::kTaken));
  LayerRecord record;
  record.id = NewId();
  record.size_bytes = size_bytes();
  Layer* const fresh = context_.layers.Add(&node_, std::move(record), LayerTable::Origin::kNew);
  const auto clone = [&]() -> Status {
    RETURN_IF_ERROR(fresh->CreateFile());
    ASSIGN_OR_RETURN(const bool cloned, fresh->CloneFrom(*head()));
    if (!cloned) {
      RETURN_IF_ERROR(
          CheckNotNative("a snapshot or clone of a file that its node cannot share at once"));
      return Error{Errc::kBusy, StrCat(name(), ": it was closed just now; try again")};
    }
    RETURN_IF_ERROR(fresh->TakeSizeFromFile());  // it may have grown meanwhile
    RETURN_IF_ERROR(fresh->SyncFile());
    CatalogChange change = extra(*fresh);
    change.insert(change.begin(), PutLayer{fresh->record()});
    return CommitBatch(change, Room::kGrow);
  };
  if (const Status done = clone(); !done.ok()) {
    // If what became of the commit is not known, the next mount tells whether it is needed.
    if (RefusedCleanly(done.error())) {
      (void)fresh->RemoveFile();
      context_.layers.Remove(fresh);
    }
    return done.error();
  }
  fresh->Committed(fresh->record());
  const uint64_t size = fresh->record().size_bytes;
  ExtentMap map;
  map.Resize(BlocksFor(size, context_.block_size));
  map.Assign({0, map.size()}, fresh->ref());
  // shared_ptr: as of every instant.
  return FrozenHead{
      std::make_shared<FrozenImage>(context_.layers, std::move(map), size, context_.block_size),
      fresh};
}

}  // namespace volfs
