#include "blockstore/catalog/catalog.h"

#include <algorithm>
#include <atomic>
#include <cassert>
#include <utility>

#include "blockstore/base/memory.h"
#include "blockstore/base/runtime.h"
#include "blockstore/base/sabotage.h"
#include "blockstore/base/str_cat.h"
#include "blockstore/catalog/ballast.h"
#include "blockstore/catalog/fence.h"
#include "blockstore/catalog/format.h"
#include "blockstore/catalog/schema.h"
#include "blockstore/catalog/tables.h"
#include "blockstore/io/node_directory.h"

namespace volfs {

using catalog::Connection;
using catalog::Tables;

// How a commit that fails is told apart: catalog/wal.h.
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
  Result<std::vector<Id>> LayersWithPresence() VOLFS_EXCLUDES(db_mu_);
  Status Verify() VOLFS_EXCLUDES(db_mu_);

  Status Commit(const CatalogChange& change, Room room) VOLFS_EXCLUDES(queue_mu_, db_mu_);
  Status Checkpoint() VOLFS_EXCLUDES(db_mu_);
  Status ShortenLog() VOLFS_EXCLUDES(db_mu_);
  [[nodiscard]] bool LogIsLong() const { return log_bytes_ >= catalog::kLogLongBytes; }
  void OnLogLong(std::function<void()> wake) { on_log_long_ = std::move(wake); }

  Status CheckMayGrow() VOLFS_EXCLUDES(db_mu_);
  Status CheckReserve() VOLFS_EXCLUDES(db_mu_) {
    if (Sabotaged(Sabotage::kGrowFromReserve) || RestoreReserve()) return OkStatus();
    return NothingNew();
  }
  bool RestoreReserve() VOLFS_EXCLUDES(db_mu_);
  [[nodiscard]] uint64_t missing_reserve_bytes() const {
    return catalog::kBallastBytes - ballast_bytes_;
  }

  catalog::Fence& fence() { return fence_; }
  Status CheckPresent() { return fence_.CheckPresent(directory_); }
  [[nodiscard]] bool read_only() const { return read_only_; }
  void BecomeReadOnly() { read_only_ = true; }
  [[nodiscard]] uint64_t commits() const { return commits_; }

 private:
  struct Pending {  // a Commit that has not returned; on its caller's stack
    const CatalogChange* change;
    Room room;
    Status result = OkStatus();
    bool done = false;
  };
  using Group = std::vector<Pending*>;
  static constexpr Nanoseconds kFillPatience = std::chrono::seconds(1);

  // Returns true if the caller leads and must apply `group`, false if another caller has applied
  // it.
  bool LeadOrWait(Pending& mine, Group& group) VOLFS_EXCLUDES(queue_mu_);
  void Finish(const Group& group) VOLFS_EXCLUDES(queue_mu_);

  void ApplyLocked(const Group& group) VOLFS_REQUIRES(db_mu_);
  Status ApplyAloneLocked(const CatalogChange& change, Room room) VOLFS_REQUIRES(db_mu_);
  // All of it, or rolled back.
  template <typename Body>
  Status TransactLocked(const Body& body) VOLFS_REQUIRES(db_mu_);
  // TransactLocked of the group; without room, it is then certain that nothing happened, or fenced.
  Status AttemptLocked(const Group& group) VOLFS_REQUIRES(db_mu_);
  Error FenceLocked(Error error) VOLFS_REQUIRES(db_mu_);
  // Make room for a commit: true if it is worth another attempt.
  bool ReuseWalLocked() VOLFS_REQUIRES(db_mu_);
  bool ReleaseReserveLocked(Room room) VOLFS_REQUIRES(db_mu_);
  Status CheckpointLocked() VOLFS_REQUIRES(db_mu_);
  [[nodiscard]] Status CheckNotFenced() const { return fence_.Check(where_); }
  [[nodiscard]] Error NothingNew() const {
    return catalog::NothingNew(directory_, missing_reserve_bytes());
  }

  static bool IsNoRoom(Errc code) { return code == Errc::kNoSpace || code == Errc::kQuota; }
  static bool IsClean(Errc code) {  // nothing happened
    return IsNoRoom(code) || code == Errc::kExists || code == Errc::kInvalid;
  }

