// Goal: holes stay holes, in the image, on the node's disk, in a clone, and while it is copied.
#include <gtest/gtest.h>
#include <linux/falloc.h>

#include <cerrno>
#include <random>
#include <vector>

#include "tests/mount/mount_fixture.h"

namespace volfs {
namespace {

constexpr uint64_t kTiB = uint64_t{1} << 40;

class SparseTest : public MountTest {
 protected:
  static constexpr uint64_t kPieceBytes = 2 * kMiB;

  // Makes pieces of random bytes all over the image, the first and the last at its ends.
  void MakeScattered(const std::string& name, uint64_t size_bytes, int pieces) {
    const TestFile file(Volume(name), O_RDWR | O_CREAT | O_EXCL);
    if (::ftruncate(file.fd(), static_cast<off_t>(size_bytes)) != 0) {
      throw std::runtime_error("cannot grow " + name);
    }
    std::mt19937_64 random(11);
    std::vector<std::byte> bytes(kPieceBytes);
    const uint64_t distance = (size_bytes - kPieceBytes) / static_cast<uint64_t>(pieces - 1);
    for (int i = 0; i < pieces; ++i) {
      for (std::byte& byte : bytes) byte = static_cast<std::byte>(random() | 1);
      const uint64_t block = static_cast<uint64_t>(i) * distance / 4096;
      const uint64_t offset = i == pieces - 1 ? size_bytes - kPieceBytes : block * 4096;
      if (file.WriteAt(offset, bytes) != 0) throw std::runtime_error("cannot write " + name);
      pieces_.push_back({offset, offset + kPieceBytes});
    }
    if (file.Sync() != 0) throw std::runtime_error("cannot sync " + name);
  }

  [[nodiscard]] const std::vector<DataRange>& pieces() const { return pieces_; }

  [[nodiscard]] uint64_t LayerBytes(const std::string& node) const {
    return std::stoull(MustRun("du -s -B1 " + NodePath(node) + "/layers"));
  }

  [[nodiscard]] uint64_t NodeBytes(const std::string& node) const {
    return std::stoull(MustRun("du -s -B1 " + NodePath(node)));
  }

  // Allows for blocks that the node's filesystem counts as the file's.
  void ExpectAllocated(const std::string& name, uint64_t bytes) const {
    const uint64_t told = Number(name, "allocated_bytes");
    EXPECT_GE(told, bytes) << name;
    EXPECT_LT(told, bytes + kMiB / 8) << name;
    EXPECT_EQ(static_cast<uint64_t>(StatOf(Volume(name)).st_blocks) * 512, told) << name;
  }

  void ExpectSamePieces(const std::string& name, const std::string& other) const {
    const TestFile one(Volume(name), O_RDONLY);
    const TestFile two(Volume(other), O_RDONLY);
    std::vector<std::byte> ones(kPieceBytes);
    std::vector<std::byte> twos(kPieceBytes);
    for (const DataRange& piece : pieces_) {
      ASSERT_EQ(one.ReadAt(piece.offset_bytes, ones), 0);
      ASSERT_EQ(two.ReadAt(piece.offset_bytes, twos), 0);
      EXPECT_TRUE(ones == twos) << "at " << piece.offset_bytes;
    }
  }

