#include "fusefs/serve/request_pool.h"

#include <gtest/gtest.h>

#include <atomic>

namespace volfs {
namespace {

// T53: requests that wait for one another make progress as long as a thread is left.
TEST(RequestPoolTest, TasksRunSideBySide) {
  std::atomic<int> inside{0};
  std::atomic<int> done{0};
  {
    RequestPool pool("test", 4, 4);
    for (int i = 0; i < 4; ++i) {
      pool.Submit([&] {
        ++inside;
        const Nanoseconds deadline = MonotonicNow() + std::chrono::seconds(20);
        while (inside < 4 && MonotonicNow() < deadline) SleepFor(std::chrono::milliseconds(1));
        ++done;
      });
    }
  }
  EXPECT_EQ(inside, 4);
  EXPECT_EQ(done, 4);
}

// T54: requests that wait for a hung node do not keep the others from being served. When they
// return, the threads that replaced them end.
TEST(RequestPoolTest, GrowsWhileTasksWait) {
  std::atomic<bool> answers{false};
  std::atomic<int> done{0};
  RequestPool pool("test", 2, 10);
  for (int i = 0; i < 9; ++i) {
    pool.Submit([&] {
      while (!answers) SleepFor(std::chrono::milliseconds(1));
      ++done;
    });
  }
  pool.Submit([&] { ++done; });
  const Nanoseconds deadline = MonotonicNow() + std::chrono::seconds(20);
  while (done == 0 && MonotonicNow() < deadline) SleepFor(std::chrono::milliseconds(1));
  EXPECT_EQ(done, 1);
  answers = true;
  pool.Stop();
  EXPECT_EQ(done, 10);
}

TEST(RequestPoolTest, StopRunsWhatIsQueued) {
  std::atomic<int> done{0};
  RequestPool pool("test", 1, 1);
  for (int i = 0; i < 50; ++i) pool.Submit([&] { ++done; });
  pool.Stop();
  EXPECT_EQ(done, 50);
  pool.Submit([&] { ++done; });
  EXPECT_EQ(done, 51) << "in the caller, as no thread is left";
}

}  // namespace
}  // namespace volfs
