#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <functional>
#include <utility>
#include <vector>

#include "blockstore/store/store.h"
#include "tests/support/store_fixture.h"

namespace volfs {

using Bytes = std::vector<std::byte>;

#if defined(__SANITIZE_THREAD__)
inline constexpr std::chrono::milliseconds kSmallTest(3000);
#else
inline constexpr std::chrono::milliseconds kSmallTest(1000);
#endif

// Runs all bodies at once, each in a thread of its own, and waits for them.
inline void AllAtOnce(std::vector<std::function<void()>> bodies) {
  std::vector<Thread> threads;
  threads.reserve(bodies.size());
  for (auto& body : bodies) threads.emplace_back("stress", std::move(body));
  for (Thread& thread : threads) thread.Join();
}

// Returns whether the refusal is right while other threads change the same things.
inline bool MayHappen(const Status& status) {
  if (status.ok()) return true;
  const Errc code = status.error().code;
  return code == Errc::kBusy || code == Errc::kNotFound || code == Errc::kExists ||
         code == Errc::kInvalid;
}

template <typename T>
Status StatusOf(const Result<T>& result) {
  if (result.ok()) return OkStatus();
  return result.error();
}

#define EXPECT_MAY_HAPPEN(expression)                                                  \
  do {                                                                                 \
    const Status may_status = StatusOf(expression);                                    \
    EXPECT_TRUE(MayHappen(may_status))                                                 \
        << #expression << ": " << (may_status.ok() ? "" : may_status.error().message); \
  } while (false)

// A store for requests that collide for a while.
class VolumeStressTest : public ::testing::Test {
 protected:
  Store& store() { return fixture_.store(); }
  Result<std::shared_ptr<Volume>> Clone(const CloneRequest& request) {
    return store().Clone(request, Caller{});
  }
  [[nodiscard]] bool over() const { return MonotonicNow() >= end_; }
  void RunFor(std::chrono::milliseconds duration) { end_ = MonotonicNow() + duration; }

  StoreFixture fixture_;
  Nanoseconds end_{0};
};

}  // namespace volfs
