// Goal: a node directory on a real filesystem keeps the contract of node_directory.h. It opens only
// plain files of its own, never a link or a device that another user put in their place.
#include "blockstore/io/posix_node.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <fstream>

#include "tests/support/sizes.h"
#include "tests/support/temp_dir.h"

namespace volfs {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

constexpr char kLayer[] = "layers/0123456789abcd00";

class PosixNodeTest : public testing::Test {
 protected:
  PosixNodeTest() : node_(std::move(OpenPosixNode(dir_.path()).value())) {}

  std::unique_ptr<NodeFile> Make(const std::string& name = kLayer) {
    auto file = node_->Open(name, OpenMode::kCreateNew);
    EXPECT_TRUE(file.ok()) << file.error().message;
    return std::move(file.value());
  }
  Errc OpenError(const std::string& name, OpenMode mode = OpenMode::kReadWrite) {
    const auto file = node_->Open(name, mode);
    EXPECT_FALSE(file.ok());
    return file.ok() ? Errc::kInvalid : file.error().code;
  }

  TempDir dir_;
  std::unique_ptr<NodeDirectory> node_;
};

std::vector<std::byte> MakeBytes(size_t size, int value) {
  return std::vector<std::byte>(size, static_cast<std::byte>(value));
}

std::vector<std::byte> Read(NodeFile& file, size_t size, uint64_t offset_bytes) {
  std::vector<std::byte> out = MakeBytes(size, 0xee);
  EXPECT_TRUE(file.ReadAt(out, offset_bytes).ok());
  return out;
}

TEST_F(PosixNodeTest, MakesLayersDirectoryForItsOwnerOnly) {
  struct stat info {};
  ASSERT_EQ(::stat((dir_ / "layers").c_str(), &info), 0);
  EXPECT_TRUE(S_ISDIR(info.st_mode));
  EXPECT_EQ(info.st_mode & 0777, 0700U);
}

TEST_F(PosixNodeTest, OpensADirectoryThatHasLayersAlready) {
  ASSERT_TRUE(Make()->WriteAt(MakeBytes(3, 7), 0).ok());
  const auto again = OpenPosixNode(dir_.path());
  ASSERT_TRUE(again.ok());
  const auto file = again.value()->Open(kLayer, OpenMode::kReadOnly);
  ASSERT_TRUE(file.ok());
  EXPECT_EQ(Read(*file.value(), 3, 0), MakeBytes(3, 7));
}

TEST_F(PosixNodeTest, RefusesWhatIsNotADirectory) {
  EXPECT_EQ(OpenPosixNode(dir_ / "missing").error().code, Errc::kNotFound);
  std::ofstream(dir_ / "file") << "x";
  EXPECT_FALSE(OpenPosixNode(dir_ / "file").ok());
}

TEST_F(PosixNodeTest, RefusesLayersThatAreALinkElsewhere) {
  const TempDir elsewhere;
  const TempDir node;
  fs::create_directory_symlink(elsewhere.path(), node / "layers");
  EXPECT_EQ(OpenPosixNode(node.path()).error().code, Errc::kCorrupt);
}

TEST_F(PosixNodeTest, MakesFilesForTheirOwnerOnly) {
  Make();
  struct stat info {};
  ASSERT_EQ(::stat((dir_ / kLayer).c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600U);
}

TEST_F(PosixNodeTest, CreatesOnlyWhatIsNotThereAndOpensOnlyWhatIs) {
  EXPECT_EQ(OpenError(kLayer), Errc::kNotFound);
  Make();
  EXPECT_EQ(OpenError(kLayer, OpenMode::kCreateNew), Errc::kExists);
  EXPECT_TRUE(node_->Open(kLayer, OpenMode::kReadWrite).ok());
}

TEST_F(PosixNodeTest, ReadsZerosPastTheEndAndInHoles) {
  const auto file = Make();
  ASSERT_TRUE(file->WriteAt(MakeBytes(10, 1), 8190).ok());
  EXPECT_EQ(Read(*file, 8190, 0), MakeBytes(8190, 0));
  const auto tail = Read(*file, 100, 8195);
  EXPECT_EQ(std::vector(tail.begin(), tail.begin() + 5), MakeBytes(5, 1));
  EXPECT_EQ(std::vector(tail.begin() + 5, tail.end()), MakeBytes(95, 0));
  EXPECT_EQ(Read(*file, 4, uint64_t{1} << 62), MakeBytes(4, 0));
}

TEST_F(PosixNodeTest, TellsSizes) {
  const auto file = Make();
  ASSERT_TRUE(file->SetSize(uint64_t{1} << 30).ok());
  EXPECT_EQ(file->Size().value(), uint64_t{1} << 30);
  EXPECT_LT(file->AllocatedBytes().value(), uint64_t{1} << 20);
  ASSERT_TRUE(file->WriteAt(MakeBytes(1 << 20, 3), 0).ok());
  ASSERT_TRUE(file->SyncData().ok());
  EXPECT_GE(file->AllocatedBytes().value(), uint64_t{1} << 20);
  EXPECT_EQ(file->Size().value(), uint64_t{1} << 30);
}

TEST_F(PosixNodeTest, PunchesWithinTheSizeOnly) {
  const auto file = Make();
  ASSERT_TRUE(file->WriteAt(MakeBytes(64 * 1024, 5), 0).ok());
  ASSERT_TRUE(file->Punch({4096, 8192}).ok());
  EXPECT_EQ(Read(*file, 4096, 0), MakeBytes(4096, 5));
  EXPECT_EQ(Read(*file, 8192, 4096), MakeBytes(8192, 0));
  EXPECT_EQ(Read(*file, 4096, 12288), MakeBytes(4096, 5));
  ASSERT_TRUE(file->Punch({60 * 1024, uint64_t{1} << 62}).ok());
  ASSERT_TRUE(file->Punch({uint64_t{1} << 40, 4096}).ok());
  EXPECT_EQ(file->Size().value(), 64U * 1024);
  EXPECT_EQ(Read(*file, 4096, 60 * 1024), MakeBytes(4096, 0));
}

TEST_F(PosixNodeTest, AWriteOfAnySizeAtAnyOffsetIsWhole) {
  const auto file = Make();
  std::vector<std::byte> bytes(300'001);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = std::byte(i * 7 + i / 256);
  ASSERT_TRUE(file->WriteAt(bytes, 513).ok());
  ASSERT_TRUE(file->WriteOnce(bytes, 1'000'003).ok());
  EXPECT_EQ(Read(*file, bytes.size(), 513), bytes);
  EXPECT_EQ(Read(*file, bytes.size(), 1'000'003), bytes);
  EXPECT_EQ(file->Size().value(), 1'000'003 + bytes.size());
}

// A backing filesystem frees whole blocks only. It also frees the last block of a file that ends
// within the block, if the range reaches the end of that block.
TEST_F(PosixNodeTest, PunchPastTheEndFreesTheLastPartialBlock) {
  constexpr uint64_t kSizeBytes = 2 * kBlock + 300;
  const auto file = Make();
  ASSERT_TRUE(file->WriteAt(MakeBytes(kSizeBytes, 5), 0).ok());
  ASSERT_TRUE(file->SyncData().ok());
  const uint64_t full = file->AllocatedBytes().value();
  ASSERT_TRUE(file->Punch({2 * kBlock, kBlock}).ok());
  ASSERT_TRUE(file->SyncData().ok());
  EXPECT_LE(file->AllocatedBytes().value() + kBlock, full);
  EXPECT_EQ(file->Size().value(), kSizeBytes);
  EXPECT_EQ(Read(*file, 2 * kBlock, 0), MakeBytes(2 * kBlock, 5));
  EXPECT_EQ(Read(*file, 300, 2 * kBlock), MakeBytes(300, 0));
  ASSERT_TRUE(file->Punch({0, 3 * kBlock}).ok());
  ASSERT_TRUE(file->SyncData().ok());
  EXPECT_EQ(file->AllocatedBytes().value(), 0U);
  EXPECT_EQ(file->Size().value(), kSizeBytes);
}

TEST_F(PosixNodeTest, NextDataNeverCallsDataAHole) {
  const auto file = Make();
  ASSERT_TRUE(file->SetSize(64 << 20).ok());
  EXPECT_FALSE(file->NextData(uint64_t{1} << 40).value().has_value());
  ASSERT_TRUE(file->WriteAt(MakeBytes(4096, 1), 1 << 20).ok());
  ASSERT_TRUE(file->WriteAt(MakeBytes(4096, 1), 32 << 20).ok());
  std::vector<ByteRange> data;
  uint64_t at = 0;
  while (const auto range = file->NextData(at).value()) {
    ASSERT_GE(range->offset_bytes, at);
    ASSERT_GT(range->length_bytes, 0U);
    data.push_back(*range);
    at = range->end();
  }
  EXPECT_EQ(at <= (64U << 20), true);
  for (const uint64_t written : {uint64_t{1} << 20, uint64_t{32} << 20}) {
    EXPECT_TRUE(std::any_of(data.begin(), data.end(), [&](const ByteRange& r) {
      return r.offset_bytes <= written && r.end() >= written + 4096;
    }));
  }
}

TEST_F(PosixNodeTest, DroppingTheCacheChangesNothing) {
  const auto file = Make();
  ASSERT_TRUE(file->WriteAt(MakeBytes(8192, 9), 0).ok());
  file->DropCache({0, 8192});
  file->DropCache({0, 0});
  EXPECT_EQ(Read(*file, 8192, 0), MakeBytes(8192, 9));
}

TEST_F(PosixNodeTest, ListsAndRemovesLayers) {
  Make("layers/0000000000000100");
  Make("layers/0000000000000200");
  ASSERT_TRUE(node_->SyncNames().ok());
  auto names = node_->ListLayers().value();
  std::sort(names.begin(), names.end());
  EXPECT_EQ(names, (std::vector<std::string>{"0000000000000100", "0000000000000200"}));
  EXPECT_EQ(node_->ListLayers().value().size(), 2U) << "a second listing begins anew";
  ASSERT_TRUE(node_->Remove("layers/0000000000000100").ok());
  EXPECT_EQ(node_->Remove("layers/0000000000000100").error().code, Errc::kNotFound);
  EXPECT_EQ(node_->ListLayers().value(), std::vector<std::string>{"0000000000000200"});
}

TEST_F(PosixNodeTest, AFileOutlivesItsNameAndItsDirectory) {
  const auto file = Make();
  ASSERT_TRUE(file->WriteAt(MakeBytes(16, 4), 0).ok());
  ASSERT_TRUE(node_->Remove(kLayer).ok());
  node_.reset();
  EXPECT_EQ(Read(*file, 16, 0), MakeBytes(16, 4));
}

// Bytes that another program cut off are an error, not zeros. Bytes past the size that SetSize gave
// are zeros.
TEST_F(PosixNodeTest, BytesThatAnotherProgramCutOffAreAnError) {
  const auto file = Make();
  ASSERT_TRUE(file->SetSize(8192).ok());
  EXPECT_EQ(Read(*file, 4096, 6000), MakeBytes(4096, 0)) << "past the end";
  fs::resize_file(dir_ / kLayer, 4096);
  std::vector<std::byte> out(4096);
  EXPECT_EQ(file->ReadAt(out, 6000).error().code, Errc::kCorrupt);
  EXPECT_EQ(file->ReadAt(out, 2048).error().code, Errc::kCorrupt) << "half of it";
  EXPECT_EQ(file->ReadOnce(out, 4096).error().code, Errc::kCorrupt);
  EXPECT_TRUE(file->ReadAt(out, 0).ok());
  EXPECT_EQ(file->CheckNamed().error().code, Errc::kCorrupt);
  EXPECT_FALSE(file->SyncData().ok());
  ASSERT_TRUE(file->SetSize(100).ok());
  EXPECT_EQ(Read(*file, 4096, 50), MakeBytes(4096, 0));
  EXPECT_TRUE(file->SyncData().ok());
  const auto again = node_->Open(kLayer, OpenMode::kReadWrite);
  ASSERT_TRUE(again.ok());
  fs::resize_file(dir_ / kLayer, 10);
  EXPECT_EQ(again.value()->ReadAt(out, 50).error().code, Errc::kCorrupt);
}

// Neither holes, nor filled up with zeros by a change of the size.
TEST_F(PosixNodeTest, BytesThatAnotherProgramCutOffBecomeNoZeros) {
  const auto file = Make();
  ASSERT_TRUE(file->SetSize(65536).ok());
  EXPECT_EQ(file->FirstData(4096).value(), std::nullopt) << "a hole";
  fs::resize_file(dir_ / kLayer, 8192);
  EXPECT_EQ(file->FirstData(4096).error().code, Errc::kCorrupt);
  EXPECT_EQ(file->NextData(4096).error().code, Errc::kCorrupt);
  EXPECT_EQ(file->NextData(65535).error().code, Errc::kCorrupt);
  EXPECT_EQ(file->NextData(65536).value(), std::nullopt) << "past the end";
  EXPECT_EQ(file->Stat().error().code, Errc::kCorrupt);
  EXPECT_EQ(file->SetSize(65537).error().code, Errc::kCorrupt);
  EXPECT_EQ(file->SetSize(8193).error().code, Errc::kCorrupt);
  EXPECT_EQ(fs::file_size(dir_ / kLayer), 8192U);
  EXPECT_TRUE(file->SetSize(8192).ok()) << "of these nothing was lost";
  EXPECT_TRUE(file->SetSize(65536).ok());
  EXPECT_EQ(file->NextData(8192).value(), std::nullopt);
}

// A file that the kernel makes longer by itself must not become shorter than it was then.
TEST_F(PosixNodeTest, BytesThatWereSeenMustStay) {
  const auto file = Make();
  fs::resize_file(dir_ / kLayer, 16384);
  EXPECT_EQ(file->Stat().value().size_bytes, 16384U);
  fs::resize_file(dir_ / kLayer, 8192);
  EXPECT_EQ(file->Stat().error().code, Errc::kCorrupt);
  EXPECT_EQ(file->CheckNamed().error().code, Errc::kCorrupt);
}

// The next mount finds nothing that is written to such a file.
TEST_F(PosixNodeTest, AFileThatItsNameDoesNotLeadToIsNotSynced) {
  for (const char* const how : {"removed", "moved", "replaced"}) {
    SCOPED_TRACE(how);
    const auto file = Make();
    EXPECT_TRUE(file->SyncData().ok());
    EXPECT_TRUE(file->CheckNamed().ok());
    if (*how == 'm') fs::rename(dir_ / kLayer, dir_ / "layers/else");
    if (*how == 'r') fs::remove(dir_ / kLayer);
    if (how == std::string("replaced")) std::ofstream(dir_ / kLayer) << "x";
    EXPECT_EQ(file->SyncData().error().code, Errc::kIo);
    EXPECT_FALSE(file->CheckNamed().ok());
    fs::remove(dir_ / kLayer);
  }
}

TEST_F(PosixNodeTest, RefusesASymbolicLink) {
  std::ofstream(dir_ / "target") << "x";
  fs::create_symlink("../target", dir_ / kLayer);
  EXPECT_EQ(OpenError(kLayer), Errc::kCorrupt);
  EXPECT_EQ(OpenError(kLayer, OpenMode::kReadOnly), Errc::kCorrupt);
}

TEST_F(PosixNodeTest, RefusesAFifoWithoutWaitingForItsOtherEnd) {
  ASSERT_EQ(::mkfifo((dir_ / kLayer).c_str(), 0600), 0);
  EXPECT_EQ(OpenError(kLayer), Errc::kCorrupt);
  EXPECT_EQ(OpenError(kLayer, OpenMode::kReadOnly), Errc::kCorrupt);
}

TEST_F(PosixNodeTest, RefusesADirectory) {
  fs::create_directory(dir_ / kLayer);
  EXPECT_EQ(OpenError(kLayer), Errc::kCorrupt);
  EXPECT_EQ(OpenError(kLayer, OpenMode::kReadOnly), Errc::kCorrupt);
}

TEST_F(PosixNodeTest, RefusesAFileWithASecondName) {
  Make();
  fs::create_hard_link(dir_ / kLayer, dir_ / "another");
  EXPECT_EQ(OpenError(kLayer), Errc::kCorrupt);
  fs::remove(dir_ / "another");
  EXPECT_TRUE(node_->Open(kLayer, OpenMode::kReadWrite).ok());
}

TEST_F(PosixNodeTest, RefusesToLeaveItsDirectory) {
  const TempDir elsewhere;
  std::ofstream(elsewhere / "secret") << "x";
  EXPECT_FALSE(node_
                   ->Open("../" + fs::path(elsewhere / "secret")
                                      .lexically_relative(fs::path(dir_.path()).parent_path())
                                      .string(),
                          OpenMode::kReadOnly)
                   .ok());
  EXPECT_FALSE(node_->Open(elsewhere / "secret", OpenMode::kReadOnly).ok());
}

TEST_F(PosixNodeTest, StaysWithTheDirectoryThatItOpened) {
  Make();
  fs::rename(dir_.path(), dir_.path() + ".moved");
  fs::create_directory(dir_.path());
  EXPECT_TRUE(node_->Open(kLayer, OpenMode::kReadWrite).ok());
  fs::remove_all(dir_.path());
  fs::rename(dir_.path() + ".moved", dir_.path());
}

TEST_F(PosixNodeTest, CatalogPathSurvivesChangingTheWorkingDirectory) {
  const fs::path before = fs::current_path();
  fs::current_path(dir_.path());
  const auto node = OpenPosixNode(".");
  fs::current_path(before);
  ASSERT_TRUE(node.ok());
  EXPECT_EQ(node.value()->catalog_path(), fs::canonical(dir_.path()).string() + "/catalog.db");
  EXPECT_EQ(node.value()->display_path(), ".");
}

TEST_F(PosixNodeTest, TellsFreeSpace) {
  const SpaceInfo space = node_->Space().value();
  EXPECT_GT(space.size_bytes, 0U);
  EXPECT_LE(space.free_bytes, space.size_bytes);
}

TEST_F(PosixNodeTest, MessagesNameTheCallTheFileTheOffsetAndTheReason) {
  Make();
  const auto file = node_->Open(kLayer, OpenMode::kReadOnly);
  ASSERT_TRUE(file.ok());
  const Status status =
      file.value()->WriteAt(MakeBytes(1, 1), 4096);  // EBADF: not open for writing
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().code, Errc::kIo);
  EXPECT_EQ(status.error().os_errno, EBADF);
  EXPECT_EQ(status.error().message, std::string("pwrite ") + kLayer +
                                        " at byte 4096 on node directory " + dir_.path() +
                                        ": Bad file descriptor");
}

// A sync of a file without a name saves nothing, although fdatasync(2) reports success.
TEST_F(PosixNodeTest, ASyncOfAFileThatWasRemovedFails) {
  const auto file = Make();
  ASSERT_TRUE(file->WriteAt(MakeBytes(4096, 1), 0).ok());
  ASSERT_TRUE(file->SyncData().ok());
  fs::remove(dir_ / kLayer);
  const Status synced = file->SyncData();
  ASSERT_FALSE(synced.ok());
  EXPECT_EQ(synced.error().code, Errc::kIo);
  EXPECT_THAT(synced.error().message, HasSubstr("was removed"));
}

// Each test takes a node away from a daemon that has its files open. Every call on these open files
// still succeeds.
class NodeLossTest : public testing::Test {
 protected:
  NodeLossTest() {
    fs::create_directory(path_);
    node_ = std::move(OpenPosixNode(path_).value());
    for (const char* const name : {"lock", "catalog.db", "catalog.db-wal"}) Touch(name);
    EXPECT_TRUE(node_->CheckPresent().ok());
    EXPECT_TRUE(node_->CheckPresent().ok());
  }
  void Touch(const std::string& name) { std::ofstream(path_ + "/" + name) << "x"; }
  void ExpectGone() {
    const Status present = node_->CheckPresent();
    ASSERT_FALSE(present.ok());
    EXPECT_EQ(present.error().code, Errc::kIo);
    EXPECT_THAT(present.error().message, HasSubstr("node directory " + path_ + " is gone"));
  }

  TempDir dir_;
  const std::string path_ = dir_ / "node";
  std::unique_ptr<NodeDirectory> node_;
};

TEST_F(NodeLossTest, ADirectoryThatIsRemoved) {
  fs::remove_all(path_);
  ExpectGone();
}

TEST_F(NodeLossTest, ADirectoryThatIsMovedAway) {
  fs::rename(path_, path_ + ".old");
  ExpectGone();
  fs::rename(path_ + ".old", path_);
  EXPECT_TRUE(node_->CheckPresent().ok());
}

TEST_F(NodeLossTest, ADirectoryThatIsReplacedByACopyOfIt) {
  fs::rename(path_, path_ + ".old");
  fs::copy(path_ + ".old", path_, fs::copy_options::recursive);
  ExpectGone();
}

TEST_F(NodeLossTest, AParentThatIsReplacedByAFile) {
  const std::string parent = dir_ / "parent";
  fs::create_directories(parent + "/node");
  node_ = std::move(OpenPosixNode(parent + "/node").value());
  ASSERT_TRUE(node_->CheckPresent().ok());
  fs::rename(parent, parent + ".old");
  std::ofstream(parent) << "x";
  EXPECT_FALSE(node_->CheckPresent().ok());
}

TEST_F(NodeLossTest, ACatalogALogALockOrLayersThatIsRemovedOrReplaced) {
  for (const char* const name : {"lock", "catalog.db", "catalog.db-wal", "layers"}) {
    fs::rename(path_ + "/" + name, dir_ / "aside");
    ExpectGone();
    fs::copy(dir_ / "aside", path_ + "/" + name, fs::copy_options::recursive);
    ExpectGone();
    fs::remove_all(path_ + "/" + name);
    fs::rename(dir_ / "aside", path_ + "/" + name);
    EXPECT_TRUE(node_->CheckPresent().ok()) << name;
  }
}

TEST(ErrcFromErrnoTest, IsTheTable) {
  EXPECT_EQ(ErrcFromErrno(ENOSPC), Errc::kNoSpace);
  EXPECT_EQ(ErrcFromErrno(EDQUOT), Errc::kQuota);
  EXPECT_EQ(ErrcFromErrno(EROFS), Errc::kReadOnly);
  EXPECT_EQ(ErrcFromErrno(ENOENT), Errc::kNotFound);
  EXPECT_EQ(ErrcFromErrno(EEXIST), Errc::kExists);
  EXPECT_EQ(ErrcFromErrno(EIO), Errc::kIo);
  EXPECT_EQ(ErrcFromErrno(ESTALE), Errc::kIo);
}

}  // namespace
}  // namespace volfs
