#include "blockstore/layer/layer_merge.h"

#include <algorithm>
#include <optional>

#include "blockstore/base/log.h"
#include "blockstore/base/sabotage.h"
#include "blockstore/base/str_cat.h"
#include "blockstore/base/zeros.h"
#include "blockstore/node/node.h"

namespace volfs {
namespace {

// The host holds a file's lock for as long as one write takes, and users of other blocks wait for
// it.
constexpr uint64_t kPieceBytes = uint64_t{128} << 10;
// Ends a slice that copies nothing.
constexpr uint64_t kSliceSteps = 256;
constexpr uint64_t kSliceFreedBytes = uint64_t{1} << 30;

}  // namespace

Status LayerMerge::Find() {
  parts_.clear();
  next_ = 0;
  RETURN_IF_ERROR(direction_ == Direction::kDown ? FindDown() : FindUp());
  if (found_any()) at_ = parts_.front().first;
  return OkStatus();
}

Status LayerMerge::FindDown() {
  // The parts end where the layer does.
  const uint64_t end = BlocksFor(over_->record().size_bytes, block_size_);
  return over_->node()->catalog().LoadPresence(over_->id(), [&](const PresenceRun& run) {
    if (run.first >= end) return;
    AddWholeChunks({run.first, std::min(run.end(), end) - run.first}, parts_);
  });
}

Status LayerMerge::FindUp() {
  const uint64_t end_bytes = std::min(over_->record().parent_bytes, under_->record().size_bytes);
  ASSIGN_OR_RETURN(const std::optional<uint64_t> data, under_->FirstData(0));
  if (!data || *data >= end_bytes) return OkStatus();
  const uint64_t first = *data / block_size_;
  AddWholeChunks({first, BlocksFor(end_bytes, block_size_) - first}, parts_);
  return OkStatus();
}

Status LayerMerge::Copy(uint64_t max_bytes) {
  slice_ = {};
  freed_bytes_ = 0;
  // A write to a file that was cut would give it its length back, with zeros for what is lost.
  RETURN_IF_ERROR(under_->CheckNamed());
  RETURN_IF_ERROR(over_->CheckNamed());
  if (direction_ == Direction::kDown && !level_) RETURN_IF_ERROR(Level());
  const bool all = max_bytes == UINT64_MAX;
  for (uint64_t steps = 0; found_any() && !Full(max_bytes); ++steps) {
    if (steps == kSliceSteps && !all) break;
    RETURN_IF_ERROR(direction_ == Direction::kDown ? MoveDown(max_bytes) : MoveUp(max_bytes));
    PassPart();
  }
  return Sabotaged(Sabotage::kMergeUnsynced) ? OkStatus() : to()->SyncFile();
}

bool LayerMerge::Full(uint64_t max_bytes) const {
  if (max_bytes == UINT64_MAX) return false;
  return slice_.bytes >= max_bytes || freed_bytes_ >= kSliceFreedBytes;
}

void LayerMerge::PassPart() {
  if (at_ < parts_[next_].end()) return;
  ++next_;
  if (found_any()) at_ = parts_[next_].first;
}

void LayerMerge::Abandon() {
  for (const PresenceRun& run : slice_.moved) {
    if (run.state != BlockState::kPresent) continue;
    (void)to()->Punch({run.first * block_size_, run.count * block_size_});
  }
  slice_ = {};
  // Else the layer's changed record would wait for a commit that never comes.
  const uint64_t committed_bytes = under_->committed().size_bytes;
  if (under_->record().size_bytes != committed_bytes) (void)under_->SetSize(committed_bytes);
}

// `under` gets the size of `over`, which then shows all of it. The bytes that `over` did not show
// are punched.
Status LayerMerge::Level() {
  if (found_any() && !under_->record().has_file) {
    // A commit of its own: if the slice comes to nothing, the catalog knows the file all the same.
    RETURN_IF_ERROR(under_->CreateFile());
    RETURN_IF_ERROR(under_->SyncFile());
    const LayerRecord made = under_->record();
    RETURN_IF_ERROR(under_->node()->catalog().Commit({PutLayer{made}}));
    under_->Committed(made);
  }
  const LayerRecord over = over_->record();
  const LayerRecord under = under_->record();
  const uint64_t shown = BlocksFor(over.parent_bytes, block_size_);
  const uint64_t end = BlocksFor(over.size_bytes, block_size_);
  const uint64_t old_end = BlocksFor(under.size_bytes, block_size_);
  if (!Sabotaged(Sabotage::kMergeTail)) {
    if (old_end > shown) {
      RETURN_IF_ERROR(under_->Punch({shown * block_size_, (old_end - shown) * block_size_}));
    }
    if (end > shown) tail_.Set({shown, end - shown}, BlockState::kZero);
  }
  if (old_end > end) tail_.Set({end, old_end - end}, BlockState::kAbsent);
  if (over.size_bytes > under.size_bytes) RETURN_IF_ERROR(under_->SetSize(over.size_bytes));
  level_ = true;
  return OkStatus();
}

Status LayerMerge::MoveDown(uint64_t max_bytes) {
  constexpr uint64_t kChunk = PresenceChunk::kChunkBlocks;
  const uint64_t size = BlocksFor(over_->record().size_bytes, block_size_);
  if (at_ >= size) {
    at_ = parts_[next_].end();
    return OkStatus();
  }
  const uint64_t chunk = at_ / kChunk;
  uint64_t alike = 1;
  ASSIGN_OR_RETURN(const PresenceChunk has,
                   over_->node()->catalog().LoadChunk(over_->id(), chunk, &alike));
  BlockState uniform{};
  if (has.IsUniform(&uniform) && uniform == BlockState::kZero) {
    // A discarded range is one row, however large it is.
    const uint64_t end = std::min({(chunk + alike) * kChunk, parts_[next_].end(), size});
    return MoveRun({at_, end - at_, uniform}, end, max_bytes);
  }
  const uint64_t end = std::min((chunk + 1) * kChunk, size);
  Status done = OkStatus();
  has.ForEachRun(chunk * kChunk, [&](const PresenceRun& run) {
    if (done.ok() && !Full(max_bytes)) done = MoveRun(run, end, max_bytes);
  });
  RETURN_IF_ERROR(done);
  if (!Full(max_bytes)) at_ = (chunk + 1) * kChunk;
  return OkStatus();
}

// Moves the rest of `run` below `end`.
Status LayerMerge::MoveRun(const PresenceRun& run, uint64_t end, uint64_t max_bytes) {
  const uint64_t first = std::max(run.first, at_);
  const uint64_t last = std::min(run.end(), end);
  if (first >= last) return OkStatus();
  if (run.state == BlockState::kZero) return Hide({first, last - first});
  for (at_ = first; at_ < last && !Full(max_bytes);) {
    const BlockRange blocks = Clip({at_, last - at_}, max_bytes);
    at_ = blocks.end();
    RETURN_IF_ERROR(CopyRun(blocks));
  }
  return OkStatus();
}

Status LayerMerge::MoveUp(uint64_t max_bytes) {
  constexpr uint64_t kChunk = PresenceChunk::kChunkBlocks;
  const uint64_t end_bytes = std::min(over_->record().parent_bytes, under_->record().size_bytes);
  ASSIGN_OR_RETURN(const std::optional<ByteRange> data, data_.NextData(*under_, at_ * block_size_));
  if (!data || data->offset_bytes >= end_bytes) {
    at_ = parts_[next_].end();
    return OkStatus();
  }
  at_ = std::max(at_, data->offset_bytes / block_size_);
  const uint64_t chunk = at_ / kChunk;
  const uint64_t end = std::min((chunk + 1) * kChunk, BlocksFor(end_bytes, block_size_));
  ASSIGN_OR_RETURN(const PresenceChunk has, over_->node()->catalog().LoadChunk(over_->id(), chunk));
  RETURN_IF_ERROR(MoveShown(has, end, max_bytes));
  if (at_ == end) at_ = (chunk + 1) * kChunk;
  return OkStatus();
}

// Moves the data of `under` from at_ to `end` that `has`, the chunk of `over` there, does not hide.
Status LayerMerge::MoveShown(const PresenceChunk& has, uint64_t end, uint64_t max_bytes) {
  constexpr uint64_t kChunk = PresenceChunk::kChunkBlocks;
  const uint64_t base = at_ / kChunk * kChunk;
  while (at_ < end && !Full(max_bytes)) {
    ASSIGN_OR_RETURN(const std::optional<ByteRange> data,
                     data_.NextData(*under_, at_ * block_size_));
    at_ = std::min(end, data ? std::max(at_, data->offset_bytes / block_size_) : end);
    const uint64_t stop = data ? std::min(end, BlocksFor(data->end(), block_size_)) : end;
    while (at_ < stop && !Full(max_bytes)) {
      const bool hidden = has.Get(at_ - base) != BlockState::kAbsent;
      uint64_t last = at_ + 1;
      while (last < stop && (has.Get(last - base) != BlockState::kAbsent) == hidden) ++last;
      const BlockRange run{at_, last - at_};
      const BlockRange blocks = hidden ? run : Clip(run, max_bytes);
      at_ = blocks.end();
      if (!hidden) RETURN_IF_ERROR(CopyRun(blocks));
    }
  }
  return OkStatus();
}

// Returns as much of `run` as the slice has room for.
BlockRange LayerMerge::Clip(const BlockRange& run, uint64_t max_bytes) const {
  return {run.first, std::min(run.count, BlocksFor(max_bytes - slice_.bytes, block_size_))};
}

// Frees in `under` the first part of `zeros`, up to the length that one call of the host may free.
// Where `under` has no data it passes the whole range at once.
Status LayerMerge::Hide(const BlockRange& zeros) {
  static_assert(Layer::kPunchBytes >= PresenceChunk::kChunkBlocks * kDefaultBlockSize);
  at_ = zeros.end();
  if (Sabotaged(Sabotage::kMergeForgetsZeros)) return OkStatus();
  ASSIGN_OR_RETURN(const std::optional<ByteRange> data,
                   covered_.NextData(*under_, zeros.first * block_size_));
  if (data && data->offset_bytes < zeros.end() * block_size_) {
    const uint64_t first = std::max(zeros.first, data->offset_bytes / block_size_);
    at_ = std::min(zeros.end(), first + Layer::kPunchBytes / block_size_);
    RETURN_IF_ERROR(under_->Punch({first * block_size_, (at_ - first) * block_size_}));
    freed_bytes_ += (at_ - first) * block_size_;
  }
  Note({zeros.first, at_ - zeros.first}, BlockState::kZero);
  return OkStatus();
}

// Copies whole blocks, clipped to the end of the file that they are written to. Shares them where
// the host can.
Status LayerMerge::CopyRun(const BlockRange& run) {
  buffer_.resize(kPieceBytes);
  const uint64_t to_bytes = over_->record().size_bytes;  // in both directions
  const ByteRange whole{run.first * block_size_,
                        std::min(run.end() * block_size_, to_bytes) - run.first * block_size_};
  const Result<bool> shared = to()->ShareFrom(*from(), whole);
  if (!shared.ok() || shared.value())
    Note(run, BlockState::kPresent);  // a part of it, if it failed
  if (!shared.ok()) return shared.error();
  if (shared.value()) return OkStatus();
  const uint64_t step = kPieceBytes / block_size_;
  for (uint64_t block = run.first; block < run.end(); block += step) {
    const BlockRange piece{block, std::min(step, run.end() - block)};
    const uint64_t offset_bytes = piece.first * block_size_;
    const std::span<std::byte> bytes(buffer_.data(),
                                     std::min(piece.count * block_size_, to_bytes - offset_bytes));
    RETURN_IF_ERROR(from()->ReadAt(bytes, offset_bytes));
    if (AllZero(bytes)) {
      RETURN_IF_ERROR(to()->Punch({offset_bytes, piece.count * block_size_}));
      Note(piece, BlockState::kZero);
      continue;
    }
    Note(piece, BlockState::kPresent);  // before the write: Abandon frees it if that fails
    RETURN_IF_ERROR(to()->WriteAt(bytes, offset_bytes));
    slice_.bytes += bytes.size();
  }
  return OkStatus();
}

void LayerMerge::Note(const BlockRange& blocks, BlockState state) {
  auto& moved = slice_.moved;
  if (!moved.empty() && moved.back().end() == blocks.first && moved.back().state == state) {
    moved.back().count += blocks.count;
  } else {
    moved.push_back({blocks.first, blocks.count, state});
  }
}

LayerRecord LayerMerge::UnderAfter() const {
  LayerRecord under = under_->record();
  under.size_bytes = over_->record().size_bytes;
  under.parent_bytes = std::min(under.parent_bytes, under.size_bytes);
  return under;
}

LayerRecord LayerMerge::OverAfter() const {
  LayerRecord over = over_->record();
  if (direction_ == Direction::kDown) over.parent_bytes = over.size_bytes;
  return over;
}

CatalogChange LayerMerge::Change() const {
  CatalogChange change;
  PresenceRuns put;
  for (const PresenceRun& run : slice_.moved) put.Set({run.first, run.count}, run.state);
  change.emplace_back(PutLayer{OverAfter()});
  if (direction_ == Direction::kUp) {
    change.emplace_back(SetPresence{over_->id(), std::move(put)});
    return change;
  }
  change.emplace_back(PutLayer{UnderAfter()});
  if (!under_->flat()) {
    // The tail first: a block of it that `over` has is also in the slice.
    PresenceRuns has = tail_;
    has.Merge(put);
    change.emplace_back(SetPresence{under_->id(), std::move(has)});
  }
  PresenceRuns gone;
  for (const PresenceRun& run : slice_.moved) gone.Set({run.first, run.count}, BlockState::kAbsent);
  change.emplace_back(SetPresence{over_->id(), std::move(gone)});
  return change;
}

void LayerMerge::Settle() {
  over_->Relink(OverAfter());
  tail_.Clear();
  if (direction_ == Direction::kUp) return;
  if (const Status cut = under_->Shrink(UnderAfter()); !cut.ok()) {
    // Level made the bytes past the size zeros, and the next open cuts them off.
    LogWarning(StrCat("a merged layer's file keeps its length: ", cut.error().message));
  }
}

}  // namespace volfs
