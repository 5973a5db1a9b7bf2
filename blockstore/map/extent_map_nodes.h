#pragma once

#include <atomic>
#include <cassert>
#include <cstdint>

#include "blockstore/map/extent_map.h"

// The nodes of ExtentMap's tree: arrays of entries, and reference counts. Private to extent_map.cc,
// which makes a tree of them.

namespace volfs {

// keys[i] is the first block of entry i: of the extent in a leaf, of the whole subtree in an inner
// node (exactly, so that one descent finds both ends of an extent).
struct ExtentMap::Node {
  // 64 entries: a full leaf is 784 bytes, 12.25 an entry.
  static constexpr uint32_t kFanout = 64;
  static constexpr uint32_t kMin = kFanout / 4;  // I3
  // Neighbours are merged only up to here, so that a block that is mapped and unmapped in turns
  // does not merge and split the same leaf for ever.
  static constexpr uint32_t kMergeMax = kFanout * 3 / 4;
  // A full node gives entries to a neighbour that has this much room before it splits. This keeps
  // leaves nine tenths full under appends, and more than three quarters under random changes.
  static constexpr uint32_t kShiftMin = kFanout / 8;
  // Inner nodes have at least kMin children and there are less than 2^52 blocks.
  static constexpr int kMaxLevels = 14;

  explicit Node(uint32_t node_height) : height(static_cast<uint16_t>(node_height)) {}
  std::atomic<uint32_t> refs{1};
  uint16_t count = 0;
  const uint16_t height;  // 0: a Leaf, else an Inner
  uint64_t keys[kFanout];

  [[nodiscard]] bool is_leaf() const { return height == 0; }
  Leaf& leaf();
  const Leaf& leaf() const;
  Inner& inner();
  const Inner& inner() const;

  static Node* New(uint32_t height);
  static void Delete(Node* node);
  // The entries [from, from + n) of `source` become the entries from `to` on here. The two may be
  // the same node, and overlap. Counts are the caller's to change.
  void CopyFrom(const Node& source, uint32_t from, uint32_t to, uint32_t n);
  void RemoveEntries(uint32_t from, uint32_t to);
};

struct ExtentMap::Leaf : Node {
  Leaf() : Node(0) {}
  LayerRef layers[kFanout];
};

struct ExtentMap::Inner : Node {
  explicit Inner(uint32_t node_height) : Node(node_height) {}
  Node* children[kFanout];

  void InsertChild(uint32_t at, Node* child);
  bool ShiftFromChild(uint32_t at);
};

inline ExtentMap::Leaf& ExtentMap::Node::leaf() {
  assert(is_leaf());
  return static_cast<Leaf&>(*this);
}
inline const ExtentMap::Leaf& ExtentMap::Node::leaf() const {
  assert(is_leaf());
  return static_cast<const Leaf&>(*this);
}
inline ExtentMap::Inner& ExtentMap::Node::inner() {
  assert(!is_leaf());
  return static_cast<Inner&>(*this);
}
inline const ExtentMap::Inner& ExtentMap::Node::inner() const {
  assert(!is_leaf());
  return static_cast<const Inner&>(*this);
}

}  // namespace volfs
