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
      size_bytes_(record.size_bytes),
      head_(head),
      committed_(std::move(record)) {}

Volume::~Volume() = default;

Layer* Volume::head() const {
  ReaderLock lock(map_mu_);
  return head_;
}

Volume::Lookup Volume::Find(uint64_t block) const {
  assert(loaded());
  ReaderLock lock(map_mu_);
  // Who looked at the size before it shrank may ask for what is past the map's end.
  if (block >= map_.size()) {
    const uint64_t end = BlocksFor(kMaxVolumeBytes, context_.block_size) + 1;
    return {Extent{block, end - block, LayerRef::kHole}, head_};
  }
  return {map_.Find(block), head_};
}

void Volume::RecordWritten(const BlockRange& blocks, Layer* head, BlockState state) {
  // The pending set first: once the map says "here" another writer may overwrite in place, and its
  // fsync must find the block in the set.
  if (!Sabotaged(Sabotage::kMapBeforePending)) head->MarkPending(blocks, state);
  {
    WriterLock lock(map_mu_);
    assert(head == head_ || Sabotaged(Sabotage::kSkipDrain));
    map_.Assign(blocks, state == BlockState::kPresent ? head->ref() : LayerRef::kHole);
  }
  if (Sabotaged(Sabotage::kMapBeforePending)) head->MarkPending(blocks, state);
}

// --- size --------------------------------------------------------------------------------------

Status Volume::Grow(uint64_t size_bytes) {
  ASSIGN_OR_RETURN(const MapRefCount::Ref use, AcquireMap());
  RETURN_IF_ERROR(state_.CheckWritable());
  if (size_bytes > this->size_bytes()) RETURN_IF_ERROR(node_.catalog().CheckReserve());
  const Gate::Passage passage = gate_.Enter();
  return GrowTo(size_bytes);
}

Status Volume::GrowTo(uint64_t size_bytes) {
  RefreshFromFile();
  MutexLock growing(grow_mu_);
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
  {
    // The map first: whoever sees the new size must find its blocks. A flat head's new blocks are
    // in the head; else they are a hole, which the first write of each turns into "here".
    WriterLock lock(map_mu_);
    const uint64_t old_blocks = map_.size();
    const uint64_t blocks = BlocksFor(size_bytes, context_.block_size);
    map_.Resize(blocks);
    if (head_->flat()) map_.Assign({old_blocks, blocks - old_blocks}, head_->ref());
  }
  state_.SetSize(size_bytes);
  state_.Touch();
  size_bytes_.store(size_bytes, std::memory_order_release);
  NoteUnsynced();
  return OkStatus();
}

// --- attributes, name, deletion
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
