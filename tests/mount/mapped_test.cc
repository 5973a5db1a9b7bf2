// Goal: bytes that a program has stored into a mapping, and that read(2) shows, are never reported
// as a hole nor left out by a copy, although the kernel has not told the daemon of them yet (T28,
// T49; openzfs 15526 and 15933). Method: stores into a live mapping, and each question right after,
// through a descriptor that was open before.
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <random>

#include "tests/mount/mount_fixture.h"

namespace volfs {
namespace {

constexpr uint64_t kMappedBytes = 4 * kMiB;

class MappedTest : public MountTest {
 protected:
  void SetUp() override {
    MountTest::SetUp();
    if (IsSkipped()) return;
    Mount();
    MustRun("truncate -s 4M " + Volume("v"));
    reader_.emplace(Volume("v"), O_RDONLY);
    writer_.emplace(Volume("v"), O_RDWR);
    memory_ = static_cast<char*>(
        ::mmap(nullptr, kMappedBytes, PROT_READ | PROT_WRITE, MAP_SHARED, writer_->fd(), 0));
    ASSERT_NE(static_cast<void*>(memory_), MAP_FAILED);
  }

  void TearDown() override {
    if (memory_ != nullptr) ::munmap(memory_, kMappedBytes);
    reader_.reset();
    writer_.reset();
    MountTest::TearDown();
  }

  void Store(uint64_t offset) { std::memcpy(memory_ + offset, "DATA", 4); }

  // Returns the image as a program that seeks for data reads it.
  [[nodiscard]] std::vector<std::byte> CopyBySeeking() const {
    std::vector<std::byte> bytes(kMappedBytes);
    for (uint64_t at = 0; at < kMappedBytes;) {
      const auto data = reader_->Seek(at, SEEK_DATA);
      if (!data) break;
      at = reader_->Seek(*data, SEEK_HOLE).value();
      EXPECT_EQ(reader_->ReadAt(*data, std::span(bytes).subspan(*data, at - *data)), 0);
    }
    return bytes;
  }

  [[nodiscard]] std::vector<std::byte> ReadAll() const {
    std::vector<std::byte> bytes(kMappedBytes);
    EXPECT_EQ(reader_->ReadAt(0, bytes), 0);
    return bytes;
  }

  std::optional<TestFile> reader_;
  std::optional<TestFile> writer_;
  char* memory_ = nullptr;
};

TEST_F(MappedTest, AStoreIsDataAtOnce) {
  Store(500'000);
  EXPECT_EQ(reader_->Seek(0, SEEK_DATA), 500'000U / 4096 * 4096);
  Store(1'000'000);
  const auto hole = reader_->Seek(500'000, SEEK_HOLE);
  ASSERT_TRUE(hole);
  EXPECT_GT(*hole, 500'003U);
  EXPECT_LE(*hole, 1'000'000U / 4096 * 4096);
  EXPECT_EQ(reader_->Seek(*hole, SEEK_DATA), 1'000'000U / 4096 * 4096);
  Store(kMappedBytes - 4);
  EXPECT_EQ(reader_->Seek(1'048'576, SEEK_DATA), kMappedBytes - 4096);
  EXPECT_EQ(reader_->Seek(kMappedBytes - 10, SEEK_HOLE), kMappedBytes);
}

// 0 blocks mean "nothing but zeros" to tar and cp (T29).
TEST_F(MappedTest, AnImageWithAStoreHasBlocks) {
  EXPECT_EQ(StatOf(Volume("v")).st_blocks, 0);
  Store(123'456);
  EXPECT_GT(StatOf(Volume("v")).st_blocks, 0);
}

TEST_F(MappedTest, ACopyThatSeeksHasEveryStore) {
  std::mt19937_64 random(5);
  for (int round = 0; round < 12; ++round) {
    for (int i = 0; i < 5; ++i) Store(random() % (kMappedBytes - 4));
    if (round == 4 && !NativeByDefault()) MustAsk("snapshot", "v s");  // over other layers, too
    ASSERT_EQ(CopyBySeeking(), ReadAll()) << "round " << round;
  }
}

// Sharing blocks instead of copying them needs a snapshot point of the source.
TEST_F(MappedTest, CopyFileRangeHasEveryStore) {
  if (NativeByDefault()) GTEST_SKIP() << "nothing is shared with what the kernel serves";
  std::vector<std::byte> old(kMappedBytes, std::byte{'o'});
  ASSERT_EQ(writer_->WriteAt(0, old), 0);
  Store(8192);
  const TestFile target(Volume("copy"), O_RDWR | O_CREAT | O_EXCL);
  off_t from = 0;
  off_t to = 0;
  while (static_cast<uint64_t>(to) < kMappedBytes) {
    ASSERT_GT(::copy_file_range(reader_->fd(), &from, target.fd(), &to, kMappedBytes, 0), 0);
  }
  std::vector<std::byte> bytes(kMappedBytes);
  ASSERT_EQ(target.ReadAt(0, bytes), 0);
  EXPECT_EQ(bytes, ReadAll());
}

}  // namespace
}  // namespace volfs
