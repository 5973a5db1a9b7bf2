#include "blockstore/base/memory.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <memory>
#include <vector>

#include "blockstore/base/runtime.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define VOLFS_SANITIZED 1
#endif

namespace volfs {
namespace {

using Piece = std::unique_ptr<std::byte[]>;

constexpr size_t kPieceBytes = size_t{1} << 20;

TEST(MemoryTest, WhatMayFailIsAnErrorOfOneRequest) {
  const auto result = OrNoMemory([]() -> Result<int> { throw std::bad_alloc(); });
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code, Errc::kNoMemory);
}

TEST(MemoryTest, AScopeEndsWithItsBlock) {
  EXPECT_EQ(internal::allocations, Allocations::kFail);
  {
    const AllocationScope outer(Allocations::kWait);
    EXPECT_EQ(internal::allocations, Allocations::kWait);
    (void)OrNoMemory([]() -> Result<int> {
      EXPECT_EQ(internal::allocations, Allocations::kFail);
      return 0;
    });
    EXPECT_EQ(internal::allocations, Allocations::kWait);
  }
  EXPECT_EQ(internal::allocations, Allocations::kFail);
}

TEST(MemoryTest, ThreadsOfTheRuntimeWait) {
  Allocations seen = Allocations::kFail;
  Thread thread("test", [&] { seen = internal::allocations; });
  thread.Join();
  EXPECT_EQ(seen, Allocations::kWait);
}

#ifndef VOLFS_SANITIZED  // a sanitizer maps more than any limit allows

// Each test runs in a process of its own, because a limit on memory cannot be lifted again.
class LackOfMemoryTest : public ::testing::Test {
 protected:
  // Leaves address space for so many pieces.
  static void Limit(size_t pieces) {
    std::ifstream statm("/proc/self/statm");
    size_t pages = 0;
    statm >> pages;
    const rlim_t bytes = pages * static_cast<size_t>(::getpagesize()) + pieces * kPieceBytes;
    const rlimit limit{bytes, RLIM_INFINITY};
    ::setrlimit(RLIMIT_AS, &limit);
  }
  static void Unlimit() {
    const rlimit limit{RLIM_INFINITY, RLIM_INFINITY};
    ::setrlimit(RLIMIT_AS, &limit);
  }
  static size_t TakeAll(std::vector<Piece>& pieces) {
    while (OrNoMemory([&]() -> Result<int> {
             pieces.push_back(std::make_unique_for_overwrite<std::byte[]>(kPieceBytes));
             return 0;
           }).ok()) {
    }
    return pieces.size();
  }
};

TEST_F(LackOfMemoryTest, WhoWaitsGetsTheReserveWhileOthersAreRefused) {
  EXPECT_EXIT(
      {
        std::vector<Piece> pieces;
        pieces.reserve(1024);
        PrepareForLackOfMemory();
        Limit(64);
        const bool refused = TakeAll(pieces) < 1024;
        const AllocationScope scope(Allocations::kWait);
        for (size_t i = 0; i < kMemoryReserveBytes / kPieceBytes / 2; ++i) {
          pieces.push_back(std::make_unique_for_overwrite<std::byte[]>(kPieceBytes));
        }
        ::_exit(refused ? 0 : 1);
      },
      testing::ExitedWithCode(0), "");
}

TEST_F(LackOfMemoryTest, WhoFindsNoReserveGoesOnWhenThereIsMemoryAgain) {
  EXPECT_EXIT(
      {
        std::vector<Piece> pieces;
        pieces.reserve(1024);
        PrepareForLackOfMemory();
        // Starts before the limit is set: a thread needs address space of its own.
        std::atomic<bool> taken{false};
        Thread relief("test", [&taken] {
          while (!taken.load()) SleepFor(std::chrono::milliseconds(1));
          SleepFor(std::chrono::milliseconds(200));
          Unlimit();
        });
        Limit(64);
        (void)TakeAll(pieces);
        taken = true;
        const Nanoseconds begin = MonotonicNow();
        {
          const AllocationScope scope(Allocations::kWait);
          for (size_t i = 0; i <= kMemoryReserveBytes / kPieceBytes; ++i) {
            pieces.push_back(std::make_unique_for_overwrite<std::byte[]>(kPieceBytes));
          }
        }
        relief.Join();
        ::_exit(MonotonicNow() - begin >= std::chrono::milliseconds(150) ? 0 : 1);
      },
      testing::ExitedWithCode(0), "");
}

TEST_F(LackOfMemoryTest, TheReserveIsTakenAgain) {
  EXPECT_EXIT(
      {
        std::vector<Piece> pieces;
        pieces.reserve(1024);
        PrepareForLackOfMemory();
        for (int round = 0; round < 3; ++round) {
          Limit(64);
          (void)TakeAll(pieces);
          {
            const AllocationScope scope(Allocations::kWait);
            pieces.push_back(std::make_unique_for_overwrite<std::byte[]>(kPieceBytes));
          }
          pieces.clear();
          RefillMemoryReserve();
        }
        ::_exit(0);
      },
      testing::ExitedWithCode(0), "");
}

#endif

}  // namespace
}  // namespace volfs
