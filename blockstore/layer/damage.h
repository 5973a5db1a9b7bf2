#pragma once

#include <atomic>
#include <cstdint>
#include <string>

#include "blockstore/base/error.h"
#include "blockstore/base/runtime.h"

namespace volfs {

class Node;

// What a use of a layer's file found wrong with it: the file is gone, was cut or replaced, or
// cannot be opened or read. It is the `error` of every volume over the layer until a later use
// succeeds.
//
// Thread-safety: all methods from any thread. Locks: mu_, a leaf. Cost of any(): one load.
class LayerDamage {
 public:
  // `node` counts its damaged layers (Node::NoteDamage). Null: nothing is ever noted.
  explicit LayerDamage(Node* node) : node_(node) {}
  ~LayerDamage() { Forget(); }
  LayerDamage(const LayerDamage&) = delete;
  LayerDamage& operator=(const LayerDamage&) = delete;

  // Keeps `error`, of a use of the file at `offset_bytes`, if it says that the file is damaged. The
  // first such error stays until Forget.
  void Note(const Error& error, uint64_t offset_bytes) VOLFS_EXCLUDES(mu_);
  void Forget() VOLFS_EXCLUDES(mu_);

  [[nodiscard]] bool any() const { return any_.load(std::memory_order_acquire); }
  [[nodiscard]] std::string text() const VOLFS_EXCLUDES(mu_);       // empty: there is none
  [[nodiscard]] uint64_t offset_bytes() const VOLFS_EXCLUDES(mu_);  // of the use that failed

 private:
  Node* const node_;
  std::atomic<bool> any_{false};
  mutable Mutex mu_;
  std::string text_ VOLFS_GUARDED_BY(mu_);
  uint64_t offset_bytes_ VOLFS_GUARDED_BY(mu_) = 0;
};

}  // namespace volfs
