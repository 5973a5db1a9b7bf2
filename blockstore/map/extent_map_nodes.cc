#include "blockstore/map/extent_map_nodes.h"

#include <cstring>
#include <utility>

namespace volfs {

ExtentMap::Node* ExtentMap::Node::New(uint32_t height) {
  if (height == 0) return new Leaf;
  return new Inner(height);
}

void ExtentMap::Node::Delete(Node* node) {
  if (node->is_leaf()) {
    delete &node->leaf();
  } else {
    delete &node->inner();
  }
}

void ExtentMap::Node::CopyFrom(const Node& source, uint32_t from, uint32_t to, uint32_t n) {
  assert(from + n <= kFanout && to + n <= kFanout && height == source.height);
  std::memmove(keys + to, source.keys + from, n * sizeof keys[0]);
  if (is_leaf()) {
    std::memmove(leaf().layers + to, source.leaf().layers + from, n * sizeof leaf().layers[0]);
  } else {
    // NOLINTNEXTLINE(bugprone-sizeof-expression): the children are pointers
    const size_t size = n * sizeof inner().children[0];
    std::memmove(inner().children + to, source.inner().children + from, size);
  }
}

void ExtentMap::Node::RemoveEntries(uint32_t from, uint32_t to) {
  assert(from <= to && to <= count);
  CopyFrom(*this, to, from, count - to);
  count = static_cast<uint16_t>(count - (to - from));
}

void ExtentMap::Inner::InsertChild(uint32_t at, Node* child) {
  assert(count < kFanout && at <= count && child->height + 1 == height);
  CopyFrom(*this, at, at + 1, count - at);
  keys[at] = child->keys[0];
  children[at] = child;
  ++count;
}

// --- reference counts ---

ExtentMap::Node* ExtentMap::Share(Node* node) {
  // Relaxed: the caller holds a reference already, so the count cannot reach 0 meanwhile.
  if (node != nullptr) node->refs.fetch_add(1, std::memory_order_relaxed);
  return node;
}

// Dead nodes wait in a list that is linked through their first key: no recursion, no allocation.
void ExtentMap::Release(Node* node) {
  // Release: this map's reads of the node happen before the next owner changes it. Acquire: the
  // accesses of the other owners happen before the node is freed.
  const auto dies = [](Node* n) { return n->refs.fetch_sub(1, std::memory_order_acq_rel) == 1; };
  if (node == nullptr || !dies(node)) return;
  node->keys[0] = 0;
  for (Node* dead = node; dead != nullptr;) {
    // NOLINTNEXTLINE(performance-no-int-to-ptr): the list reuses the dead node's key
    Node* next = reinterpret_cast<Node*>(static_cast<uintptr_t>(dead->keys[0]));
    for (uint32_t i = 0; !dead->is_leaf() && i < dead->count; ++i) {
      Node* child = dead->inner().children[i];
      if (!dies(child)) continue;
      child->keys[0] = reinterpret_cast<uintptr_t>(next);
      next = child;
    }
    Node::Delete(std::exchange(dead, next));
  }
}

// True if only one map, through one parent, reaches the node. Correct only if that holds for all of
// its ancestors; hence changes own their path from the root down (I4).
bool ExtentMap::Owned(const Node& node) { return node.refs.load(std::memory_order_acquire) == 1; }

ExtentMap::Node* ExtentMap::Clone(const Node& node) {
  Node* copy = Node::New(node.height);
  copy->CopyFrom(node, 0, 0, node.count);
  copy->count = node.count;
  for (uint32_t i = 0; !copy->is_leaf() && i < copy->count; ++i) Share(copy->inner().children[i]);
  return copy;
}

void ExtentMap::MakeOwned(Node*& slot) {
  if (Owned(*slot)) return;
  Node* shared = std::exchange(slot, Clone(*slot));
  Release(shared);
}

// Moves half of the difference from child `at` to a neighbour with enough room. Only to one that
// need not be copied for it: copying is dearer than a split.
bool ExtentMap::Inner::ShiftFromChild(uint32_t at) {
  Node& node = *children[at];
  const auto takes = [](const Node& n) { return Owned(n) && n.count + kShiftMin <= kFanout; };
  if (at > 0 && takes(*children[at - 1])) {
    Node& left = *children[at - 1];
    const uint32_t n = (node.count - left.count + 1u) / 2;
    left.CopyFrom(node, 0, left.count, n);
    left.count = static_cast<uint16_t>(left.count + n);
    node.RemoveEntries(0, n);
    keys[at] = node.keys[0];
    return true;
  }
  if (at + 1 < count && takes(*children[at + 1])) {
    Node& right = *children[at + 1];
    const uint32_t n = (node.count - right.count + 1u) / 2;
    right.CopyFrom(right, 0, n, right.count);
    right.CopyFrom(node, node.count - n, 0, n);
    right.count = static_cast<uint16_t>(right.count + n);
    node.count = static_cast<uint16_t>(node.count - n);
    keys[at + 1] = right.keys[0];
    return true;
  }
  return false;
}

}  // namespace volfs
