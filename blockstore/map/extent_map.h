#pragma once

#include <cstddef>
#include <cstdint>

#include "blockstore/base/units.h"

namespace volfs {

// Names a layer inside one process: an index into Store's table of layers, which are never
// renumbered while a map that uses them lives. kHole: no layer, reads as zeros.
enum class LayerRef : uint32_t { kHole = 0 };

// [first, first + count) is in `layer`, at the same blocks.
struct Extent {
  uint64_t first = 0;
  uint64_t count = 0;  // >= 1
  LayerRef layer = LayerRef::kHole;
  [[nodiscard]] uint64_t end() const { return first + count; }
  friend bool operator==(const Extent&, const Extent&) = default;
};

// Maps each logical block of ONE volume or snapshot to its layer: every block below size() is in
// exactly one extent (LayerRef::kHole included).
//
// A copy-on-write B+tree keyed by the first block of each extent. An extent ends where the next
// begins. Copies share nodes by reference count, so a snapshot of the map is O(1) for any size, and
// changing one copy costs O(depth) new nodes the first time a path is touched.
//
// Invariants, checked by CheckInvariants() (tests cite the numbers):
//   I1  the extents are sorted, adjacent, and cover [0, size()) exactly;
//   I2  neighbours are in different layers (merged otherwise);
//   I3  every node but the root is at least a quarter full, all leaves are at the same depth;
//   I4  a node is changed in place only if its reference count is 1.
//
// Thread-safety: as an int. Distinct maps that share nodes may be used by different threads at the
// same time (counts fall with release, "is it 1" loads with acquire); one map needs a lock around
// changes (LiveMap::mu_). Cost: n extents, k of them touched: Find O(log n), Assign
// O(log n + k), copy O(1), destruction O(nodes not shared): free big maps off the request path.
class ExtentMap {
 public:
  ExtentMap() : ExtentMap(0) {}
  explicit ExtentMap(uint64_t size_blocks);  // one hole
  ExtentMap(const ExtentMap& other);         // O(1), shares all nodes
  ExtentMap(ExtentMap&& other) noexcept;
  ExtentMap& operator=(ExtentMap other) noexcept;
  ~ExtentMap();

  // The whole extent that holds `block`. Requires: block < size().
  [[nodiscard]] Extent Find(uint64_t block) const;

  // Maps `range` to `layer` (kHole unmaps), and splits, drops or merges the extents there.
  // Requires: range.end() <= size(). An empty range does nothing.
  void Assign(const BlockRange& range, LayerRef layer);

  // Grows the map with a hole, or drops the extents at and after `size_blocks`.
  void Resize(uint64_t size_blocks);

  [[nodiscard]] uint64_t size() const { return size_; }
  [[nodiscard]] uint64_t extent_count() const { return extents_; }
  // Of all nodes reachable, shared ones included. O(1).
  [[nodiscard]] size_t MemoryBytes() const;

  void CheckInvariants() const;  // aborts with the number of the broken one; O(n)

 private:
  struct Node;
  struct Leaf;
  struct Inner;
  struct Path;
  struct Edit;
  struct Walk;

  static Node* Share(Node* node);
  static void Release(Node* node);
  static bool Owned(const Node& node);
  static Node* Clone(const Node& node);
  static void MakeOwned(Node*& slot);
  static Edit PlanEdit(const Path& path, const BlockRange& range, LayerRef layer);

  void Descend(uint64_t block, Path* path) const;
  static bool NextLeaf(Path* path);
  void OwnPath(Path* path, int last_level);

  void AssignAcrossLeaves(const BlockRange& range, LayerRef layer);
  void Put(uint64_t key, LayerRef layer);
  void EraseKeys(uint64_t first, uint64_t last);
  void EraseRun(Path* path, uint32_t from, uint32_t to);
  void DropLeaf(Path* path);

  void MakeRoom(Path* path);
  void GrowRoot();
  void SplitChild(Inner& parent, uint32_t at);
  void Rebalance(Path* path, int level);
  bool MergeOrBorrow(Inner& parent, uint32_t at);
  void CollapseRoot();
  void CheckSubtree(const Node& node, Walk* walk) const;

  Node* root_ = nullptr;  // null if and only if size_ is 0
  uint64_t size_ = 0;     // blocks
  uint64_t extents_ = 0;
  uint64_t leaves_ = 0;  // nodes of each kind that this map reaches, shared or not
  uint64_t inners_ = 0;
};

}  // namespace volfs
