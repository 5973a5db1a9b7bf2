#include "blockstore/volume/volume.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <vector>

#include "tests/support/store_fixture.h"

namespace volfs {
namespace {

using Bytes = std::vector<std::byte>;

Bytes ReadAll(Volume& volume) {
  Bytes out(volume.size_bytes());
  const Result<size_t> got = volume.ReadAt(out, 0);
  EXPECT_TRUE(got.ok()) << (got.ok() ? "" : got.error().message);
  if (got.ok()) {
    EXPECT_EQ(got.value(), out.size());
  }
  return out;
}

// A volume and its model: a plain array that is changed in the same way.
struct Modelled {
  std::shared_ptr<Volume> volume;
  Bytes model;

  void Write(uint64_t offset, size_t length, uint32_t seed) {
    Bytes data(length);
    for (size_t i = 0; i < length; ++i) data[i] = static_cast<std::byte>(seed * 31 + i * 7 + 1);
    ASSERT_TRUE(volume->WriteAt(data, offset).ok());
    if (offset + length > model.size()) model.resize(offset + length);
    std::memcpy(model.data() + offset, data.data(), length);
  }
  void Discard(uint64_t offset, uint64_t length) {
    ASSERT_TRUE(volume->Discard({offset, length}).ok());
    if (offset >= model.size()) return;
    std::memset(model.data() + offset, 0, std::min<uint64_t>(length, model.size() - offset));
  }
  void Grow(uint64_t size) {
    ASSERT_TRUE(volume->Grow(size).ok());
    if (size > model.size()) model.resize(size);
  }
  void Check() { EXPECT_TRUE(ReadAll(*volume) == model); }
};

// Does one random operation of any alignment on a volume of about a megabyte.
void RandomStep(Modelled& m, std::mt19937& random) {
  const uint64_t offset = random() % (m.model.size() + 5000);
  const uint64_t length = random() % 3 == 0 ? random() % 700 + 1 : random() % 60000 + 1;
  switch (random() % 8) {
    case 0:
    case 1:
      return m.Discard(offset, length);
    case 2:
      return m.Grow(m.model.size() + random() % 9000);
    default:
      return m.Write(offset, length, static_cast<uint32_t>(random()));
  }
}

class VolumeTest : public ::testing::Test {
 protected:
  Modelled Make(const std::string& name, uint64_t size) {
    return {fixture_.MakeVolume(name, size), Bytes(size)};
  }
  void Snapshot(const std::string& volume, const std::string& name) {
    const auto taken = fixture_.store().TakeSnapshot(volume, name, Caller{});
    ASSERT_TRUE(taken.ok()) << taken.error().message;
  }
  Bytes ReadSnapshot(Id id) {
    const auto open = fixture_.store().OpenSnapshotImage(id);
    EXPECT_TRUE(open.ok());
    Bytes out(open.value()->image().size_bytes());
    EXPECT_TRUE(open.value()->image().ReadAt(out, 0).ok());
    return out;
  }

