#pragma once

#include <cstdint>
#include <vector>

#include "blockstore/base/error.h"
#include "blockstore/catalog/catalog.h"
#include "blockstore/layer/data_cursor.h"
#include "blockstore/layer/layer.h"

namespace volfs {

// Makes one layer of two: `under` has no reference and no child but `over`, so no reader needs to
// see where the one ends and the other begins. The content of the smaller layer is moved to the
// larger one, a slice at a time, and then the emptied layer is taken out of the tree. Each slice is
// one commit that leaves a tree which shows the same bytes. A crash between two slices loses
// nothing, and no progress needs to be remembered.
//
// Cost: by the data in the layers, not by the size of the volume. Memory: one slice, and 16 bytes
// for each row of presence of `over` (a range of whole chunks that are alike, however long, or one
// chunk of 16 MiB). A slice ends when it has copied its maximum, freed kSliceFreedBytes, or looked
// at kSliceSteps places.
//
//   down  `over` into `under`: its blocks that are present or zero.
//   up    a flat `under` into `over`: its data that `over` does not hide.
//
// Why a slice may be written: a block that `over` has is hidden in `under`, and no map names `over`
// for a block that it does not have. So no map resolves to the places that are written
// (ARCHITECTURE.md, section 1).
//
// A slice: Copy() writes the bytes and syncs them (data before map). The caller closes
// Node::tree_gate(), makes sure that no layer over them is pinned, commits Change(), redirects the
// maps in memory and calls Settle(). It punches the old places when their readers have left
// (Epoch).
//
// Requires: from Find() to the last punch no volume writes the two layers and nothing is reclaimed
// on their node (Reclaimer::Exclusive). Thread-safety: none.
class LayerMerge {
 public:
  enum class Direction { kDown, kUp };
  // The runs that were copied, with their state in to(): kPresent or kZero.
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
  // Returns the layer to which maps in memory resolve a moved run.
  [[nodiscard]] LayerRef RefOf(const PresenceRun& run) const {
    return run.state == BlockState::kPresent || to()->flat() ? to()->ref() : LayerRef::kHole;
  }

  // Finds the parts that are to be moved.
  Status Find();
  [[nodiscard]] bool found_any() const { return next_ < parts_.size(); }
  // Copies the next blocks, at most `max_bytes` in whole blocks, and syncs them. When merging down,
  // the first slice, empty or not, makes to() as long as from(), with zeros where from() does not
  // show it.
  Status Copy(uint64_t max_bytes);
  Status CopyAll() { return Copy(UINT64_MAX); }
  [[nodiscard]] const Slice& slice() const { return slice_; }
  // Returns the change whose commit makes the slice durable.
  [[nodiscard]] CatalogChange Change() const;
  // Tells the layers that this commit is durable.
  void Settle();
  // Frees the copied blocks, of which the catalog knows nothing. Ends the use of this object.
  void Abandon();

 private:
  Status FindDown();
  Status FindUp();
  Status Level();
  // Each moves from at_ on, up to the end of a chunk or of chunks that are alike.
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
  uint64_t at_ = 0;                                 // the next block of that part
  Slice slice_;                                     // the last one
  uint64_t freed_bytes_ = 0;                        // by the last slice
  DataCursor data_;                                 // of `under`, up
  DataCursor covered_{DataCursor::Wanted::kStart};  // of `under`, down
  bool level_ = false;
  PresenceRuns tail_;  // the presence of `under` past the end that it showed, for Level
  std::vector<std::byte> buffer_;
};

}  // namespace volfs
