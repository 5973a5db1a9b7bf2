#include "blockstore/volume/volume.h"

#include <algorithm>
#include <cassert>

#include "blockstore/base/log.h"
#include "blockstore/base/sabotage.h"
#include "blockstore/base/str_cat.h"

namespace volfs {

Volume::Volume(const VolumeContext& context, Node& node, VolumeRecord record, Layer* head)
    : context_(context),
      node_(node),
      id_(record.id),
      size_bytes_(record.size_bytes),
      mtime_ns_(record.attributes.mtime_ns),
      head_(head),
      record_(record),
      committed_(std::move(record)) {}

Volume::~Volume() = default;

std::string Volume::name() const {
  MutexLock lock(meta_mu_);
  return record_.name;
}

Attributes Volume::attributes() const {
  MutexLock lock(meta_mu_);
  Attributes attributes = record_.attributes;
  attributes.mtime_ns = std::max(attributes.mtime_ns, mtime_ns_.load(std::memory_order_relaxed));
  return attributes;
}

VolumeRecord Volume::record() const {
  const Attributes now = attributes();
  MutexLock lock(meta_mu_);
  VolumeRecord record = record_;
  record.attributes = now;
  return record;
}

std::string Volume::failure() const {
  {
    MutexLock lock(meta_mu_);
    if (!failure_.empty()) return failure_;
  }
  return node_.catalog().fence_reason();
}

std::string Volume::trouble() const {
  std::string why = failure();
  if (!why.empty()) return why;
  MutexLock lock(meta_mu_);
  return refusal_;
}

// A success is one of all that was pending.
void Volume::NoteTrouble(const Status& commit) {
  MutexLock lock(meta_mu_);
  refusal_ =
      commit.ok() ? "" : StrCat("not durable yet, and tried again: ", commit.error().message);
}

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

Status Volume::CheckWritable() const {
  const bool refused = node_.catalog().fenced() || node_.catalog().read_only();
  if (!read_only_.load(std::memory_order_acquire) && !refused) return OkStatus();
  RETURN_IF_ERROR(node_.CheckChanges());
  if (node_.catalog().lost()) {
    return Error{Errc::kIo, StrCat(name(), ": node ", node_.name(),
                                   " can no longer be written: ", node_.catalog().fence_reason())};
  }
  // Of its own, or what became of its node's last commit is not known: nothing may be acknowledged
  // any more.
  return Error{Errc::kReadOnly,
               StrCat(name(), ": read-only until the next mount, since ", failure())};
}

// What was written since the last success is of unknown state: nothing may be acknowledged any
// more.
Error Volume::Fail(const Error& error) {
  bool first = false;
  {
    MutexLock lock(meta_mu_);
    first = failure_.empty();
    if (first) failure_ = error.message;
  }
  read_only_.store(true, std::memory_order_release);
  if (first) LogError(StrCat(name(), " is read-only until the next mount: ", error.message));
  return error;
}

void Volume::Refuse(const std::string& why) {
  {
    MutexLock lock(meta_mu_);
    failure_ = StrCat("its catalog rows contradict each other: ", why,
                      "; none of it is shown, changed or freed. Unmount, then run `volfs check`");
  }
  read_only_.store(true, std::memory_order_release);
  if (!refused_.exchange(true)) LogError(StrCat(name(), ": ", failure()));
}

// --- size --------------------------------------------------------------------------------------

Status Volume::Grow(uint64_t size_bytes) {
  ASSIGN_OR_RETURN(const MapRefCount::Ref use, AcquireMap());
  RETURN_IF_ERROR(CheckWritable());
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
  {
    MutexLock lock(meta_mu_);
    record_.size_bytes = size_bytes;
  }
  mtime_ns_.store(WallNowCoarse().count(), std::memory_order_relaxed);
  size_bytes_.store(size_bytes, std::memory_order_release);
  NoteUnsynced();
  return OkStatus();
}

// --- attributes and opens ----------------------------------------------------------------------

void Volume::ChangeAttributes(const std::function<void(Attributes&)>& change) {
  MutexLock lock(meta_mu_);
  Attributes& attributes = record_.attributes;
  attributes.mtime_ns = std::max(attributes.mtime_ns, mtime_ns_.load());
  change(attributes);
  mtime_ns_.store(attributes.mtime_ns);
}

Status Volume::SyncAttributes() {
  const Attributes now = attributes();
  {
    MutexLock lock(meta_mu_);
    if (now == committed_.attributes || !failure_.empty() || deleted_.load()) return OkStatus();
  }
  // Looked at again inside of the slot: another caller, whose change came later, may have committed
  // first, and must not be undone.
  Status done = slot_.RunAlone([&] {
    return CommitRecord([this](VolumeRecord& record) { record.attributes = attributes(); });
  });
  if (!done.ok() || PendingWork() == 0) NoteTrouble(done);
  return done;
}

Status Volume::Rename(const std::string& name) {
  return slot_.RunAlone([&]() -> Status {
    if (!Sabotaged(Sabotage::kRenameUncommitted)) {
      RETURN_IF_ERROR(CommitRecord([&](VolumeRecord& record) { record.name = name; }));
    }
    // Before the next batch takes the record, or it would commit the old name again.
    MutexLock lock(meta_mu_);
    record_.name = name;
    return OkStatus();
  });
}

Status Volume::CommitRecord(const std::function<void(VolumeRecord&)>& change) {
  if (deleted_.load()) return Error{Errc::kNotFound, StrCat(name(), ": it was deleted")};
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

Status Volume::AddOpen(Access access, bool creates) {
  if (access == Access::kWrite) {
    RETURN_IF_ERROR(CheckWritable());
    if (!creates && (attributes().mode & 0222) == 0) {
      return Error{Errc::kReadOnly, StrCat(name(),
                                           ": its mode has no w bit; `chmod u+w` "
                                           "makes it writable")};
    }
  }
  {
    MutexLock lock(open_mu_);
    if (reverting_) return Error{Errc::kBusy, StrCat(name(), ": it is being reverted")};
    if (!deleting_) {
      ++(access == Access::kRead ? readers_ : writers_);
      return OkStatus();
    }
  }
  return Error{Errc::kNotFound, StrCat(name(), ": it is being deleted")};
}

void Volume::RemoveOpen(Access access) {
  std::function<void()> gone;
  {
    MutexLock lock(open_mu_);
    int& count = access == Access::kRead ? readers_ : writers_;
    assert(count > 0);
    --count;
    if (readers_ + writers_ == 0) std::swap(gone, gone_);
  }
  if (gone) gone();
}

int Volume::readers() const {
  MutexLock lock(open_mu_);
  return readers_;
}

int Volume::writers() const {
  MutexLock lock(open_mu_);
  return writers_;
}

bool Volume::deleting() const {
  MutexLock lock(open_mu_);
  return deleting_;
}

Status Volume::BeginRevert() {
  {
    MutexLock lock(open_mu_);
    if (deleting_) return Error{Errc::kBusy, StrCat(name(), ": it is being deleted")};
    if (!reverting_ && readers_ + writers_ == 0) {
      reverting_ = true;
      return OkStatus();
    }
  }
  return Error{Errc::kBusy, StrCat(name(),
                                   ": it is open, and its contents cannot change under a reader; "
                                   "detach or close it first (`volfs status ",
                                   name(), "` and `fuser` show the processes)")};
}

void Volume::EndRevert() {
  MutexLock lock(open_mu_);
  reverting_ = false;
}

Status Volume::BeginDelete() {
  {
    MutexLock lock(open_mu_);
    if (reverting_) return Error{Errc::kBusy, StrCat(name(), ": it is being reverted; try again")};
    if (!deleting_ && writers_ == 0) {
      deleting_ = true;
      return OkStatus();
    }
  }
  return Error{Errc::kBusy,
               StrCat(name(), ": it is open for writing; detach or close it first (`volfs status ",
                      name(), "` and `fuser` show the processes)")};
}

void Volume::AbortDelete() {
  MutexLock lock(open_mu_);
  deleting_ = false;
}

Status Volume::CommitDeletion(const CatalogChange& change) {
  return slot_.RunAlone([&]() -> Status {
    const bool commits = !Sabotaged(Sabotage::kDeleteUncommitted);
    const Status done = commits ? node_.catalog().Commit(change, Room::kFree) : OkStatus();
    if (done.ok()) deleted_.store(true);
    if (!done.ok() && !RefusedCleanly(done.error())) return Fail(done.error());
    return done;
  });
}

void Volume::FinishDelete(std::function<void()> gone) {
  {
    MutexLock lock(open_mu_);
    assert(deleting_);
    if (readers_ + writers_ > 0) {
      gone_ = std::move(gone);
      return;
    }
  }
  gone();
}

}  // namespace volfs
