#include "blockstore/volume/volume.h"

#include <algorithm>
#include <cassert>

#include "blockstore/base/sabotage.h"
#include "blockstore/base/str_cat.h"

namespace volfs {

Volume::Volume(const VolumeContext& context, Node& node, VolumeRecord record, Layer* head)
    : context_(context),
      node_(node),
      state_(node, record),
      opens_(state_),
      map_(context, state_, opens_, record.size_bytes, head),
      native_(context, state_, opens_, map_),
      committed_(std::move(record)) {}

Volume::~Volume() = default;

// --- size --------------------------------------------------------------------------------------

Status Volume::Grow(uint64_t size_bytes) {
  ASSIGN_OR_RETURN(const MapRefCount::Ref use, map_.Acquire());
  RETURN_IF_ERROR(state_.CheckWritable());
  if (size_bytes > this->size_bytes()) RETURN_IF_ERROR(node_.catalog().CheckReserve());
  const Gate::Passage passage = map_.gate().Enter();
  return GrowTo(size_bytes);
}

Status Volume::GrowTo(uint64_t size_bytes) {
  native_.RefreshFromFile();
  MutexLock growing(map_.grow_mu());
  if (size_bytes <= this->size_bytes()) return OkStatus();
  const VolumeRecord now = record();
  const VolumeType* const type = node_.FindType(now.type);
  const uint64_t greatest = type != nullptr ? type->greatest_bytes : kMaxVolumeBytes;
  if (size_bytes > greatest) {
    return Error{Errc::kFileTooBig,
                 StrCat(now.name, ": cannot grow to ", size_bytes, " bytes: volumes of type ",
                        now.type, " have at most ", greatest)};
  }
  RETURN_IF_ERROR(head()->SetSize(size_bytes));
  map_.Grow(size_bytes);
  state_.SetSize(size_bytes);
  state_.Touch();
  NoteUnsynced();
  return OkStatus();
}

// --- attributes, name, deletion -----------------------------------------------------------------

Status Volume::CloseGate(Nanoseconds patience) {
  if (map_.gate().Close(MonotonicNow() + patience)) return OkStatus();
  return Error{Errc::kBusy, StrCat(name(),
                                   ": its writes in flight did not end within 1 s; try again, or "
                                   "look at the node's disk")};
}
// ----------------------------------------------------------------------

Status Volume::SyncAttributes() {
  const Attributes now = attributes();
  {
    MutexLock lock(meta_mu_);
    if (now == committed_.attributes || state_.read_only() || state_.deleted()) return OkStatus();
  }
  // Looked at again inside of the slot: another caller, whose change came later, may have committed
  // first, and must not be undone.
  Status done = slot_.RunAlone([&] {
    return CommitRecord([this](VolumeRecord& record) { record.attributes = attributes(); });
  });
  if (!done.ok() || PendingWork() == 0) state_.NoteTrouble(done);
  return done;
}

Status Volume::Rename(const std::string& name) {
  return slot_.RunAlone([&]() -> Status {
    if (!Sabotaged(Sabotage::kRenameUncommitted)) {
      RETURN_IF_ERROR(CommitRecord([&](VolumeRecord& record) { record.name = name; }));
    }
    // Before the next batch takes the record, or it would commit the old name again.
    state_.SetName(name);
    return OkStatus();
  });
}

Status Volume::CommitRecord(const std::function<void(VolumeRecord&)>& change) {
  if (state_.deleted()) return Error{Errc::kNotFound, StrCat(name(), ": it was deleted")};
  VolumeRecord next;
  {
    MutexLock lock(meta_mu_);
    next = committed_;
  }
  change(next);
  RETURN_IF_ERROR(node_.catalog().Commit({PutVolume{next}}));
  MutexLock lock(meta_mu_);
  committed_ = std::move(next);
  return OkStatus();
}

Status Volume::CommitDeletion(const CatalogChange& change) {
  return slot_.RunAlone([&]() -> Status {
    const bool commits = !Sabotaged(Sabotage::kDeleteUncommitted);
    const Status done = commits ? node_.catalog().Commit(change, Room::kFree) : OkStatus();
    if (done.ok()) state_.SetDeleted();
    if (!done.ok() && !RefusedCleanly(done.error())) return state_.Fail(done.error());
    return done;
  });
}

}  // namespace volfs
