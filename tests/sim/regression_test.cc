// Goal: bugs that other block stores shipped (R1 to R6, R9) cannot happen here. Each test plays the
// situation of such a bug in the simulated world, under many schedules, and cuts the power at the
// worst moments. Bugs around failures that end again (R7, R8, R10) are in regression_fault_test.cc.
// R11, a snapshot while data is in the kernel's cache, needs a kernel:
// tests/mount/kernel_cache_test.cc.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "blockstore/base/log.h"
#include "tests/sim/scenario.h"
#include "tests/sim/vfs.h"

namespace volfs::sim {
namespace {

using testing::IsEmpty;

class SimEnvironment : public testing::Environment {
  void SetUp() override {
    // Most tests provoke messages of the store.
    ASSERT_TRUE(LogToFile("/dev/null"));
    InstallVfs();  // before SQLite's first use in this process
    (void)FormattedDisks();
  }
};
const testing::Environment* const kEnvironment =
    testing::AddGlobalTestEnvironment(std::make_unique<SimEnvironment>().release());

// Makes acknowledged writes, under a schedule of their own.
void WriteAtRandom(Simulation& world, VolumeModel& model, uint64_t seed, int count,
                   uint64_t unit_bytes, uint64_t max_units) {
  Random random(seed);
  for (int i = 0; i < count; ++i) {
    const uint64_t units = model.image.size() / unit_bytes;
    const uint64_t first = random.Below(units);
    const uint64_t length = std::min(random.Between(1, max_units), units - first);
    (void)world.clients().Write(model, first * unit_bytes, length * unit_bytes);
    if (random.OneIn(4)) (void)world.clients().Sync(model);
    if (random.OneIn(4)) (void)world.clients().Read(model, 0, model.image.size());
  }
}

// dm-clone 8b3fd1f53af3: the metadata said that a region was hydrated before the copied data was
// durable on the destination.
TEST(RegressionTest, R1_CopiedBlocksAreDurableBeforeTheMapSaysSo) {
  constexpr Remains kRemains[] = {Remains::kNoLayerData, Remains::kNothing};
  for (uint64_t seed = 1; seed <= 4; ++seed) {
    const Scenario scenario{
        .seed = seed,
        .prepare = [](Simulation& world) { (void)MakeClone(world, MakeSource(world)); },
        .play =
            [](Simulation& world) {
              // Several commits of progress, then the one that cuts the link to the source.
              SetCopyRate(world, 6 * kBlockBytes);
              world.clients().Wait(std::chrono::seconds(5));
            }};
    ASSERT_THAT(CutEverywhere(scenario, kRemains), IsEmpty());
  }
}

// dm-thin 694cfe7f31db: the same with the user's writes. After a crash the mapping was there, but
// the data was not.
TEST(RegressionTest, R2_WrittenBlocksAreDurableBeforeTheMapSaysSo) {
  constexpr Remains kRemains[] = {Remains::kNoLayerData};
  for (uint64_t seed = 1; seed <= 8; ++seed) {
    const Scenario scenario{
        .seed = seed,
        .prepare =
            [](Simulation& world) {
              VolumeModel& source = MakeSource(world);
              (void)MakeClone(world, source);
            },
        .play =
            [seed](Simulation& world) {
              // One client syncs data that the other is just writing.
              VolumeModel& source = *world.oracle().volumes().front();
              VolumeModel& clone = *world.oracle().volumes().back();
              (void)world.clients().TakeSnapshot(source);
              Together({[&] { WriteAtRandom(world, clone, seed, 6, kBlockBytes, 2); },
                        [&] { WriteAtRandom(world, clone, seed + 100, 6, kSectorBytes, 5); },
                        [&] {
                          for (int i = 0; i < 3; ++i) (void)world.clients().Sync(clone);
                        }});
              WriteAtRandom(world, source, seed + 200, 3, kBlockBytes, 2);
              (void)world.clients().Sync(source);
            }};
    ASSERT_THAT(CutEverywhere(scenario, kRemains), IsEmpty());
  }
}

// dm-thin 4ae280b4ee34: a write of a whole block needs no copy of the data under it, and was
// acknowledged before its mapping was committed.
TEST(RegressionTest, R3_AWholeBlockIsCommittedBeforeItsFsyncReturns) {
  constexpr Remains kRemains[] = {Remains::kNothing, Remains::kOnlyLayerData};
  for (uint64_t seed = 1; seed <= 10; ++seed) {
    const auto overwrite = [](Simulation& world, VolumeModel& model, uint64_t first) {
      for (uint64_t block = first; block < 8; block += 2) {
        (void)world.clients().Write(model, block * kBlockBytes, kBlockBytes);
        (void)world.clients().Sync(model);
      }
    };
    const Scenario scenario{
        .seed = seed,
        .prepare = [](Simulation& world) { (void)MakeClone(world, MakeSource(world)); },
        .play =
            [&](Simulation& world) {
              // The sync of one client takes the other's writes. The other's own sync finds nothing
              // to do, but must still wait.
              VolumeModel& clone = *world.oracle().volumes().back();
              Together({[&] { overwrite(world, clone, 0); }, [&] { overwrite(world, clone, 1); }});
            }};
    ASSERT_THAT(CutEverywhere(scenario, kRemains), IsEmpty());
  }
}

// Longhorn #4354: during a rebuild, a write smaller than a block went into a block that the upper
// layer lacked, and the bytes around it in the block were lost.
TEST(RegressionTest, R4_PartOfABlockThatTheUpperLayerLacksWhileHydrating) {
  for (uint64_t seed = 1; seed <= 150; ++seed) {
    const Scenario scenario{
        .seed = seed,
        .prepare = [](Simulation& world) { (void)MakeClone(world, MakeSource(world)); },
        .play =
            [seed](Simulation& world) {
              VolumeModel& clone = *world.oracle().volumes().back();
              const auto write = [&](uint64_t stream) {
                WriteAtRandom(world, clone, seed * 10 + stream, 6, kSectorBytes, 1);
              };
              Together({[&] { SetCopyRate(world, seed % 2 == 0 ? 64 * kBlockBytes : kBlockBytes); },
                        [&] { write(1); }, [&] { write(2); }, [&] { write(3); }});
            }};
    ASSERT_THAT(PlayOnce(scenario, seed % 3 == 0 ? Remains::kTorn : Remains::kNothing), IsEmpty());
  }
}

// A clone discards data that was not copied yet. If a crash forgot the discard, the source's data
// would come back, which a user has deleted for good.
TEST(RegressionTest, R5_ADiscardedBlockThatIsNotHydratedStaysZero) {
  constexpr Remains kRemains[] = {Remains::kNothing, Remains::kEverything, Remains::kTorn};
  for (uint64_t seed = 1; seed <= 4; ++seed) {
    const Scenario scenario{
        .seed = seed,
        .prepare = [](Simulation& world) { (void)MakeClone(world, MakeSource(world)); },
        .play =
            [](Simulation& world) {
              VolumeModel& clone = *world.oracle().volumes().back();
              const uint64_t size = clone.image.size();
              (void)world.clients().Discard(clone, kBlockBytes, 2 * kBlockBytes);
              (void)world.clients().Sync(clone);
              (void)world.clients().Discard(clone, 4 * kBlockBytes + 700, 2 * kBlockBytes);
              (void)world.clients().Discard(clone, 8 * kBlockBytes, size - 8 * kBlockBytes);
              (void)world.clients().Sync(clone);
              (void)world.clients().Read(clone, 0, size);
              SetCopyRate(world, 8 * kBlockBytes);
              world.clients().Wait(std::chrono::seconds(3));
              (void)world.clients().Read(clone, 0, size);
            }};
    ASSERT_THAT(CutEverywhere(scenario, kRemains), IsEmpty());
  }
}

// The copier reads a block of the source, a user writes the block in the clone, and the copier
// writes its old bytes over it. (Every copier that checks only once has had this bug.)
TEST(RegressionTest, R6_AUsersWriteRacesTheCopierOnOneBlock) {
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    const Scenario scenario{
        .seed = seed,
        .prepare = [](Simulation& world) { (void)MakeClone(world, MakeSource(world)); },
        .play =
            [seed](Simulation& world) {
              VolumeModel& clone = *world.oracle().volumes().back();
              const auto write = [&](uint64_t block) {
                const uint64_t at = block * kBlockBytes;
                (void)world.clients().Write(clone, at, kBlockBytes);
                (void)world.clients().Read(clone, at, kBlockBytes);
                (void)world.clients().Discard(clone, at, kSectorBytes);
                (void)world.clients().Read(clone, at, kBlockBytes);
              };
              Together({[&] { SetCopyRate(world, Throttle::kUnlimited); }, [&] { write(seed % 4); },
                        [&] { write((seed + 1) % 4); }});
              (void)world.clients().WaitUntilWhole();
            }};
    ASSERT_THAT(PlayOnce(scenario, Remains::kEverything), IsEmpty());
  }
}

// A snapshot of a busy volume that does not wait for the writes in flight: they then land in the
// frozen image, which holds a later write without an earlier one.
TEST(RegressionTest, R9_ASnapshotOfAnActiveVolumeDrainsTheWritesInFlight) {
  for (uint64_t seed = 1; seed <= 150; ++seed) {
    const Scenario scenario{
        .seed = seed,
        .prepare = [](Simulation& world) { (void)MakeSource(world); },
        .play =
            [seed](Simulation& world) {
              VolumeModel& source = *world.oracle().volumes().front();
              const auto write = [&](uint64_t stream) {
                WriteAtRandom(world, source, seed * 10 + stream, 8, kSectorBytes, 9);
              };
              Together({[&] { write(1); }, [&] { write(2); }, [&] { write(3); },
                        [&] {
                          // Each snapshot is read when it is made, and again at the end.
                          for (int i = 0; i < 3; ++i) {
                            (void)world.clients().TakeSnapshot(source);
                            (void)world.clients().Clone(source, Workload::Place::kLinked,
                                                        source.image.size());
                          }
                        }});
            }};
    ASSERT_THAT(PlayOnce(scenario, seed % 3 == 0 ? Remains::kTorn : Remains::kNothing), IsEmpty());
  }
}

// O_DSYNC and O_SYNC with O_DIRECT, RWF_DSYNC, a synchronous mount (ydb nbs 5288): a power cut
// loses a write, discard, growth or shared range that was acknowledged before its sync.
TEST(RegressionTest, ASynchronousCallIsDurableWhenItReturns) {
  constexpr Remains kRemains[] = {Remains::kNothing, Remains::kEverything, Remains::kTorn};
  for (uint64_t seed = 1; seed <= 3; ++seed) {
    const Scenario scenario{
        .seed = seed,
        .prepare = [](Simulation& world) { (void)world.clients().TakeSnapshot(MakeSource(world)); },
        .play =
            [](Simulation& world) {
              Workload& clients = world.clients();
              VolumeModel& source = *world.oracle().volumes().front();
              clients.set_synchronous(Workload::Synchronous::kAll);
              const uint64_t size = source.image.size();
              (void)clients.Write(source, kBlockBytes + 100, kBlockBytes);
              (void)clients.Write(source, kBlockBytes, kBlockBytes);  // in place
              Together({[&] { (void)clients.Write(source, 3 * kBlockBytes, kBlockBytes); },
                        [&] { (void)clients.Write(source, 4 * kBlockBytes, kBlockBytes); }});
              (void)clients.Discard(source, 5 * kBlockBytes, kBlockBytes);
              (void)clients.Write(source, size, 2 * kBlockBytes);  // at its end
              (void)clients.Copy(source, 4 * kBlockBytes);
            }};
    ASSERT_THAT(CutEverywhere(scenario, kRemains), IsEmpty());
  }
}

// sync(1) and syncfs(2) do not reach a FUSE daemon. Writes without an fsync are committed when the
// volume is idle: first writes over a snapshot, growth and discards alike.
TEST(RegressionTest, WhatWasWrittenIsCommittedWhenItsVolumeIsIdle) {
  for (uint64_t seed = 3; seed <= 60; seed += 3) {  // those with IdleCommitter
    const Scenario scenario{.seed = seed,
                            .prepare =
                                [](Simulation& world) {
                                  (void)world.clients().TakeSnapshot(MakeSource(world));
                                  (void)world.clients().Create(0, 4 * kBlockBytes);
                                },
                            .play =
                                [](Simulation& world) {
                                  Workload& clients = world.clients();
                                  VolumeModel& layered = *world.oracle().volumes().front();
                                  VolumeModel& flat = *world.oracle().volumes().back();
                                  (void)clients.Write(layered, 0, 2 * kBlockBytes);
                                  (void)clients.Discard(layered, 3 * kBlockBytes, kBlockBytes);
                                  (void)clients.Write(flat, 4 * kBlockBytes,
                                                      2 * kBlockBytes);  // grows
                                  const ImageModel::Mark of_layered = layered.image.Now();
                                  const ImageModel::Mark of_flat = flat.image.Now();
                                  clients.Wait(std::chrono::milliseconds(600));
                                  layered.image.Synced(of_layered);
                                  flat.image.Synced(of_flat);
                                }};
    ASSERT_THAT(PlayOnce(scenario, Remains::kNothing), IsEmpty()) << "seed " << seed;
  }
}

}  // namespace
}  // namespace volfs::sim