  StoreFixture fixture_;
};

// A new volume reads as zeros up to its end, and no bytes are read past the end.
TEST_F(VolumeTest, IsZerosAtFirst) {
  Modelled m = Make("db", 10000);
  m.Check();
  std::byte one[1];
  const auto past = m.volume->ReadAt(one, 10000);
  ASSERT_TRUE(past.ok());
  EXPECT_EQ(past.value(), 0U);
}

// Reads, writes, discards and growth of any offset and length act as on a plain array. This holds
// for a flat head, and for heads over one and two frozen layers.
TEST_F(VolumeTest, ActsAsAPlainArrayOverAnyNumberOfSnapshots) {
  std::mt19937 random(1);
  Modelled m = Make("db", 1'000'003);
  std::vector<std::pair<std::string, Bytes>> instants;
  for (int round = 0; round < 4; ++round) {
    for (int step = 0; step < 60; ++step) RandomStep(m, random);
    m.Check();
    const std::string name = "s" + std::to_string(round);
    Snapshot("db", name);
    instants.emplace_back(name, m.model);
  }
  for (int step = 0; step < 60; ++step) RandomStep(m, random);
  m.Check();
  for (const SnapshotInfo& s : fixture_.store().Snapshots(m.volume->id())) {
    for (const auto& [name, bytes] : instants) {
      if (name == s.name) {
        EXPECT_TRUE(ReadSnapshot(s.id) == bytes) << name;
      }
    }
  }
}

// The same holds after the maps were rebuilt from the catalogs, and while snapshots are deleted
// from the middle of the chain.
TEST_F(VolumeTest, SurvivesRemountsAndDeletedSnapshots) {
  std::mt19937 random(2);
  Modelled m = Make("db", 600'000);
  for (int round = 0; round < 6; ++round) {
    for (int step = 0; step < 30; ++step) RandomStep(m, random);
    Snapshot("db", "s" + std::to_string(round));
    if (round >= 2) {
      const Status gone = fixture_.store().DeleteSnapshot(
          "db", "s" + std::to_string(round - 1 - round % 2), Caller{});
      EXPECT_TRUE(gone.ok() || gone.error().code == Errc::kNotFound);
    }
    for (int step = 0; step < 20; ++step) RandomStep(m, random);
    m.volume.reset();
    fixture_.Reopen();
    m.volume = fixture_.store().Find("db");
    ASSERT_NE(m.volume, nullptr);
    m.Check();
  }
}

// T25, T61: a discard in a head over a snapshot hides the snapshot's data for good, also in parts
// of blocks and after a remount.
TEST_F(VolumeTest, DiscardNeverBringsOldDataBack) {
  Modelled m = Make("db", 100'000);
  m.Write(0, 100'000, 7);
  Snapshot("db", "s");
  m.Discard(1000, 20'000);
  m.Discard(50'000, 10);
  m.Discard(96'000, 4'000);
  m.Check();
  ASSERT_TRUE(m.volume->Sync().ok());
  m.volume.reset();
  fixture_.Reopen();
  m.volume = fixture_.store().Find("db");
  m.Check();
}

// T28: inherited blocks are data, discarded and never written blocks are holes.
TEST_F(VolumeTest, SeeksTheLogicalTruth) {
  Modelled m = Make("db", 1 << 20);
  m.Write(64 << 10, 64 << 10, 3);
  Snapshot("db", "s");
  EXPECT_EQ(m.volume->SeekData(0).value(), 64U << 10);
  EXPECT_EQ(m.volume->SeekHole(64 << 10).value(), 128U << 10);
  m.Discard(64 << 10, 32 << 10);
  EXPECT_EQ(m.volume->SeekData(0).value(), 96U << 10);
  EXPECT_EQ(m.volume->SeekData(128 << 10).error().code, Errc::kNoData);
  EXPECT_EQ(m.volume->SeekHole(1 << 20).error().code, Errc::kNoData);
  EXPECT_EQ(m.volume->SeekHole((1 << 20) - 1).value(), (1U << 20) - 1);
}

// A type's greatest size limits each way of growing.
TEST_F(VolumeTest, DoesNotGrowPastItsTypesGreatestSize) {
  CreateRequest request;
  request.name = "small";
  request.size_bytes = 1 << 20;
  request.type = "sata";
  const auto made = fixture_.store().Create(request, Caller{});
  ASSERT_TRUE(made.ok()) << made.error().message;
  EXPECT_EQ(made.value()->Grow(uint64_t{2} << 30).error().code, Errc::kFileTooBig);
  const std::byte byte{};
  EXPECT_EQ(made.value()->WriteAt({&byte, 1}, uint64_t{1} << 30).error().code, Errc::kFileTooBig);
  EXPECT_EQ(made.value()->size_bytes(), 1U << 20);
}

// T65: deleting a volume that is open for reading frees its name at once, and its space at the last
// close.
TEST_F(VolumeTest, IsReadableUntilTheLastCloseOfADeletedOne) {
  Modelled m = Make("db", 300'000);
  m.Write(0, 300'000, 9);
  ASSERT_TRUE(m.volume->Sync().ok());
  ASSERT_TRUE(m.volume->opens().Add(Volume::Access::kRead).ok());
  ASSERT_TRUE(fixture_.store().Delete("db", Caller{}).ok());
  EXPECT_EQ(fixture_.store().Find("db"), nullptr);
  m.Check();
  EXPECT_EQ(m.volume->opens().Add(Volume::Access::kRead).error().code, Errc::kNotFound);
  Make("db", 5000).Check();  // the name is free, and the new volume has no byte of the old one
  m.volume->opens().Remove(Volume::Access::kRead);
}

// Deleting a volume that is open for writing is refused, and changes nothing.
TEST_F(VolumeTest, IsNotDeletedWhileItIsOpenForWriting) {
  Modelled m = Make("db", 1000);
  ASSERT_TRUE(m.volume->opens().Add(Volume::Access::kWrite).ok());
  EXPECT_EQ(fixture_.store().Delete("db", Caller{}).error().code, Errc::kBusy);
  m.volume->opens().Remove(Volume::Access::kWrite);
  EXPECT_TRUE(fixture_.store().Delete("db", Caller{}).ok());
}

}  // namespace
}  // namespace volfs
