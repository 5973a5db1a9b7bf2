#pragma once

#include <atomic>
#include <cassert>
#include <memory>
#include <string>

#include "fusefs/serve/request_pool.h"

namespace volfs {

// The way of requests to one node. At most kMax of the session's threads are on it, whether the
// node is quick or hangs, so that the others always find some (there are kMax for each node, and
// as many more); what comes beyond that is queued, and its thread is free again.
//
// Thread-safety: all methods from any thread.
// Cost of Enter and Leave: one atomic addition each.
class NodeLimiter {
 public:
  class Permit;

  static constexpr int kMax = 32;
  // A clone that is not whole is on the limiter of its source's node, too. Less than the others, or
  // clones of a node that hangs would fill their own nodes' limiters.
  static constexpr int kMaxOfClones = 16;

  explicit NodeLimiter(const std::string& node)
      : overflow_("limiter-" + node, kMin, kOverflow), mapped_("mapped-" + node, kMin, kOverflow) {}
  ~NodeLimiter() { assert(inside_ == 0); }
  NodeLimiter(const NodeLimiter&) = delete;
  NodeLimiter& operator=(const NodeLimiter&) = delete;

  // False: it is full.
  [[nodiscard]] bool Enter(int most) {
    if (inside_.fetch_add(1, std::memory_order_acquire) < most) return true;
    Leave();
    return false;
  }
  void Leave() {
    const int inside = inside_.fetch_sub(1, std::memory_order_release);
    assert(inside > 0);
  }

  // Who serves what is queued.
  RequestPool& overflow() { return overflow_; }
  // The threads that wait until the kernel has written out pages (mapped_pages.h). They are apart
  // from the limiter's, because the kernel's writes come by this limiter.
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
