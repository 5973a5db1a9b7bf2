#include "blockstore/sync/epoch.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <utility>
#include <vector>

namespace volfs {
namespace {

using std::chrono::milliseconds;

// Without readers, Synchronize returns at once.
TEST(EpochTest, HasNothingToWaitFor) {
  Epoch epoch;
  epoch.Synchronize();
  epoch.Enter().Leave();
  epoch.Synchronize();
}

// Synchronize waits for a Reader that entered before it (E1), in either parity.
TEST(EpochTest, WaitsForReaders) {
  Epoch epoch;
  for (int round = 0; round < 3; ++round) {
    auto reader = epoch.Enter();
    std::atomic<bool> left{false};
    Thread leaver("leaver", [&] {
      SleepFor(milliseconds(5));
      left = true;
      reader.Leave();
    });
    epoch.Synchronize();
    EXPECT_TRUE(left);
    leaver.Join();
  }
}

// Synchronize does not wait for Readers that enter later (E3): one of them can outlast it.
TEST(EpochTest, DoesNotWaitForNewcomers) {
  Epoch epoch;
  auto early = epoch.Enter();
  std::atomic<bool> done{false};
  Thread synchronizer("synchronizer", [&] {
    epoch.Synchronize();
    done = true;
  });
  SleepFor(milliseconds(10));  // by now the first flip was made
  EXPECT_FALSE(done);
  early.Leave();
  synchronizer.Join();

  // A chain of Readers without a gap. If Synchronize waited for newcomers, it would never return.
  std::atomic<bool> stop{false};
  Thread chain("chain", [&] {
    auto current = epoch.Enter();
    while (!stop) current = epoch.Enter();
  });
  epoch.Synchronize();
  stop = true;
  chain.Join();
}

// A Reader may be moved, and leaves once.
TEST(EpochTest, MovesReaders) {
  Epoch epoch;
  Epoch::Reader outer;
  {
    auto inner = epoch.Enter();
    EXPECT_TRUE(inner.inside());
    outer = std::move(inner);
  }
  EXPECT_TRUE(outer.inside());
  outer.Leave();
  EXPECT_FALSE(outer.inside());
  epoch.Synchronize();
}

// An object that was unpublished before Synchronize may be destroyed after it (E1, E2), with
// readers and two writers at work. Objects are recycled, so a missed reader would see a dead one.
TEST(EpochTest, ProtectsWhatIsReplaced) {
  struct Object {
    bool alive = false;  // plain: the thread sanitizer sees any overlap
  };
  Epoch epoch;
  Object objects[3];
  objects[0].alive = true;
  Mutex mu;  // excludes the two writers, who publish and retire
  std::atomic<Object*> current{&objects[0]};
  std::vector<Object*> unused{&objects[1], &objects[2]};
  std::atomic<bool> stop{false};

  std::vector<Thread> readers;
  for (int i = 0; i < 2; ++i) {
    readers.emplace_back("reader", [&] {
      while (!stop) {
        const auto reader = epoch.Enter();
        EXPECT_TRUE(current.load()->alive);
      }
    });
  }
  const auto replace = [&] {
    for (int i = 0; i < 100; ++i) {
      Object* old = nullptr;
      {
        MutexLock lock(mu);
        Object* fresh = unused.back();
        unused.pop_back();
        fresh->alive = true;
        old = current.exchange(fresh);
      }
      epoch.Synchronize();
      MutexLock lock(mu);
      old->alive = false;
      unused.push_back(old);
    }
  };
  Thread writer("writer", replace);
  replace();
  writer.Join();
  stop = true;
  for (Thread& thread : readers) thread.Join();
}

}  // namespace
}  // namespace volfs
