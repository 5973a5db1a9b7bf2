#include "blockstore/fold.h"

#include <algorithm>
#include <optional>

#include "blockstore/log.h"
#include "blockstore/node.h"
#include "blockstore/sabotage.h"
#include "blockstore/zeros.h"

namespace volfs {
namespace {

// The host holds a file's lock for as long as one write takes: users of other blocks wait for it.
constexpr uint64_t kPieceBytes = uint64_t{128} << 10;
// So that a slice that moves nothing but zeros ends, too.
constexpr uint64_t kSliceChunks = 256;

}  // namespace

Status Fold::Find() {
  chunks_.clear();
  next_ = 0;
  return direction_ == Direction::kDown ? FindDown() : FindUp();
}

void Fold::AddChunks(const BlockRange& blocks) {
  uint64_t chunk = blocks.first / PresenceChunk::kChunkBlocks;
  const uint64_t last = (blocks.end() - 1) / PresenceChunk::kChunkBlocks;
  if (!chunks_.empty()) chunk = std::max(chunk, chunks_.back() + 1);
  for (; chunk <= last; ++chunk) chunks_.push_back(chunk);
}

Status Fold::FindDown() {
  // Nothing past its end.
  const uint64_t end = BlocksFor(over_->record().size_bytes, block_size_);
  return over_->node()->catalog().LoadPresence(over_->id(), [&](const PresenceRun& run) {
    if (run.first < end) AddChunks({run.first, std::min(run.end(), end) - run.first});
  });
}

Status Fold::FindUp() {
  const uint64_t end_bytes = std::min(over_->record().parent_bytes, under_->record().size_bytes);
  for (uint64_t at = 0; at < end_bytes;) {
    VOLFS_ASSIGN(const std::optional<ByteRange> data, under_->NextData(at));
    if (!data || data->offset_bytes >= end_bytes) break;
    const uint64_t first = data->offset_bytes / block_size_;
    AddChunks({first, BlocksFor(std::min(data->end(), end_bytes), block_size_) - first});
    at = data->end();
  }
  return OkStatus();
}

Status Fold::Copy(uint64_t most_bytes) {
  slice_ = {};
  if (direction_ == Direction::kDown && !level_) VOLFS_TRY(Level());
  const size_t first = next_;
  while (next_ < chunks_.size() && slice_.bytes < most_bytes &&
         (most_bytes == UINT64_MAX || next_ - first < kSliceChunks)) {
    const uint64_t chunk = chunks_[next_++];
    VOLFS_TRY(direction_ == Direction::kDown ? MoveChunkDown(chunk) : MoveChunkUp(chunk));
  }
  return Sabotaged(Sabotage::kFoldUnsynced) ? OkStatus() : to()->SyncFile();
}

void Fold::Abandon() {
  for (const PresenceRun& run : slice_.moved) {
    if (run.state != BlockState::kHere) continue;
    (void)to()->Punch({run.first * block_size_, run.count * block_size_});
  }
  slice_ = {};
  // Else its record would wait for a commit that nobody makes.
  const uint64_t committed_bytes = under_->committed().size_bytes;
  if (under_->record().size_bytes != committed_bytes) (void)under_->SetSize(committed_bytes);
}

// `under` gets the size of `over`, which then shows all of it: what it did not show is cut out.
Status Fold::Level() {
  if (found_any() && !under_->record().has_file) {
    // By itself: if the slice comes to nothing, its file is known all the same.
    VOLFS_TRY(under_->CreateFile());
    VOLFS_TRY(under_->SyncFile());
    const LayerRecord made = under_->record();
    VOLFS_TRY(under_->node()->catalog().Commit({PutLayer{made}}));
    under_->Committed(made);
  }
  const LayerRecord over = over_->record();
  const LayerRecord under = under_->record();
  const uint64_t shown = BlocksFor(over.parent_bytes, block_size_);
  const uint64_t end = BlocksFor(over.size_bytes, block_size_);
  const uint64_t old_end = BlocksFor(under.size_bytes, block_size_);
  if (!Sabotaged(Sabotage::kFoldTail)) {
    if (old_end > shown) {
      VOLFS_TRY(under_->Punch({shown * block_size_, (old_end - shown) * block_size_}));
    }
    if (end > shown) tail_.Set({shown, end - shown}, BlockState::kZero);
  }
  if (old_end > end) tail_.Set({end, old_end - end}, BlockState::kAbsent);
  if (over.size_bytes > under.size_bytes) VOLFS_TRY(under_->SetSize(over.size_bytes));
  level_ = true;
  return OkStatus();
}

Status Fold::MoveChunkDown(uint64_t chunk) {
  const uint64_t end = BlocksFor(over_->record().size_bytes, block_size_);
  VOLFS_ASSIGN(const PresenceChunk has, over_->node()->catalog().LoadChunk(over_->id(), chunk));
  Status done = OkStatus();
  has.ForEachRun(chunk * PresenceChunk::kChunkBlocks, [&](const PresenceRun& run) {
    if (!done.ok() || run.first >= end) return;
    const BlockRange blocks{run.first, std::min(run.end(), end) - run.first};
    if (run.state == BlockState::kHere) {
      done = CopyRun(blocks);
    } else if (!Sabotaged(Sabotage::kFoldForgetsZeros)) {
      done = under_->Punch({blocks.first * block_size_, blocks.count * block_size_});
      Note(blocks, BlockState::kZero);
    }
  });
  return done;
}

Status Fold::MoveChunkUp(uint64_t chunk) {
  const uint64_t base = chunk * PresenceChunk::kChunkBlocks;
  const uint64_t end_bytes = std::min(over_->record().parent_bytes, under_->record().size_bytes);
  const uint64_t end =
      std::min(base + PresenceChunk::kChunkBlocks, BlocksFor(end_bytes, block_size_));
  VOLFS_ASSIGN(PresenceChunk has, over_->node()->catalog().LoadChunk(over_->id(), chunk));
  for (uint64_t at = base; at < end;) {
    VOLFS_ASSIGN(const std::optional<ByteRange> data, under_->NextData(at * block_size_));
    if (!data) break;
    at = std::max(at, data->offset_bytes / block_size_);
    const uint64_t stop = std::min(end, BlocksFor(data->end(), block_size_));
    while (at < stop) {
      const bool hidden = has.Get(at - base) != BlockState::kAbsent;
      uint64_t last = at + 1;
      while (last < stop && (has.Get(last - base) != BlockState::kAbsent) == hidden) ++last;
      if (!hidden) VOLFS_TRY(CopyRun({at, last - at}));
      at = last;
    }
  }
  return OkStatus();
}

// Whole blocks, clipped to the end of the file that they are written to; shared where the host can.
Status Fold::CopyRun(const BlockRange& run) {
  buffer_.resize(kPieceBytes);
  const uint64_t to_bytes = over_->record().size_bytes;  // of both directions
  const ByteRange whole{run.first * block_size_,
                        std::min(run.end() * block_size_, to_bytes) - run.first * block_size_};
  const Result<bool> shared = to()->ShareFrom(*from(), whole);
  if (!shared.ok() || shared.value()) Note(run, BlockState::kHere);  // a part of it, if it failed
  if (!shared.ok()) return shared.error();
  if (shared.value()) return OkStatus();
  const uint64_t step = kPieceBytes / block_size_;
  for (uint64_t block = run.first; block < run.end(); block += step) {
    const BlockRange piece{block, std::min(step, run.end() - block)};
    const uint64_t offset_bytes = piece.first * block_size_;
    const std::span<std::byte> bytes(buffer_.data(),
                                     std::min(piece.count * block_size_, to_bytes - offset_bytes));
    VOLFS_TRY(from()->ReadAt(bytes, offset_bytes));
    if (AllZero(bytes)) {
      VOLFS_TRY(to()->Punch({offset_bytes, piece.count * block_size_}));
      Note(piece, BlockState::kZero);
      continue;
    }
    Note(piece, BlockState::kHere);  // before it is written: Abandon frees what an error leaves
    VOLFS_TRY(to()->WriteAt(bytes, offset_bytes));
    slice_.bytes += bytes.size();
  }
  return OkStatus();
}

void Fold::Note(const BlockRange& blocks, BlockState state) {
  auto& moved = slice_.moved;
  if (!moved.empty() && moved.back().end() == blocks.first && moved.back().state == state) {
    moved.back().count += blocks.count;
  } else {
    moved.push_back({blocks.first, blocks.count, state});
  }
}

LayerRecord Fold::UnderAfter() const {
  LayerRecord under = under_->record();
  under.size_bytes = over_->record().size_bytes;
  under.parent_bytes = std::min(under.parent_bytes, under.size_bytes);
  return under;
}

LayerRecord Fold::OverAfter() const {
  LayerRecord over = over_->record();
  if (direction_ == Direction::kDown) over.parent_bytes = over.size_bytes;
  return over;
}

CatalogChange Fold::Change() const {
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
    // The tail first: a block of it that `over` has is in the slice.
    PresenceRuns has = tail_;
    has.Merge(put);
    change.emplace_back(SetPresence{under_->id(), std::move(has)});
  }
  PresenceRuns gone;
  for (const PresenceRun& run : slice_.moved) gone.Set({run.first, run.count}, BlockState::kAbsent);
  change.emplace_back(SetPresence{over_->id(), std::move(gone)});
  return change;
}

void Fold::Settle() {
  over_->Relink(OverAfter());
  tail_.Clear();
  if (direction_ == Direction::kUp) return;
  if (const Status cut = under_->Shrink(UnderAfter()); !cut.ok()) {
    // What is past its size is zeros (Level), and cut off when the file is opened next.
    LogWarning(Text("a folded layer's file keeps its length: ", cut.error().message));
  }
}

}  // namespace volfs
