#pragma once

#include <atomic>
#include <cassert>
#include <memory>
#include <string>

#include "fusefs/serve/request_pool.h"

namespace volfs {

// Bounds how many threads of the session serve one node (a bulkhead). At most kMax do, whether the
// node is quick or hangs, so that requests for the other nodes always find a thread: there are kMax
// for each node, and as many more. Requests beyond that are queued, and their threads are free
// again.
//
// Invariant: each Enter that returned true is paired with one Leave.
//
// Thread-safety: all methods from any thread.
// Cost of Enter and Leave: one atomic addition each.
class NodeLimiter {
 public:
  class Permit;

  static constexpr int kMax = 32;
  // A clone that is not whole counts for its source's node, too. Fewer than kMax may, or the clones
  // of a node that hangs would fill the limiters of their own nodes.
  static constexpr int kMaxOfClones = 16;

  explicit NodeLimiter(const std::string& node)
      : overflow_("limiter-" + node, kMin, kOverflow), mapped_("mapped-" + node, kMin, kOverflow) {}
  ~NodeLimiter() { assert(inside_ == 0); }
  NodeLimiter(const NodeLimiter&) = delete;
  NodeLimiter& operator=(const NodeLimiter&) = delete;

  // Returns false if `most` threads are inside already.
  [[nodiscard]] bool Enter(int most) {
    if (inside_.fetch_add(1, std::memory_order_acquire) < most) return true;
    Leave();
    return false;
  }
  void Leave() {
    const int inside = inside_.fetch_sub(1, std::memory_order_release);
    assert(inside > 0);
  }

  // The threads that serve the queued requests.
  RequestPool& overflow() { return overflow_; }
  // The threads that wait until the kernel has written out pages (mapped_pages.h). They do not
  // count here, because the writes of the kernel do.
  RequestPool& mapped() { return mapped_; }

 private:
  static constexpr int kMin = 1;
  static constexpr int kOverflow = 4;

  std::atomic<int> inside_{0};
  RequestPool overflow_;
  RequestPool mapped_;
};

// A place within the limits of a handle's node and, if it has one, of its source's node. Either may
// be null. The limiters outlive the permit; the handle need not.
// Cost: an atomic addition for each limiter, and another when the place is given back.
class NodeLimiter::Permit {
 public:
  Permit(NodeLimiter* limiter, NodeLimiter* source_limiter)
      : limiter_(limiter), source_limiter_(source_limiter), taken_(Take()) {}
  ~Permit() {
    if (!taken_) return;
    if (limiter_ != nullptr) limiter_->Leave();
    if (source_limiter_ != nullptr) source_limiter_->Leave();
  }
  Permit(const Permit&) = delete;
  Permit& operator=(const Permit&) = delete;

  [[nodiscard]] bool taken() const { return taken_; }

 private:
  [[nodiscard]] bool Take() {
    if (limiter_ != nullptr && !limiter_->Enter(NodeLimiter::kMax)) return false;
    if (source_limiter_ == nullptr || source_limiter_->Enter(NodeLimiter::kMaxOfClones))
      return true;
    if (limiter_ != nullptr) limiter_->Leave();
    return false;
  }

  NodeLimiter* const limiter_;
  NodeLimiter* const source_limiter_;
  const bool taken_;
};

}  // namespace volfs