  NodeDirectory& directory_;
  std::string where_;
  catalog::Fence fence_;
  std::atomic<bool> read_only_{false};
  std::atomic<uint64_t> commits_{0};
  std::atomic<uint64_t> log_bytes_{0};  // in use
  std::atomic<uint64_t> ballast_bytes_{0};
  std::function<void()> on_log_long_;

  // For callers that wait until a group is applied. Never held together with db_mu_.
  Mutex queue_mu_;
  Condition queue_changed_;
  Group queue_ VOLFS_GUARDED_BY(queue_mu_);
  bool leading_ VOLFS_GUARDED_BY(queue_mu_) = false;

  // Serialises the connection, so it is held over its I/O.
  Mutex db_mu_;
  std::unique_ptr<Connection> connection_ VOLFS_GUARDED_BY(db_mu_);
  std::unique_ptr<Tables> tables_ VOLFS_GUARDED_BY(db_mu_);  // ends before the connection
  bool checkpoint_due_ VOLFS_GUARDED_BY(db_mu_) = false;   // something was committed since the last
  bool filling_ballast_ VOLFS_GUARDED_BY(db_mu_) = false;  // without the lock
  Condition ballast_filled_;
  Nanoseconds fill_again_at_ VOLFS_GUARDED_BY(db_mu_){0};  // after a quota refused free space
};

Catalog::Impl::~Impl() {
  MutexLock lock(db_mu_);
  // The WAL is complete without this; it would only keep growing.
  if (!tables_ || fence_.raised() || read_only_) return;
  if (checkpoint_due_ && !connection_->Checkpoint().ok()) return;
  connection_->EmptyWal();
}

Status Catalog::Impl::Create(const NodeRecord& node) {
  const CatalogChange change{PutNode{node}};
  RETURN_IF_ERROR(catalog::ValidateChange(change));
  MutexLock lock(db_mu_);
  if (directory_.sqlite_vfs() == nullptr) {
    // SQLite would make them readable for all users, and where an overwrite takes new room. They
    // are only made here, never opened: closing a descriptor would drop SQLite's own locks.
    for (const char* name : {catalog::kDatabaseName, catalog::kWalName}) {
      const auto made = directory_.Open(name, OpenMode::kCreateNew);
      if (!made.ok() && made.error().code != Errc::kExists) return made.error();
    }
  }
  ASSIGN_OR_RETURN(connection_, Connection::Open(directory_, Connection::Mode::kMakeIfMissing));
  where_ = connection_->where();
  ASSIGN_OR_RETURN(const catalog::Format format, catalog::ReadFormat(*connection_));
  if (!format.empty) return Error{Errc::kExists, StrCat(where_, ": there is one already")};
  RETURN_IF_ERROR(connection_->UseWal());
  // Without room for it the node is made all the same; nothing new can be made on it before there
  // is.
  const Status ballast = catalog::FillBallast(directory_);
  if (!ballast.ok() && !IsNoRoom(ballast.error().code)) return ballast;
  ballast_bytes_ = catalog::BallastBytes(directory_);
  auto tables = std::make_unique<Tables>(*connection_);
  RETURN_IF_ERROR(tables->Begin());
  RETURN_IF_ERROR(catalog::CreateTables(*connection_));
  RETURN_IF_ERROR(tables->Apply(change));
  RETURN_IF_ERROR(connection_->MakeRoom(0));
  RETURN_IF_ERROR(tables->Commit());
  checkpoint_due_ = true;
  connection_->ReserveWal();
  RETURN_IF_ERROR(directory_.SyncNames());
  tables_ = std::move(tables);
  return OkStatus();
}

Status Catalog::Impl::Open() {
  MutexLock lock(db_mu_);
  ASSIGN_OR_RETURN(connection_, Connection::Open(directory_, Connection::Mode::kOpenExisting));
  where_ = connection_->where();
  ASSIGN_OR_RETURN(const catalog::Format format, catalog::ReadFormat(*connection_));
  // Before its records are used: of a damaged log SQLite reads less, or nothing.
  RETURN_IF_ERROR(connection_->CheckFiles());
  if (format.empty) {
    // Made as anew, it would know none of these, and they would be removed.
    ASSIGN_OR_RETURN(const auto layers, directory_.ListLayers());
    if (!layers.empty()) {
      return connection_->Corrupt(
          "it is empty, but there are files in layers/; restore the node's directory from a "
          "backup");
    }
    return Error{Errc::kNotFound, StrCat(where_, ": its creation did not finish")};
  }
  read_only_ = format.read_only;
  if (!read_only_) RETURN_IF_ERROR(connection_->UseWal());
  ballast_bytes_ = catalog::BallastBytes(directory_);
  log_bytes_ = connection_->wal_bytes();
  checkpoint_due_ = log_bytes_ > 0;  // of the last mount
  tables_ = std::make_unique<Tables>(*connection_);
  return OkStatus();
}