 private:
  std::vector<DataRange> pieces_;
};

// A volume of 1 TiB with 100 MiB of data takes 100 MiB on its node. A clone copies exactly these
// and takes no more. Both show the same holes before, during and after the copy, and so does a
// snapshot (T28, T29, T34).
TEST_F(SparseTest, TebibyteWithAHundredMebibytesTakesAsMuch) {
  constexpr int kPieces = 50;
  constexpr uint64_t kData = kPieces * SparseTest::kPieceBytes;
  constexpr uint64_t kSlack = 12 * kMiB;  // maps, catalog
  Mount();
  const uint64_t empty_a = NodeBytes("a");
  const uint64_t empty_b = NodeBytes("b");
  MakeScattered("db.img", kTiB, kPieces);
  EXPECT_EQ(DataRangesOf(Volume("db.img")), pieces());
  ExpectAllocated("db.img", kData);
  EXPECT_LT(NodeBytes("a") - empty_a, kData + kSlack);
  SetCopyRate("0");
  ASSERT_EQ(Ask("clone", "db.img copy"), 0);
  EXPECT_EQ(DataRangesOf(Volume("copy")), pieces()) << "while it is creating";
  EXPECT_EQ(static_cast<uint64_t>(StatOf(Volume("copy")).st_size), kTiB);
  ExpectSamePieces("db.img", "copy");
  while (Field("copy", "total_bytes") == "0") {
    ASSERT_EQ(Field("copy", "status"), "creating");
  }
  EXPECT_EQ(Number("copy", "total_bytes"), kData);
  SetCopyRate("max");
  ASSERT_TRUE(WaitForStatus("copy", "available", 60'000));
  EXPECT_EQ(DataRangesOf(Volume("copy")), pieces());
  ExpectAllocated("copy", kData);
  ExpectSamePieces("db.img", "copy");
  ASSERT_EQ(Ask("snapshot", "copy s"), 0);
  EXPECT_EQ(DataRangesOf(Path("snapshots/copy/s")), pieces());
  for (const char* node : {"a", "b"}) {
    EXPECT_GE(LayerBytes(node), kData) << node;
    EXPECT_LT(LayerBytes(node), kData + kMiB) << node;
  }
  EXPECT_LT(NodeBytes("b") - empty_b, kData + kSlack);
}

// Making, listing and reading an empty image of 1 TiB takes hardly any time and space. It reads as
// zeros, and SEEK_DATA finds nothing (contract.md 7.2, T28).
TEST_F(SparseTest, EmptyOneIsAHole) {
  Mount();
  MustRun("truncate -s 1T " + Volume("empty"), {.timeout_ms = 10'000});
  const TestFile file(Volume("empty"), O_RDONLY);
  EXPECT_EQ(ErrnoOf(::lseek(file.fd(), 0, SEEK_DATA)), ENXIO);
  EXPECT_EQ(file.Seek(0, SEEK_HOLE), 0U);
  EXPECT_EQ(ErrnoOf(::lseek(file.fd(), static_cast<off_t>(kTiB), SEEK_HOLE)), ENXIO);
  EXPECT_EQ(StatOf(Volume("empty")).st_blocks, 0);
  std::vector<std::byte> bytes(kMiB, std::byte{1});
  EXPECT_EQ(file.ReadAt(kTiB / 2, bytes), 0);
  EXPECT_TRUE(bytes == std::vector<std::byte>(kMiB)) << "not zeros";
  EXPECT_LT(LayerBytes("a"), kMiB);
  ASSERT_EQ(Ask("clone", "empty"), 0);
  EXPECT_TRUE(WaitForStatus("empty-clone", "available", 10'000)) << "nothing is to be copied";
  EXPECT_EQ(Field("empty-clone", "hydrated"), "100.00");
  EXPECT_LT(LayerBytes("b"), kMiB);
}

// `cp --sparse=always` and `cp` of an image keep its holes: they see them through the mount (T28).
TEST_F(SparseTest, CpKeepsHoles) {
  Mount();
  MakeScattered("db.img", 200 * kMiB, 3);
  MustRun("cp " + Volume("db.img") + " " + Volume("copy"));
  EXPECT_EQ(DataRangesOf(Volume("copy")), pieces());
  ExpectSamePieces("db.img", "copy");
  MustRun("cp " + Volume("db.img") + " " + directory() + "/plain");
  EXPECT_EQ(RunShell("cmp " + Volume("db.img") + " " + directory() + "/plain").output, "");
  EXPECT_LT(StatOf(directory() + "/plain").st_blocks * 512, static_cast<blkcnt_t>(8 * kMiB));
}

// Overwriting, punching and deleting give space back to the node, until nothing is left
// (contract.md 4).
TEST_F(SparseTest, PunchingAndDeletingFreeSpace) {
  Mount();
  MakeScattered("db.img", 100 * kMiB, 10);
  EXPECT_GE(LayerBytes("a"), 20 * kMiB);
  {
    const TestFile file(Volume("db.img"));
    ASSERT_EQ(file.Allocate(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 60 * kMiB), 0);
    ASSERT_EQ(file.Sync(), 0);
  }
  EXPECT_LT(LayerBytes("a"), 12 * kMiB);
  ASSERT_EQ(Ask("delete", "db.img"), 0);
  EXPECT_LT(LayerBytes("a"), kMiB / 2);
  EXPECT_EQ(ListOf(NodePath("a") + "/layers").size(), 0U);
}

}  // namespace
}  // namespace volfs
