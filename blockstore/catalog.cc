#include "blockstore/catalog.h"

#include <atomic>
#include <cassert>
#include <utility>

#include "blockstore/catalog_ballast.h"
#include "blockstore/catalog_format.h"
#include "blockstore/catalog_schema.h"
#include "blockstore/catalog_tables.h"
#include "blockstore/log.h"
#include "blockstore/memory.h"
#include "blockstore/node_directory.h"
#include "blockstore/runtime.h"
#include "blockstore/sabotage.h"

namespace volfs {

using catalog::Connection;
using catalog::Tables;

// How a commit that fails is told apart (rule 2.5 of the order of writes):
//   - refused (kExists, kInvalid): by a constraint, before COMMIT. As pages never spill, nothing of
//     it was written. Rolled back; nothing happened.
//   - no room (kNoSpace, kQuota): a write of COMMIT into the WAL failed. What was written of it
//   must
//     never be taken for a commit by a recovery: if the file were extended, it would be cut off,
//     but where the WAL is used again there are old bytes, which may be what would have been
//     written; and SQLite may have failed after the last frame. So the WAL is read as a recovery
//     would (a transaction is a chain of frames with a checksum over all of them, and counts only
//     as a whole). If the transaction is whole, its first frame is overwritten by another, the
//     "seal": a transaction of one page that was never written before. If that fails: outcome
//     unknown. Otherwise nothing happened, and it is tried again: first after a checkpoint, with
//     the WAL from its beginning, then without the ballast.
//   - anything else: outcome unknown; fenced.
class Catalog::Impl {
 public:
  explicit Impl(NodeDirectory& directory) : directory_(directory) {}
  ~Impl();

  Status Create(const NodeRecord& node) VOLFS_EXCLUDES(db_mu_);
  Status Open() VOLFS_EXCLUDES(db_mu_);

  Result<CatalogContents> Load() VOLFS_EXCLUDES(db_mu_);
  Status LoadPresence(Id layer, const std::function<void(const PresenceRun&)>& visit)
      VOLFS_EXCLUDES(db_mu_);
  Result<PresenceChunk> LoadChunk(Id layer, uint64_t chunk, uint64_t* alike) VOLFS_EXCLUDES(db_mu_);
  Status Verify() VOLFS_EXCLUDES(db_mu_);

  Status Commit(const CatalogChange& change) VOLFS_EXCLUDES(queue_mu_, db_mu_);
  Status Checkpoint() VOLFS_EXCLUDES(db_mu_);

  [[nodiscard]] bool fenced() const { return fenced_; }
  [[nodiscard]] bool read_only() const { return read_only_; }
  void BecomeReadOnly() { read_only_ = true; }
  [[nodiscard]] uint64_t commits() const { return commits_; }

 private:
  struct Pending {  // a Commit that has not returned; on its caller's stack
    const CatalogChange* change;
    Status result = OkStatus();
    bool done = false;
  };
  using Group = std::vector<Pending*>;

  // True: the caller leads, and `group` is what it must apply. False: somebody else has done it.
  bool LeadOrWait(Pending& mine, Group& group) VOLFS_EXCLUDES(queue_mu_);
  void Finish(const Group& group) VOLFS_EXCLUDES(queue_mu_);

  void ApplyLocked(const Group& group) VOLFS_REQUIRES(db_mu_);
  Status ApplyAloneLocked(const CatalogChange& change) VOLFS_REQUIRES(db_mu_);
  // All of it, or rolled back.
  template <typename Body>
  Status TransactLocked(const Body& body) VOLFS_REQUIRES(db_mu_);
  // TransactLocked of the group; without room, it is then certain that nothing happened, or fenced.
  Status AttemptLocked(const Group& group) VOLFS_REQUIRES(db_mu_);
  Error FenceLocked(Error error) VOLFS_REQUIRES(db_mu_);
  // Make room for a commit: true if it is worth another attempt.
  bool ReuseWalLocked() VOLFS_REQUIRES(db_mu_);
  bool ReleaseBallastLocked() VOLFS_REQUIRES(db_mu_);
  void RestoreBallast() VOLFS_EXCLUDES(db_mu_);
  [[nodiscard]] Status CheckNotFenced() const;

  static bool IsNoRoom(Errc code) { return code == Errc::kNoSpace || code == Errc::kQuota; }
  static bool IsClean(Errc code) {  // nothing happened
    return IsNoRoom(code) || code == Errc::kExists || code == Errc::kInvalid;
  }

  NodeDirectory& directory_;
  std::string where_;
  std::atomic<bool> fenced_{false};
  std::atomic<bool> read_only_{false};
  std::atomic<uint64_t> commits_{0};