Result<CatalogContents> Catalog::Impl::Load() {
  MutexLock lock(db_mu_);
  const NodeCalls::Call call(*directory_.calls(), NodeCalls::Kind::kRead);
  RETURN_IF_ERROR(CheckNotFenced());
  return tables_->Load();
}

Status Catalog::Impl::LoadPresence(Id layer, const std::function<void(const PresenceRun&)>& visit) {
  const Result<catalog::PresenceImage> image = [&]() -> Result<catalog::PresenceImage> {
    MutexLock lock(db_mu_);
    const NodeCalls::Call call(*directory_.calls(), NodeCalls::Kind::kRead);
    RETURN_IF_ERROR(CheckNotFenced());
    return tables_->presence().Read(layer);
  }();
  if (!image.ok()) return image.error();
  return image.value().Visit(layer, where_, visit);
}

Result<PresenceChunk> Catalog::Impl::LoadChunk(Id layer, uint64_t chunk, uint64_t* alike) {
  MutexLock lock(db_mu_);
  const NodeCalls::Call call(*directory_.calls(), NodeCalls::Kind::kRead);
  RETURN_IF_ERROR(CheckNotFenced());
  return tables_->presence().ReadChunk(layer, chunk, alike);
}

Result<std::vector<Id>> Catalog::Impl::LayersWithPresence() {
  MutexLock lock(db_mu_);
  const NodeCalls::Call call(*directory_.calls(), NodeCalls::Kind::kRead);
  RETURN_IF_ERROR(CheckNotFenced());
  return tables_->presence().Layers();
}

Status Catalog::Impl::Verify() {
  MutexLock lock(db_mu_);
  RETURN_IF_ERROR(CheckNotFenced());
  return tables_->Verify();
}

Status Catalog::Impl::Commit(const CatalogChange& change, Room room) {
  RETURN_IF_ERROR(CheckNotFenced());
  if (read_only_) {
    return Error{Errc::kReadOnly,
                 directory_.read_only()
                     ? StrCat(where_, ": it is mounted for reading only; mount it without `ro`")
                     : StrCat(where_, ": it has a feature with which this volfs may only read it")};
  }
  RETURN_IF_ERROR(catalog::ValidateChange(change));
  if (change.empty()) return OkStatus();
  if (room == Room::kGrow) RETURN_IF_ERROR(CheckReserve());
  Pending mine{&change, room};
  Group group;
  if (!LeadOrWait(mine, group)) return mine.result;
  {
    MutexLock lock(db_mu_);
    const NodeCalls::Call call(*directory_.calls(), NodeCalls::Kind::kCommit);
    ApplyLocked(group);
    log_bytes_ = connection_->wal_bytes();
  }
  Finish(group);
  if (LogIsLong() && on_log_long_) on_log_long_();
  const bool lacked_room = !mine.result.ok() && IsNoRoom(mine.result.error().code);
  return lacked_room && room == Room::kGrow ? NothingNew() : mine.result;
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
  // The background has not come to it.
  if (!fence_.raised() && connection_->wal_bytes() >= catalog::kLogMaxBytes) (void)ReuseWalLocked();
  if (group.size() > 1 && !fence_.raised()) {
    Status together = AttemptLocked(group);
    const bool retry = !together.ok() && !fence_.raised() && IsClean(together.error().code);
    if (!retry) {
      if (!together.ok()) together = FenceLocked(together.error());
      for (Pending* pending : group) pending->result = together;
      return;
    }
    // One of them is refused, or is too big: the others shall not suffer for it.
  }
  for (Pending* pending : group) {
    pending->result =
        fence_.raised() ? CheckNotFenced() : ApplyAloneLocked(*pending->change, pending->room);
  }
}

