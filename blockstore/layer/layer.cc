#include "blockstore/layer/layer.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <cstring>

#include "blockstore/base/memory.h"
#include "blockstore/base/sabotage.h"
#include "blockstore/base/str_cat.h"
#include "blockstore/node/node.h"

namespace volfs {

Layer::Layer(OpenFiles& files, Node* node, LayerRef ref, LayerRecord record, LayerRecord committed)
    : node_(node),
      ref_(ref),
      id_(record.id),
      flat_(record.parent == kNoId),
      damage_(node),
      files_(files),
      record_(std::move(record)),
      committed_(std::move(committed)),
      name_durable_(committed_.has_file) {}

Layer::Layer(OpenFiles& files, LayerRef ref, Id id, std::string missing_node, std::string why)
    : node_(nullptr),
      ref_(ref),
      id_(id),
      missing_node_(std::move(missing_node)),
      why_missing_(std::move(why)),
      flat_(false),
      damage_(nullptr),
      files_(files) {
  record_.id = id;
}

Layer::~Layer() { files_.Close(slot_); }

std::string Layer::NodeName() const { return node_ == nullptr ? missing_node_ : node_->name(); }

LayerRecord Layer::record() const {
  MutexLock lock(mu_);
  return record_;
}

LayerRecord Layer::committed() const {
  MutexLock lock(mu_);
  return committed_;
}

Status Layer::MissingError() const {
  return Error{Errc::kIo, StrCat("node ", missing_node_, " ", why_missing_)};
}

Result<Layer::Use> Layer::OpenLocked(OpenMode mode, OpenFiles::For what) {
  if (Use open = files_.FindOpen(slot_, what)) return open;
  const AllocationScope scope(Allocations::kWait);  // allocations noted in here are not noted again
  Result<std::unique_ptr<NodeFile>> opened = node_->directory().Open(FileName(), mode);
  if (!opened.ok() && mode != OpenMode::kCreateNew) return OpenFailedLocked(opened.error());
  ASSIGN_OR_RETURN(std::unique_ptr<NodeFile> file, std::move(opened));
  if (mode == OpenMode::kCreateNew) {
    if (const Status sized = file->SetSize(record_.size_bytes); !sized.ok()) {
      file.reset();
      (void)node_->directory().Remove(FileName());  // else the next mount removes it
      return sized.error();
    }
    name_durable_ = false;
    record_.has_file = true;
  } else {
    const Result<bool> checked = CheckSizeLocked(*file);
    if (!checked.ok()) return OpenFailedLocked(checked.error());
    const bool cut = checked.value();
    // Opened as written, or the file could be closed before the cut, or the last mount's writes,
    // are durable.
    if (cut || unsynced_before_) what = OpenFiles::For::kWrite;
    unsynced_before_ = false;
    if (distrust_cache_) file->DropCache({0, record_.size_bytes});
    distrust_cache_ = false;
  }
  allocated_bytes_.reset();
  return files_.Opened(slot_, std::move(file), what);
}

// Turns an error of opening the file, which the record says to be there, into damage.
Error Layer::OpenFailedLocked(Error error) {
  if (error.code == Errc::kNotFound) {
    error = Error{Errc::kCorrupt, StrCat("layer file ", FileName(), " on node ", node_->name(),
                                         " is gone; restore it from a backup")};
  }
  damage_.Note(error, 0);
  return error;
}

// A file is as long as the last commit said, or longer if a crash came before the commit of a
// growth. The bytes past the size were never acknowledged and must not be seen after growing again.
Result<bool> Layer::CheckSizeLocked(NodeFile& file) {
  ASSIGN_OR_RETURN(const uint64_t size, file.Size());
  if (size == record_.size_bytes) return false;
  if (size > record_.size_bytes && written_elsewhere_) return false;  // it may still grow
  // A read-only mount never grows the volume, so the bytes past its size are never seen.
  if (size > record_.size_bytes && node_->directory().read_only()) return false;
  if (size > record_.size_bytes && Sabotaged(Sabotage::kTailNotCut)) return false;
  if (size > record_.size_bytes) {
    RETURN_IF_ERROR(file.SetSize(record_.size_bytes));
    return true;
  }
  return Error{Errc::kCorrupt, StrCat("layer file ", FileName(), " on node ", node_->name(),
                                      " has ", size, " bytes where the catalog says ",
                                      record_.size_bytes, "; restore it from a backup")};
}

Result<Layer::Use> Layer::FileForRead(OpenFiles::For what) {
  if (Use open = slot_.TryUse(what)) return open;
  if (node_ == nullptr && Sabotaged(Sabotage::kMissingIsZero)) return Use();
  if (node_ == nullptr) return MissingError().error();
  files_.MakeRoom(*node_);
  MutexLock lock(mu_);
  if (!record_.has_file) return Use();
  return OpenLocked(OpenMode::kReadWrite, what);
}

Result<Layer::Use> Layer::FileForWrite() {
  if (failed_.load(std::memory_order_acquire)) {
    return Error{Errc::kReadOnly, StrCat("layer ", FileName(), " on node ", node_->name(),
                                         " failed to sync; it is read-only until the next mount")};
  }
  if (Use open = slot_.TryUse(OpenFiles::For::kWrite)) return open;
  if (node_ == nullptr) return MissingError().error();
  files_.MakeRoom(*node_);
  MutexLock lock(mu_);
  return OpenLocked(record_.has_file ? OpenMode::kReadWrite : OpenMode::kCreateNew,
                    OpenFiles::For::kWrite);
}

Layer::Use Layer::FileIfOpen(OpenFiles::For what) {
  if (Use open = slot_.TryUse(what)) return open;
  return files_.FindOpen(slot_, what);
}

void Layer::MarkCacheSuspect() {
  MutexLock lock(mu_);
  distrust_cache_ = unsynced_before_ = true;
}

Status Layer::ForgetCache() {
  MutexLock lock(mu_);
  if (!distrust_cache_ || !record_.has_file) return OkStatus();
  ASSIGN_OR_RETURN(const auto file, node_->directory().Open(FileName(), OpenMode::kReadWrite));
  // A file that is too short is an error of the open that reads it.
  ASSIGN_OR_RETURN(const uint64_t size, file->Size());
  if (size > record_.size_bytes && !written_elsewhere_ && !Sabotaged(Sabotage::kTailNotCut)) {
    RETURN_IF_ERROR(file->SetSize(record_.size_bytes));
    RETURN_IF_ERROR(file->SyncData());
  }
  file->DropCache({0, record_.size_bytes});
  distrust_cache_ = false;
  return OkStatus();
}

Status Layer::CreateFile() {
  RETURN_IF_ERROR(FileForWrite());
  return OkStatus();
}

Status Layer::ReadAt(std::span<std::byte> out, uint64_t offset_bytes) {
  ASSIGN_OR_RETURN(const Use file, FileForRead());
  if (!file) {
    std::memset(out.data(), 0, out.size());
    return OkStatus();
  }
  Status done = file->ReadAt(out, offset_bytes);
  if (!done.ok()) damage_.Note(done.error(), offset_bytes);
  return done;
}

Status Layer::ReadOnce(std::span<std::byte> out, uint64_t offset_bytes) {
  ASSIGN_OR_RETURN(const Use file, FileForRead());
  if (!file) {
    std::memset(out.data(), 0, out.size());
    return OkStatus();
  }
  Status done = file->ReadOnce(out, offset_bytes);
  if (!done.ok()) damage_.Note(done.error(), offset_bytes);
  return done;
}

Status Layer::WriteAt(std::span<const std::byte> data, uint64_t offset_bytes) {
  ASSIGN_OR_RETURN(const Use file, FileForWrite());
  return file->WriteAt(data, offset_bytes);
}

Status Layer::WriteOnce(std::span<const std::byte> data, uint64_t offset_bytes) {
  ASSIGN_OR_RETURN(const Use file, FileForWrite());
  return file->WriteOnce(data, offset_bytes);
}

Status Layer::ReadBack(std::span<std::byte> out, uint64_t offset_bytes) {
  ASSIGN_OR_RETURN(const Use file, FileForWrite());
  file->DropCache({offset_bytes, out.size()});
  return file->ReadOnce(out, offset_bytes);
}

// A layer without a file reads as zeros; the caller finds that out when it copies instead.
Result<bool> Layer::ShareFrom(Layer& source, const ByteRange& range) {
  ASSIGN_OR_RETURN(const Use from, source.FileForRead());
  if (!from) return false;
  ASSIGN_OR_RETURN(const Use file, FileForWrite());
  return file->ShareFrom(*from, range);
}

Result<bool> Layer::CloneFrom(Layer& source) {
  ASSIGN_OR_RETURN(const Use from, source.FileForRead());
  if (!from) return false;
  ASSIGN_OR_RETURN(const Use file, FileForWrite());
  return file->CloneFrom(*from);
}

Status Layer::Punch(const ByteRange& range) {
  ASSIGN_OR_RETURN(const Use file, FileForRead(OpenFiles::For::kWrite));
  if (!file) return OkStatus();
  uint64_t at = range.offset_bytes;
  while (range.end() - at > kPunchBytes) {
    ASSIGN_OR_RETURN(const std::optional<uint64_t> data, file->FirstData(at));
    if (!data || *data >= range.end()) return OkStatus();
    at = *data;
    if (range.end() - at <= kPunchBytes) break;
    const uint64_t next = (at / kPunchBytes + 1) * kPunchBytes;
    RETURN_IF_ERROR(file->Punch({at, next - at}));
    at = next;
  }
  return file->Punch({at, range.end() - at});
}

Result<std::optional<ByteRange>> Layer::NextData(uint64_t offset_bytes) {
  ASSIGN_OR_RETURN(const Use file, FileForRead());
  if (!file) return std::optional<ByteRange>();
  Result<std::optional<ByteRange>> data = file->NextData(offset_bytes);
  if (!data.ok()) damage_.Note(data.error(), offset_bytes);
  return data;
}

Result<std::optional<uint64_t>> Layer::FirstData(uint64_t offset_bytes) {
  ASSIGN_OR_RETURN(const Use file, FileForRead());
  if (!file) return std::optional<uint64_t>();
  Result<std::optional<uint64_t>> data = file->FirstData(offset_bytes);
  if (!data.ok()) damage_.Note(data.error(), offset_bytes);
  return data;
}

Result<uint64_t> Layer::AllocatedBytes() {
  if (const Use open = FileIfOpen()) return open->AllocatedBytes();
  if (node_ == nullptr) return MissingError().error();
  MutexLock lock(mu_);
  if (!record_.has_file) return uint64_t{0};
  if (!allocated_bytes_) {
    // The file has been opened since. A remembered answer would stay although the file changes.
    if (const Use open = files_.FindOpen(slot_, OpenFiles::For::kRead)) {
      return open->AllocatedBytes();
    }
    ASSIGN_OR_RETURN(const uint64_t bytes, node_->directory().AllocatedBytes(FileName()));
    allocated_bytes_ = bytes;
  }
  return *allocated_bytes_;
}

Result<Layer::Exported> Layer::ExportDescriptor(OpenFiles::For what) {
  const bool writes = what == OpenFiles::For::kWrite;
  ASSIGN_OR_RETURN(Use file, writes ? FileForWrite() : FileForRead());
  // The kernel would say that the file ends where bytes were cut off.
  if (!file || !CheckNamed().ok()) return Exported{};
  Descriptor descriptor = file->Duplicate();
  return Exported{std::move(descriptor), std::move(file)};
}

Result<NodeFile::State> Layer::TakeSizeFromFile() {
  assert(flat());
  MutexLock lock(mu_);
  NodeFile::State state;
  if (const Use open = files_.FindOpen(slot_, OpenFiles::For::kRead)) {
    ASSIGN_OR_RETURN(state, open->Stat());
  } else {  // not OpenLocked, which cuts a file that is too long
    ASSIGN_OR_RETURN(const auto file, node_->directory().Open(FileName(), OpenMode::kReadOnly));
    ASSIGN_OR_RETURN(state, file->Stat());
  }
  record_.size_bytes = std::max(record_.size_bytes, state.size_bytes);
  return state;
}

Result<bool> Layer::WrittenElsewhere() {
  MutexLock lock(mu_);
  ASSIGN_OR_RETURN(const auto file, node_->directory().Open(FileName(), OpenMode::kReadOnly));
  written_elsewhere_ = file->WrittenElsewhere();
  return written_elsewhere_;
}

void Layer::DropWritten(const ByteRange& range) {
  if (const Use open = FileIfOpen()) open->DropWritten(range);
}

Status Layer::SetSize(uint64_t size_bytes) {
  if (failed()) return FileForWrite().error();
  files_.MakeRoom(*node_);
  MutexLock lock(mu_);
  if (record_.has_file) {
    ASSIGN_OR_RETURN(const Use file, OpenLocked(OpenMode::kReadWrite, OpenFiles::For::kWrite));
    RETURN_IF_ERROR(file->SetSize(size_bytes));
  }
  record_.size_bytes = size_bytes;
  return OkStatus();
}

Status Layer::Shrink(const LayerRecord& committed) {
  files_.MakeRoom(*node_);
  MutexLock lock(mu_);
  assert(committed.id == id_ && committed.size_bytes <= record_.size_bytes);
  record_ = committed_ = committed;
  if (!record_.has_file) return OkStatus();
  ASSIGN_OR_RETURN(const Use file, OpenLocked(OpenMode::kReadWrite, OpenFiles::For::kWrite));
  return file->SetSize(record_.size_bytes);
}

void Layer::MarkPending(const BlockRange& blocks, BlockState state) {
  if (flat()) return;  // all of a flat layer is present; nothing is recorded (L1)
  MutexLock lock(mu_);
  assert(state != BlockState::kPresent || record_.has_file);
  pending_.Set(blocks, state);
}

void Layer::ShowParent(const BlockRange& blocks, uint64_t parent_bytes) {
  assert(!flat());
  MutexLock lock(mu_);
  pending_.Set(blocks, BlockState::kAbsent);
  record_.parent_bytes = std::max(record_.parent_bytes, parent_bytes);
}

PresenceRuns Layer::TakePending() {
  MutexLock lock(mu_);
  PresenceRuns taken;
  std::swap(taken, pending_);
  return taken;
}

void Layer::RestorePending(PresenceRuns older) {
  MutexLock lock(mu_);
  older.Merge(pending_);
  pending_ = std::move(older);
}

uint64_t Layer::pending_blocks() const {
  MutexLock lock(mu_);
  return pending_.block_count();
}

Status Layer::SyncFile() {
  if (failed()) return FileForWrite().error();
  const Use file = FileIfOpen();
  if (!file) return OkStatus();
  bool sync_name = false;
  {
    MutexLock lock(mu_);
    sync_name = !name_durable_ && !Sabotaged(Sabotage::kSkipNameSync);
  }
  // One sync at a time: the host reports an error once, and a caller whose sync comes after the one
  // that got the error must not believe that all is well.
  MutexLock syncing(sync_mu_);
  if (failed()) return FileForWrite().error();
  slot_.BeginSync();
  Status synced = file->SyncData();
  if (synced.ok() && sync_name) synced = node_->directory().SyncNames();
  if (!synced.ok()) {
    slot_.SyncFailed();
    // The kernel may have dropped the dirty pages and will report success next time. The content of
    // this layer is unknown from here on (ATC'20, "Can applications recover from fsync failures?").
    if (!Sabotaged(Sabotage::kRetrySync)) Fail();
    return synced;
  }
  if (sync_name) {
    MutexLock lock(mu_);
    name_durable_ = true;
  }
  return OkStatus();
}

void Layer::LookForDamage() {
  if (node_ == nullptr || node_->directory().calls()->slow()) return;
  if (!damage_.any()) {
    (void)CheckNamed();
    return;
  }
  std::array<std::byte, 512> bytes{};
  if (ReadAt(bytes, damage_.offset_bytes()).ok() && CheckNamed().ok()) damage_.Forget();
}

Status Layer::CheckNamed() {
  if (!node_->directory().ChecksNames()) return OkStatus();
  const Use file = FileIfOpen(OpenFiles::For::kLook);
  if (!file) return OkStatus();
  Status named = file->CheckNamed();
  if (!named.ok()) damage_.Note(named.error(), 0);
  return named;
}

Status Layer::WaitWritten(const ByteRange& range) {
  if (failed()) return FileForWrite().error();
  const Use file = FileIfOpen();
  if (!file) return OkStatus();
  Status written = file->WaitWritten(range);
  if (!written.ok()) Fail();
  return written;
}

bool Layer::RecordDirty() const {
  MutexLock lock(mu_);
  return !(record_ == committed_);
}

void Layer::Committed(const LayerRecord& record) {
  MutexLock lock(mu_);
  committed_ = record;
}

bool Layer::Recorded() const {
  MutexLock lock(mu_);
  return committed_.id == id_ && pending_.empty();
}

void Layer::Relink(const LayerRecord& committed) {
  MutexLock lock(mu_);
  assert(committed.id == id_);
  record_.parent = committed.parent;
  record_.parent_bytes = committed.parent_bytes;
  committed_ = committed;
}

void Layer::BecomeFlat(const LayerRecord& committed) {
  MutexLock lock(mu_);
  assert(committed.parent == kNoId && committed.id == id_);
  record_.parent = kNoId;
  record_.parent_node.clear();
  record_.parent_bytes = 0;
  committed_ = committed;
  pending_.Clear();
  flat_.store(true, std::memory_order_release);
}

Status Layer::RemoveFile() {
  files_.Close(slot_);
  MutexLock lock(mu_);
  if (!record_.has_file) return OkStatus();
  record_.has_file = false;
  return node_->directory().Remove(FileName());
}

}  // namespace volfs
