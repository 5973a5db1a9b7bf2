// Goal: the files below control/diff are found by their names and by their inode numbers, and a
// text is the same however it is read.
#include "control/tree/diff_place.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/support/store_fixture.h"

namespace volfs {
namespace {

class DiffPlaceTest : public ::testing::Test {
 protected:
  void SetUp() override {
    volume_ = fixture_.MakeVolume("db", 64 * kDefaultBlockSize);
    Snapshot("a");
    for (uint64_t block = 0; block < 64; block += 2) {
      const std::vector<std::byte> bytes(kDefaultBlockSize, std::byte{1});
      ASSERT_TRUE(volume_->WriteAt(bytes, block * kDefaultBlockSize).ok());
    }
    Snapshot("b");
  }
  void Snapshot(const std::string& name) {
    ASSERT_TRUE(fixture_.store().TakeSnapshot("db", name, Caller{}).ok());
  }
  Store& store() { return fixture_.store(); }
  DiffPlace Find(const std::string& directory, const std::string& name) {
    DiffPlace place = FindDiffVolume(store(), "db").value();
    if (!directory.empty()) place = FindInDiff(store(), place, directory).value();
    return FindInDiff(store(), place, name).value();
  }
  std::unique_ptr<ControlFile> OpenText(const std::string& directory) {
    const DiffPlace place = Find(directory, "a..b");
    return OpenDiffText(slots_.Open(store(), place).value(), place.kind);
  }
  static std::string ReadAll(ControlFile& file, size_t step) {
    std::string text;
    for (;;) {
      const std::string part = *file.Read(step, text.size()).value();
      if (part.empty()) return text;
      text += part;
    }
  }

  StoreFixture fixture_;
  std::shared_ptr<Volume> volume_;
  DiffSlots slots_;
};

TEST_F(DiffPlaceTest, NumbersLeadBack) {
  const DiffPlace directory = FindDiffVolume(store(), "db").value();
  EXPECT_EQ(FindDiff(store(), directory.ino()).value().name, "db");
  for (const char* below : {"", "ranges", "ranges.json"}) {
    for (const char* name : {"a..b", "b..a", "a..", "b..b"}) {
      const DiffPlace place = Find(below, name);
      ASSERT_TRUE(IsDiffIno(place.ino()));
      const DiffPlace found = FindDiff(store(), place.ino()).value();
      EXPECT_EQ(found.before, place.before) << name;
      EXPECT_EQ(found.after, place.after) << name;
      EXPECT_EQ(found.kind, place.kind);
      EXPECT_EQ(IsDiffImageIno(place.ino()), *below == '\0');
    }
  }
  const uint64_t gone = Find("", "a..b").ino();
  ASSERT_TRUE(store().DeleteSnapshot("db", "b", Caller{}).ok());
  EXPECT_EQ(FindDiff(store(), gone).error().code, Errc::kNotFound);
}

TEST_F(DiffPlaceTest, ATextIsReadInAnyPieces) {
  EXPECT_EQ(*OpenText("ranges")->Read(13, 0).value(), "0 4096 data\n8");
  for (const char* below : {"ranges", "ranges.json"}) {
    const std::string all = ReadAll(*OpenText(below), 1 << 20);
    for (const size_t step : {1, 7, 100}) EXPECT_EQ(ReadAll(*OpenText(below), step), all);
    const auto file = OpenText(below);
    for (const uint64_t at : {300, 20, 500, 0}) {
      EXPECT_EQ(*file->Read(50, at).value(), all.substr(at, 50)) << at;
    }
    EXPECT_EQ(*file->Read(50, all.size() + 9).value(), "");
  }
}

TEST_F(DiffPlaceTest, TooManyAreRefused) {
  std::vector<std::shared_ptr<OpenDiff>> open;
  const DiffPlace place = Find("", "a..b");
  for (int i = 0; i < DiffSlots::kMax; ++i) open.push_back(slots_.Open(store(), place).value());
  EXPECT_EQ(slots_.Open(store(), place).error().code, Errc::kNoMemory);
  open.pop_back();
  EXPECT_TRUE(slots_.Open(store(), place).ok());
}

}  // namespace
}  // namespace volfs
