// Goal: the instrument of the other tests sees each fault that it looks for. It runs on a plain
// file without a mount.
#include "tests/support/block_load.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <thread>

#include "tests/support/mount_file.h"
#include "tests/support/temp_dir.h"

namespace volfs {
namespace {

using testing::HasSubstr;

class BlockLoadTest : public testing::Test {
 protected:
  static constexpr uint64_t kBlocks = 64;

  void SetUp() override {
    const TestFile file(path_, O_RDWR | O_CREAT);
    ASSERT_EQ(ErrnoOf(::ftruncate(file.fd(), kBlocks * kPatternBlockBytes)), 0);
    ASSERT_EQ(load_.Fill(), 0);
    before_ = ReadBytes(path_);
    asked_ = load_.Now();
    load_.Start();
    AwaitWrite(before_);
    ASSERT_EQ(load_.Stop(), 0);
    answered_ = load_.Now();
    now_ = ReadBytes(path_);
    ASSERT_NE(CopyOf(before_, 0), CopyOf(now_, 0)) << "block 0 was never written again";
  }

  // Waits until block 0 was written again, and a while longer.
  void AwaitWrite(const std::vector<std::byte>& before) const {
    constexpr auto kLongest = std::chrono::seconds(60);
    const auto end = std::chrono::steady_clock::now() + kLongest;
    do {
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    } while (CopyOf(ReadBytes(path_), 0) == CopyOf(before, 0) &&
             std::chrono::steady_clock::now() < end);
  }

  static std::vector<std::byte> CopyOf(const std::vector<std::byte>& from, uint64_t block) {
    const auto first = from.begin() + static_cast<ptrdiff_t>(block * kPatternBlockBytes);
    return {first, first + kPatternBlockBytes};
  }

  // Puts sectors of `from` into `to`, at the same place or as `to_block`.
  static void Put(std::vector<std::byte>& to, uint64_t to_block, const std::vector<std::byte>& from,
                  uint64_t from_block, size_t sectors = kPatternSectors) {
    std::memcpy(to.data() + to_block * kPatternBlockBytes,
                from.data() + from_block * kPatternBlockBytes, sectors * kPatternSectorBytes);
  }

  TempDir dir_;
  const std::string path_ = dir_ / "image";
  BlockLoad load_{{.path = path_, .blocks = kBlocks, .some_direct = false, .sync_every = 10}};
  std::vector<std::byte> before_;
  std::vector<std::byte> now_;
  uint64_t asked_ = 0;
  uint64_t answered_ = 0;
};

// Right states pass: the state before the writers, and the one after them.
TEST_F(BlockLoadTest, AcceptsWhatIsRight) {
  EXPECT_EQ(load_.CheckSnapshotPoint(before_, asked_, asked_), "");
  EXPECT_EQ(load_.CheckSnapshotPoint(now_, answered_, answered_), "");
  EXPECT_EQ(load_.CheckNewest(now_), "");
  EXPECT_EQ(load_.CheckAfterCrash(now_), "");
}

// An image that holds a new write but not an older one of another block breaks the prefix rule. So
// does one that lacks a write acknowledged before the request, or holds one issued after it.
TEST_F(BlockLoadTest, SeesWhatIsNoInstant) {
  std::vector<std::byte> mixed = now_;
  Put(mixed, 0, before_, 0);
  EXPECT_THAT(load_.CheckSnapshotPoint(mixed, asked_, answered_), HasSubstr("block 0 of volume 1"));
  EXPECT_NE(load_.CheckSnapshotPoint(before_, answered_, answered_), "") << "lost writes";
  EXPECT_NE(load_.CheckSnapshotPoint(now_, asked_, asked_), "") << "later writes";
  EXPECT_NE(load_.CheckNewest(mixed), "");
  EXPECT_NE(load_.CheckNewest(before_), "");
}

// Torn, moved, damaged and vanished blocks are found, and so is a wrong size.
TEST_F(BlockLoadTest, SeesDamage) {
  std::vector<std::byte> torn = now_;
  Put(torn, 0, before_, 0, 3);
  EXPECT_THAT(load_.CheckSnapshotPoint(torn, asked_, answered_), HasSubstr("from sector 3 on"));
  std::vector<std::byte> moved = now_;
  Put(moved, 5, now_, 1);
  EXPECT_NE(load_.CheckSnapshotPoint(moved, asked_, answered_), "");
  EXPECT_NE(load_.CheckAfterCrash(moved), "");
  std::vector<std::byte> damaged = now_;
  damaged[3 * kPatternBlockBytes + 1000] ^= std::byte{1};
  EXPECT_THAT(load_.CheckNewest(damaged), HasSubstr("garbage"));
  std::vector<std::byte> zeroed = now_;
  std::fill_n(zeroed.begin(), kPatternBlockBytes, std::byte{0});
  EXPECT_THAT(load_.CheckNewest(zeroed), HasSubstr("zeros"));
  std::vector<std::byte> shorter(now_.begin(), now_.end() - 1);
  EXPECT_NE(load_.CheckNewest(shorter), "");
}

// After a crash a block may be older than the last write, but not older than the last sync. The
// next crash must not lose a state that was found once.
TEST_F(BlockLoadTest, SeesWhatACrashMustNotLose) {
  EXPECT_NE(load_.CheckAfterCrash(std::vector<std::byte>(before_.size())), "") << "all is gone";
  BlockLoad other({.path = path_, .blocks = kBlocks, .some_direct = false, .seed = 2});
  ASSERT_EQ(other.Fill(), 0);
  const std::vector<std::byte> synced = ReadBytes(path_);
  other.Start();
  AwaitWrite(synced);
  ASSERT_EQ(other.Stop(), 0);
  const std::vector<std::byte> written = ReadBytes(path_);
  EXPECT_EQ(other.CheckAfterCrash(written), "");
  EXPECT_NE(other.CheckAfterCrash(synced), "") << "it was there after the crash before";
}

}  // namespace
}  // namespace volfs
