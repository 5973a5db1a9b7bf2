// Goal: the command finds the contents of a copied image anywhere in it, and says what its UUIDs
// conflict with. Method: images with the signatures at the places that the formats define.
#include "control/cli/host/image_contents.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <string>

#include "blockstore/io/posix_descriptor.h"
#include "tests/support/temp_dir.h"

namespace volfs::cli {
namespace {

using namespace std::string_literals;
using testing::HasSubstr;
using testing::IsEmpty;
using enum ContentsKind;

constexpr uint64_t kMiB = 1 << 20;

class ImageContentsTest : public testing::Test {
 protected:
  ImageContentsTest() : fd_(::open((dir_ / "image").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)) {
    EXPECT_EQ(::ftruncate(fd_.get(), 16 * kMiB), 0);
  }

  void Put(uint64_t at, const std::string& bytes) {
    EXPECT_EQ(::pwrite(fd_.get(), bytes.data(), bytes.size(), static_cast<off_t>(at)),
              static_cast<ssize_t>(bytes.size()));
  }
  static std::string Number(uint64_t value, size_t bytes) {
    std::string text;
    for (size_t i = 0; i < bytes; ++i) text += static_cast<char>(value >> (8 * i) & 0xff);
    return text;
  }
  // Writes partition `index` of a GPT, in sectors.
  void PutGpt(size_t index, uint64_t first, uint64_t last, uint64_t sector = 512) {
    Put(sector, "EFI PART"s + std::string(64, '\0') + Number(2, 8) + Number(128, 4) +
                    Number(128, 4) + std::string(4, '\0'));
    Put(2 * sector + index * 128,
        "type-guid-------"s + "own-guid--------"s + Number(first, 8) + Number(last, 8));
  }
  void PutMbr(uint64_t sector, size_t index, char type, uint64_t first, uint64_t sectors) {
    Put(sector * 512 + 446 + index * 16,
        "\0\0\0\0"s + type + "\0\0\0"s + Number(first, 4) + Number(sectors, 4));
    Put(sector * 512 + 510, "\x55\xaa");
  }
  std::vector<Contents> Found() { return ContentsOf(fd_.get()); }

  TempDir dir_;
  Descriptor fd_;
};

TEST_F(ImageContentsTest, AnEmptyImageHoldsNothing) {
  EXPECT_THAT(Found(), IsEmpty());
  EXPECT_EQ(ContentsText(Found()), "");
  EXPECT_EQ(AdviceFor(Found(), "/dev/loop0", false), "");
}

TEST_F(ImageContentsTest, KnowsTheSignatures) {
  const std::vector<std::tuple<uint64_t, std::string, ContentsKind>> all = {
      {0, "XFSB", kXfs},
      {65600, "_BHRfS_M", kBtrfs},
      {512, "LABELONE"s + std::string(16, 'x') + "LVM2 001", kLvm},
      {4096, "\xfc\x4e\x2b\xa9", kMdRaid},
      {1080, "\x53\xef", kExt},
      {4086, "SWAPSPACE2", kSwap},
      {0, "LUKS\xba\xbe", kLuks}};
  for (const auto& [at, bytes, kind] : all) {
    Put(at, bytes);
    EXPECT_EQ(Found().size(), 1U) << bytes;
    EXPECT_EQ(Found().at(0).kind, kind) << bytes;
    Put(at, std::string(bytes.size(), '\0'));
  }
}

TEST_F(ImageContentsTest, LooksIntoThePartitionsOfAGpt) {
  PutGpt(0, 2048, 4095);
  PutGpt(2, 8192, 16383);
  Put(2048 * 512 + 1080, "\x53\xef");
  Put(8192 * 512, "XFSB");
  EXPECT_EQ(ContentsText(Found()), "gpt,ext@p1,xfs@p3");
  EXPECT_THAT(AdviceFor(Found(), "/dev/loop7", false), HasSubstr("-o nouuid /dev/loop7p3"));
}

TEST_F(ImageContentsTest, AlsoOfOneWithLargeSectors) {
  PutGpt(0, 256, 1023, 4096);
  Put(256 * 4096 + 65600, "_BHRfS_M");
  EXPECT_EQ(ContentsText(Found()), "gpt,btrfs@p1");
}

TEST_F(ImageContentsTest, LooksIntoThePartitionsOfAnMbrLogicalOnesToo) {
  PutMbr(0, 0, '\x83', 2048, 2048);
  PutMbr(0, 1, '\x05', 8192, 16384);
  PutMbr(8192, 0, '\x83', 63, 2048);
  PutMbr(8192, 1, '\x05', 4096, 4096);  // relative to the extended partition
  PutMbr(12288, 0, '\x8e', 63, 2048);
  Put(2048 * 512, "XFSB");
  Put((8192 + 63) * 512 + 1080, "\x53\xef");
  Put((12288 + 63) * 512 + 512, "LABELONE"s + std::string(16, 'x') + "LVM2 001");
  EXPECT_EQ(ContentsText(Found()), "mbr,xfs@p1,ext@p5,lvm@p6");
}

// A table may name places outside of the image, or point to itself.
TEST_F(ImageContentsTest, ATableOfNonsenseEndsTheLook) {
  PutGpt(0, uint64_t{1} << 60, UINT64_MAX);
  PutGpt(1, 5, 4);
  EXPECT_EQ(ContentsText(Found()), "gpt");
  Put(512, std::string(8, '\0'));
  PutMbr(0, 0, '\x05', 1, 100);
  PutMbr(1, 1, '\x05', 0, 100);  // points to itself
  EXPECT_EQ(ContentsText(Found()), "mbr");
}

TEST_F(ImageContentsTest, KnowsWhatIsThereTwice) {
  Put(0, "XFSB");
  Put(32, "0123456789abcdef");
  const std::vector<Contents> one = Found();
  EXPECT_TRUE(AreTwins(one, Found()));
  Put(32, "0123456789abcdeF");
  EXPECT_FALSE(AreTwins(one, Found()));
  EXPECT_FALSE(AreTwins({{kExt, 0}}, {{kExt, 0}}));
}

TEST_F(ImageContentsTest, SaysWhatToDoWithEach) {
  const auto advice = [](ContentsKind kind, bool read_only) {
    return AdviceFor({{kind, 0}}, "/dev/loop0", read_only);
  };
  EXPECT_THAT(advice(kXfs, false), HasSubstr("xfs_admin -U generate /dev/loop0"));
  EXPECT_THAT(advice(kXfs, true), HasSubstr("-o ro,norecovery,nouuid /dev/loop0"));
  EXPECT_THAT(advice(kBtrfs, false), HasSubstr("btrfstune -u /dev/loop0"));
  EXPECT_THAT(advice(kLvm, false), HasSubstr("vgimportclone -n NEW_VG /dev/loop0"));
  EXPECT_EQ(advice(kExt, false), "");
}

}  // namespace
}  // namespace volfs::cli