Status Catalog::Impl::ApplyAloneLocked(const CatalogChange& change, Room room) {
  Pending pending{&change, room};
  const Group group{&pending};
  const auto no_room = [this](const Status& status) {
    return !status.ok() && !fence_.raised() && IsNoRoom(status.error().code);
  };
  Status status = AttemptLocked(group);
  if (no_room(status) && ReuseWalLocked()) status = AttemptLocked(group);
  while (no_room(status) && ReleaseReserveLocked(room)) status = AttemptLocked(group);
  if (no_room(status)) connection_->EmptyWal();  // the space it took in vain, if all else is moved
  if (status.ok() && room == Room::kFree) fill_again_at_ = Nanoseconds{0};
  if (Sabotaged(Sabotage::kBelieveCommit)) return OkStatus();
  if (status.ok() || (!fence_.raised() && IsClean(status.error().code))) return status;
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
  // If even that fails the connection's state is unknown, whichever the first error was.
  RETURN_IF_ERROR(tables_->Rollback());
  return status;
}

Status Catalog::Impl::AttemptLocked(const Group& group) {
  connection_->NoteWal();
  Tables& tables = *tables_;
  Connection& connection = *connection_;
  const bool grows =
      std::any_of(group.begin(), group.end(), [](auto* p) { return p->room == Room::kGrow; });
  Status status = TransactLocked([&]() -> Status {
    for (const Pending* pending : group) RETURN_IF_ERROR(tables.Apply(*pending->change));
    return connection.MakeRoom(grows ? catalog::kSpareAfterGrowth : 0);
  });
  if (status.ok()) return CheckPresent();
  if (!IsNoRoom(status.error().code)) return status;
  if (!connection_->FailedCommitIsTorn()) {
    const Status sealed = TransactLocked([&tables] { return tables.Seal(); });
    if (!sealed.ok()) fence_.Raise(sealed.error().message, false);
  }
  return status;
}

Error Catalog::Impl::FenceLocked(Error error) {
  if (Sabotaged(Sabotage::kRefuseUnknown)) return Error{Errc::kNoSpace, error.message};
  fence_.Raise(error.message, false);
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
  if (!status.ok() && !IsNoRoom(status.error().code)) fence_.Raise(status.error().message, false);
  return status.ok();
}

// One piece of it.
bool Catalog::Impl::ReleaseReserveLocked(Room room) {
  while (filling_ballast_) ballast_filled_.Wait(db_mu_);
  uint64_t least_bytes = room == Room::kFree     ? 0
                         : room == Room::kRecord ? catalog::kBallastBytes / 4
                                                 : catalog::kBallastBytes;
  if (room == Room::kGrow && Sabotaged(Sabotage::kGrowFromReserve)) least_bytes = 0;
  if (fence_.raised() || ballast_bytes_ <= least_bytes) return false;
  const uint64_t next_bytes =
      std::max(least_bytes,
               ballast_bytes_ - std::min<uint64_t>(ballast_bytes_, catalog::kBallastPieceBytes));
  if (!catalog::ShrinkBallast(directory_, next_bytes)) return false;
  ballast_bytes_ = next_bytes;
  (void)ReuseWalLocked();  // the database can grow now, so that the WAL need not
  return !fence_.raised();
}

Status Catalog::Impl::CheckpointLocked() {
  const NodeCalls::Call call(*directory_.calls(), NodeCalls::Kind::kCommit);
  RETURN_IF_ERROR(CheckNotFenced());
  if (!checkpoint_due_) return OkStatus();
  if (const Status status = connection_->Checkpoint(); !status.ok()) {
    // Without room the WAL just stays as it is, and with it every commit.
    if (IsNoRoom(status.error().code)) return status;
    return FenceLocked(status.error());
  }
  checkpoint_due_ = false;
  log_bytes_ = connection_->wal_bytes();
  return OkStatus();
}

Status Catalog::Impl::ShortenLog() {
  if (read_only_) return OkStatus();
  MutexLock lock(db_mu_);
  return CheckpointLocked();
}

Status Catalog::Impl::Checkpoint() {
  if (read_only_) return OkStatus();
  {
    MutexLock lock(db_mu_);
    RETURN_IF_ERROR(CheckpointLocked());
    if (connection_->WalFileBytes() > catalog::kLogKeptBytes) connection_->EmptyWal();
  }
  (void)RestoreReserve();
  return OkStatus();
}