  // Who waits for a group to be applied. Never held together with db_mu_.
  Mutex queue_mu_;
  Condition queue_changed_;
  Group queue_ VOLFS_GUARDED_BY(queue_mu_);
  bool leading_ VOLFS_GUARDED_BY(queue_mu_) = false;

  // The connection. Held over its I/O, which is what it serializes.
  Mutex db_mu_;
  std::unique_ptr<Connection> connection_ VOLFS_GUARDED_BY(db_mu_);
  std::unique_ptr<Tables> tables_ VOLFS_GUARDED_BY(db_mu_);  // ends before the connection
  bool checkpoint_due_ VOLFS_GUARDED_BY(db_mu_) = false;  // something was committed since the last
  bool ballast_missing_ VOLFS_GUARDED_BY(db_mu_) = false;
  bool making_ballast_ VOLFS_GUARDED_BY(db_mu_) = false;
};

Catalog::Impl::~Impl() {
  MutexLock lock(db_mu_);
  // The WAL is complete without this; it would only keep growing.
  if (!tables_ || fenced_ || read_only_) return;
  if (checkpoint_due_ && !connection_->Checkpoint().ok()) return;
  connection_->EmptyWal();
}

Status Catalog::Impl::Create(const NodeRecord& node) {
  const CatalogChange change{PutNode{node}};
  VOLFS_TRY(catalog::ValidateChange(change));
  MutexLock lock(db_mu_);
  if (directory_.sqlite_vfs() == nullptr) {
    // SQLite would make it readable for everybody; its other files get the mode of this one. Only
    // ever made, never opened, here: closing a descriptor would drop SQLite's own locks.
    const auto made = directory_.Open(catalog::kDatabaseName, OpenMode::kCreateNew);
    if (!made.ok() && made.error().code != Errc::kExists) return made.error();
  }
  VOLFS_ASSIGN(connection_, Connection::Open(directory_, Connection::Mode::kMakeIfMissing));
  where_ = connection_->where();
  VOLFS_ASSIGN(const catalog::Format format, catalog::ReadFormat(*connection_));
  if (!format.empty) return Error{Errc::kExists, Text(where_, ": there is one already")};
  VOLFS_TRY(connection_->UseWal());
  const Status ballast = catalog::MakeBallast(directory_);
  if (!ballast.ok() && !IsNoRoom(ballast.error().code)) return ballast;
  ballast_missing_ = !ballast.ok();  // Checkpoint makes it when there is room
  auto tables = std::make_unique<Tables>(*connection_);
  VOLFS_TRY(tables->Begin());
  VOLFS_TRY(catalog::CreateTables(*connection_));
  VOLFS_TRY(tables->Apply(change));
  VOLFS_TRY(tables->Commit());
  checkpoint_due_ = true;
  VOLFS_TRY(directory_.SyncNames());
  tables_ = std::move(tables);
  return OkStatus();
}

namespace {

// After a failed sync of an earlier mount the page cache may show frames of the WAL that are not on
// disk. Taken for real they would be built on, and a power loss would cut off all that follows
// them. So they are forgotten, before SQLite has a descriptor of these files: closing one of ours
// later would drop its locks.
void ForgetCache(NodeDirectory& directory) {
  for (const char* name : {catalog::kDatabaseName, catalog::kWalName}) {
    const auto file = directory.Open(name, OpenMode::kReadOnly);
    if (!file.ok()) continue;  // SQLite will say what is wrong with it
    const Result<uint64_t> size_bytes = file.value()->Size();
    if (size_bytes.ok()) file.value()->DropCache({0, size_bytes.value()});
  }
}

}  // namespace

Status Catalog::Impl::Open() {
  MutexLock lock(db_mu_);
  ForgetCache(directory_);
  VOLFS_ASSIGN(connection_, Connection::Open(directory_, Connection::Mode::kOpenExisting));
  where_ = connection_->where();
  VOLFS_ASSIGN(const catalog::Format format, catalog::ReadFormat(*connection_));
  // Before anything is made of what it says: of a damaged log SQLite reads less, or nothing.
  VOLFS_TRY(connection_->CheckFiles());
  if (format.empty) {
    return Error{Errc::kNotFound, Text(where_, ": its creation did not finish")};
  }
  read_only_ = format.read_only;
  if (!read_only_) VOLFS_TRY(connection_->UseWal());
  ballast_missing_ = !catalog::HasBallast(directory_);
  tables_ = std::make_unique<Tables>(*connection_);
  return OkStatus();
}

Status Catalog::Impl::CheckNotFenced() const {
  if (!fenced_) return OkStatus();
  return Error{Errc::kIo,
               Text(where_, ": fenced after an earlier error; mount the node again to recover")};
}

Result<CatalogContents> Catalog::Impl::Load() {
  MutexLock lock(db_mu_);
  const NodeCalls::Call call(*directory_.calls(), NodeCalls::Kind::kRead);
  VOLFS_TRY(CheckNotFenced());
  return tables_->Load();
}

Status Catalog::Impl::LoadPresence(Id layer, const std::function<void(const PresenceRun&)>& visit) {
  const Result<catalog::PresenceImage> image = [&]() -> Result<catalog::PresenceImage> {
    MutexLock lock(db_mu_);
    const NodeCalls::Call call(*directory_.calls(), NodeCalls::Kind::kRead);
    VOLFS_TRY(CheckNotFenced());
    return tables_->presence().Read(layer);
  }();
  if (!image.ok()) return image.error();
  return image.value().Visit(layer, where_, visit);
}

Result<PresenceChunk> Catalog::Impl::LoadChunk(Id layer, uint64_t chunk, uint64_t* alike) {
  MutexLock lock(db_mu_);
  const NodeCalls::Call call(*directory_.calls(), NodeCalls::Kind::kRead);
  VOLFS_TRY(CheckNotFenced());
  return tables_->presence().ReadChunk(layer, chunk, alike);
}

Status Catalog::Impl::Verify() {
  MutexLock lock(db_mu_);
  VOLFS_TRY(CheckNotFenced());
  return tables_->Verify();
}

Status Catalog::Impl::Commit(const CatalogChange& change) {
  VOLFS_TRY(CheckNotFenced());
  if (read_only_) {
    return Error{Errc::kReadOnly,
                 directory_.read_only()
                     ? Text(where_, ": it is mounted for reading only; mount it without `ro`")
                     : Text(where_, ": it has a feature with which this volfs may only read it")};
  }
  VOLFS_TRY(catalog::ValidateChange(change));
  if (change.empty()) return OkStatus();
  Pending mine{&change};
  Group group;
  if (!LeadOrWait(mine, group)) return mine.result;
  {
    MutexLock lock(db_mu_);
    const NodeCalls::Call call(*directory_.calls(), NodeCalls::Kind::kCommit);
    ApplyLocked(group);
  }
  Finish(group);
  return mine.result;
}

bool Catalog::Impl::LeadOrWait(Pending& mine, Group& group) {
  MutexLock lock(queue_mu_);
  queue_.push_back(&mine);
  while (leading_ && !mine.done) queue_changed_.Wait(queue_mu_);
  if (mine.done) return false;
  leading_ = true;
  group.swap(queue_);
  return true;
}

void Catalog::Impl::Finish(const Group& group) {
  MutexLock lock(queue_mu_);
  for (Pending* pending : group) pending->done = true;  // it may be gone once the lock is
  assert(leading_);
  leading_ = false;
  queue_changed_.NotifyAll();
}

void Catalog::Impl::ApplyLocked(const Group& group) {
  if (group.size() > 1 && !fenced_) {
    Status together = AttemptLocked(group);
    const bool retry = !together.ok() && !fenced_ && IsClean(together.error().code);
    if (!retry) {
      if (!together.ok()) together = FenceLocked(together.error());
      for (Pending* pending : group) pending->result = together;
      return;
    }
    // One of them is refused, or is too big: the others shall not suffer for it.
  }
  for (Pending* pending : group) {
    pending->result = fenced_ ? CheckNotFenced() : ApplyAloneLocked(*pending->change);
  }
}

Status Catalog::Impl::ApplyAloneLocked(const CatalogChange& change) {
  Pending pending{&change};
  const Group group{&pending};
  const auto no_room = [this](const Status& status) {
    return !status.ok() && !fenced_ && IsNoRoom(status.error().code);
  };
  Status status = AttemptLocked(group);
  if (no_room(status) && ReuseWalLocked()) status = AttemptLocked(group);
  if (no_room(status) && ReleaseBallastLocked()) status = AttemptLocked(group);
  if (Sabotaged(Sabotage::kBelieveCommit)) return OkStatus();
  if (status.ok() || (!fenced_ && IsClean(status.error().code))) return status;
  return FenceLocked(status.error());
}

template <typename Body>
Status Catalog::Impl::TransactLocked(const Body& body) {
  Status status = tables_->Begin();
  if (status.ok()) status = body();
  if (status.ok()) status = tables_->Commit();
  if (status.ok()) {
    ++commits_;
    checkpoint_due_ = true;
    return status;
  }
  // If even that fails the connection's state is unknown, whatever the first error was.
  VOLFS_TRY(tables_->Rollback());
  return status;
}

Status Catalog::Impl::AttemptLocked(const Group& group) {
  connection_->NoteWal();
  Tables& tables = *tables_;
  Status status = TransactLocked([&group, &tables]() -> Status {
    for (const Pending* pending : group) VOLFS_TRY(tables.Apply(*pending->change));
    return OkStatus();
  });
  if (status.ok() || !IsNoRoom(status.error().code)) return status;
  if (!connection_->FailedCommitIsTorn()) {
    const Status sealed = TransactLocked([&tables] { return tables.Seal(); });
    if (!sealed.ok()) fenced_ = true;
  }
  return status;
}

Error Catalog::Impl::FenceLocked(Error error) {
  if (Sabotaged(Sabotage::kRefuseUnknown)) return Error{Errc::kNoSpace, error.message};
  fenced_ = true;
  if (error.code != Errc::kCorrupt) error.code = Errc::kIo;
  error.message +=
      "; whether the change is durable is not known; the node is fenced until it is "
      "mounted again";
  return error;
}

// A WAL that is in the database is written anew from its beginning, in room that it has already.
bool Catalog::Impl::ReuseWalLocked() {
  if (!checkpoint_due_) return false;
  const Status status = connection_->Checkpoint();
  if (status.ok()) checkpoint_due_ = false;
  if (!status.ok() && !IsNoRoom(status.error().code)) fenced_ = true;
  return status.ok();
}

bool Catalog::Impl::ReleaseBallastLocked() {
  if (fenced_ || ballast_missing_ || making_ballast_) return false;
  ballast_missing_ = true;
  if (!catalog::RemoveBallast(directory_)) return false;
  (void)ReuseWalLocked();  // the database can grow now, so that the WAL need not
  return !fenced_;
}

Status Catalog::Impl::Checkpoint() {
  if (read_only_) return OkStatus();
  {
    MutexLock lock(db_mu_);
    const NodeCalls::Call call(*directory_.calls(), NodeCalls::Kind::kCommit);
    VOLFS_TRY(CheckNotFenced());
    Status status = connection_->Checkpoint();
    if (!status.ok() && IsNoRoom(status.error().code) && ReleaseBallastLocked()) {
      status = connection_->Checkpoint();
    }
    if (!status.ok()) {
      // Without room the WAL just stays as it is, and with it every commit.
      if (IsNoRoom(status.error().code)) return status;
      return FenceLocked(status.error());
    }
    checkpoint_due_ = false;
  }
  RestoreBallast();
  return OkStatus();
}

// Without the lock while it writes: commits go on.
void Catalog::Impl::RestoreBallast() {
  {
    MutexLock lock(db_mu_);
    if (!ballast_missing_ || making_ballast_) return;
    making_ballast_ = true;
  }
  const bool made = catalog::HasRoomForBallast(directory_) && catalog::MakeBallast(directory_).ok();
  MutexLock lock(db_mu_);
  making_ballast_ = false;
  ballast_missing_ = !made;
}

Catalog::Catalog(NodeDirectory& directory) : impl_(std::make_unique<Impl>(directory)) {}
Catalog::~Catalog() = default;

Result<std::unique_ptr<Catalog>> Catalog::Create(NodeDirectory& directory, const NodeRecord& node) {
  std::unique_ptr<Catalog> catalog(new Catalog(directory));
  VOLFS_TRY(catalog->impl_->Create(node));
  return catalog;
}

Result<std::unique_ptr<Catalog>> Catalog::Open(NodeDirectory& directory) {
  std::unique_ptr<Catalog> catalog(new Catalog(directory));
  VOLFS_TRY(catalog->impl_->Open());
  return catalog;
}

Result<CatalogContents> Catalog::Load() { return impl_->Load(); }
Status Catalog::LoadPresence(Id layer, const std::function<void(const PresenceRun&)>& visit) {
  return impl_->LoadPresence(layer, visit);
}
Result<PresenceChunk> Catalog::LoadChunk(Id layer, uint64_t chunk, uint64_t* alike) {
  return impl_->LoadChunk(layer, chunk, alike);
}
// A change that fails half way for want of memory would fence the node.
Status Catalog::Commit(CatalogChange change) {
  const AllocationScope scope(Allocations::kWait);
  return impl_->Commit(change);
}
Status Catalog::Checkpoint() {
  const AllocationScope scope(Allocations::kWait);
  return impl_->Checkpoint();
}
Status Catalog::Verify() { return impl_->Verify(); }
bool Catalog::fenced() const { return impl_->fenced(); }
void Catalog::BecomeReadOnly() { impl_->BecomeReadOnly(); }
bool Catalog::read_only() const { return impl_->read_only(); }
uint64_t Catalog::commits() const { return impl_->commits(); }

}  // namespace volfs
