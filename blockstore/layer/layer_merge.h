#pragma once

#include <cstdint>
#include <vector>

#include "blockstore/base/error.h"
#include "blockstore/catalog/catalog.h"
#include "blockstore/layer/data_cursor.h"
#include "blockstore/layer/layer.h"

namespace volfs {

// Two layers become one: `under` has no point and no child but `over`, so nobody needs to see where
// the one ends and the other begins. What the smaller of both has is moved to the larger, a slice
// at a time; then the one that has nothing left is taken out of the tree. Each slice is one commit
// that leaves a tree which shows the same bytes: a crash between any two of them loses nothing, and
// there is nothing to be remembered.
//
// Cost: by what the layers have, not by the size of the volume. Memory: 16 bytes for each row of
// presence of `over` (which is a range of whole chunks that are alike, however long, or one chunk
// of 16 MiB), and one slice. A slice ends when it has copied what it may, freed kSliceFreedBytes,
// or looked at kSliceSteps places.
//
//   down  `over` into `under`: its blocks that are here or zero.
//   up    a flat `under` into `over`: its data that `over` does not hide.
//
// Why a slice may be written: a block that `over` has is hidden in `under`, and one that it does
// not have is in nobody's map as its; so nobody resolves the places that are written (ARCHITECTURE,
// "the rule of layers").
//
// A slice: Copy (bytes, then sync: data before map); the caller closes Node::tree_gate() and
// finds no use of a layer over them; commits Change; redirects the maps in memory; Settle; and when
// those who read the old places have left (Epoch), punches them.
//
// Requires: nobody writes the two layers, nothing is reclaimed (Reclaimer::Alone), from Find to the
// last punch. Thread-safety: none.
class LayerMerge {
 public:
  enum class Direction { kDown, kUp };
  // What was copied, and what it is in to(): kPresent or kZero.
  struct Slice {
    std::vector<PresenceRun> moved;
    uint64_t bytes = 0;  // copied
  };

  LayerMerge(Layer* under, Layer* over, Direction direction, uint32_t block_size)
      : under_(under), over_(over), direction_(direction), block_size_(block_size) {}

  [[nodiscard]] Layer* under() const { return under_; }
  [[nodiscard]] Layer* over() const { return over_; }
  [[nodiscard]] Layer* from() const { return direction_ == Direction::kDown ? over_ : under_; }
  [[nodiscard]] Layer* to() const { return direction_ == Direction::kDown ? under_ : over_; }
  // Where a moved run is found in memory.
  [[nodiscard]] LayerRef RefOf(const PresenceRun& run) const {
    return run.state == BlockState::kPresent || to()->flat() ? to()->ref() : LayerRef::kHole;
  }

  // Looks for what is to be moved.
  Status Find();
  [[nodiscard]] bool found_any() const { return next_ < parts_.size(); }
  // Copies what comes next, at most `max_bytes` in whole blocks, and syncs it. Of down the first
  // slice, empty or not, makes to() as long as from(), with zeros where from() does not show it.
  Status Copy(uint64_t max_bytes);
  Status CopyAll() { return Copy(UINT64_MAX); }
  [[nodiscard]] const Slice& slice() const { return slice_; }
  // What makes the slice durable.
  [[nodiscard]] CatalogChange Change() const;
  // That commit is durable: the layers know it.
  void Settle();
  // Nothing of it is in the catalog: what was copied is freed. The merge is of no use any more.
  void Abandon();

 private:
  Status FindDown();
  Status FindUp();
  Status Level();
  // Each deals with what comes next, up to the end of a chunk or of chunks that are alike.
  Status MoveDown(uint64_t max_bytes);
  Status MoveUp(uint64_t max_bytes);
  Status MoveRun(const PresenceRun& run, uint64_t end, uint64_t max_bytes);
  Status MoveShown(const PresenceChunk& has, uint64_t end, uint64_t max_bytes);
  Status CopyRun(const BlockRange& run);
  Status Hide(const BlockRange& zeros);
  [[nodiscard]] bool Full(uint64_t max_bytes) const;
  [[nodiscard]] BlockRange Clip(const BlockRange& run, uint64_t max_bytes) const;
  void PassPart();
  void Note(const BlockRange& blocks, BlockState state);
  [[nodiscard]] LayerRecord UnderAfter() const;
  [[nodiscard]] LayerRecord OverAfter() const;

  Layer* const under_;
  Layer* const over_;
  const Direction direction_;
  const uint32_t block_size_;
  // Whole chunks of presence that have something to be moved, ascending.
  std::vector<BlockRange> parts_;
  size_t next_ = 0;
  uint64_t at_ = 0;                                 // in that part: what comes next
  Slice slice_;                                     // the last one
  uint64_t freed_bytes_ = 0;                        // by it
  DataCursor data_;                                 // of `under`, up
  DataCursor covered_{DataCursor::Wanted::kStart};  // of `under`, down
  bool level_ = false;
  PresenceRuns tail_;  // of `under`: what Level makes of it
  std::vector<std::byte> buffer_;
};

}  // namespace volfs