// Without the lock while it writes: commits go on.
bool Catalog::Impl::RestoreReserve() {
  if (ballast_bytes_ == catalog::kBallastBytes) return true;
  {
    MutexLock lock(db_mu_);
    if (filling_ballast_) {
      while (filling_ballast_) ballast_filled_.Wait(db_mu_);
      return ballast_bytes_ == catalog::kBallastBytes;
    }
    if (fence_.raised() || read_only_ || MonotonicNow() < fill_again_at_) return false;
    const Result<SpaceInfo> space = directory_.Space();
    if (!space.ok() || space.value().free_bytes < missing_reserve_bytes()) return false;
    filling_ballast_ = true;
    connection_->ReserveWal();
  }
  const bool filled = catalog::FillBallast(directory_).ok();
  const uint64_t bytes = filled ? catalog::kBallastBytes : catalog::BallastBytes(directory_);
  MutexLock lock(db_mu_);
  ballast_bytes_ = bytes;
  fill_again_at_ = filled ? Nanoseconds{0} : MonotonicNow() + kFillPatience;
  filling_ballast_ = false;
  ballast_filled_.NotifyAll();
  return filled;
}

Status Catalog::Impl::CheckMayGrow() {
  RETURN_IF_ERROR(CheckNotFenced());
  if (read_only_ || Sabotaged(Sabotage::kGrowFromReserve)) return OkStatus();
  if (!RestoreReserve()) return NothingNew();
  MutexLock lock(db_mu_);
  const NodeCalls::Call call(*directory_.calls(), NodeCalls::Kind::kCommit);
  const Status roomy = connection_->MakeRoom(catalog::kSpareBeforeGrowth);
  return !roomy.ok() && IsNoRoom(roomy.error().code) ? NothingNew() : roomy;
}

Catalog::Catalog(NodeDirectory& directory) : impl_(std::make_unique<Impl>(directory)) {}
Catalog::~Catalog() = default;

Result<std::unique_ptr<Catalog>> Catalog::Create(NodeDirectory& directory, const NodeRecord& node) {
  std::unique_ptr<Catalog> catalog(new Catalog(directory));
  RETURN_IF_ERROR(catalog->impl_->Create(node));
  return catalog;
}

Result<std::unique_ptr<Catalog>> Catalog::Open(NodeDirectory& directory) {
  std::unique_ptr<Catalog> catalog(new Catalog(directory));
  RETURN_IF_ERROR(catalog->impl_->Open());
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
Status Catalog::Commit(const CatalogChange& change, Room room) {
  const AllocationScope scope(Allocations::kWait);
  return impl_->Commit(change, room);
}
Status Catalog::Checkpoint() {
  const AllocationScope scope(Allocations::kWait);
  return impl_->Checkpoint();
}
Status Catalog::ShortenLog() {
  const AllocationScope scope(Allocations::kWait);
  return impl_->ShortenLog();
}
bool Catalog::LogIsLong() const { return impl_->LogIsLong(); }
void Catalog::OnLogLong(std::function<void()> wake) { impl_->OnLogLong(std::move(wake)); }
Status Catalog::CheckMayGrow() { return impl_->CheckMayGrow(); }
Status Catalog::CheckReserve() { return impl_->CheckReserve(); }
bool Catalog::RestoreReserve() { return impl_->RestoreReserve(); }
uint64_t Catalog::missing_reserve_bytes() const { return impl_->missing_reserve_bytes(); }
Result<std::vector<Id>> Catalog::LayersWithPresence() { return impl_->LayersWithPresence(); }
Status Catalog::Verify() { return impl_->Verify(); }
Status Catalog::CheckPresent() { return impl_->CheckPresent(); }
void Catalog::Fence(const std::string& why, bool lost) { impl_->fence().Raise(why, lost); }
bool Catalog::fenced() const { return impl_->fence().raised(); }
bool Catalog::lost() const { return impl_->fence().lost(); }
std::string Catalog::fence_reason() const { return impl_->fence().why(); }
void Catalog::BecomeReadOnly() { impl_->BecomeReadOnly(); }
bool Catalog::read_only() const { return impl_->read_only(); }
uint64_t Catalog::commits() const { return impl_->commits(); }

}  // namespace volfs
