// Goal: a node can be used, emptied and mounted for as long as its disk is full, and its creation
// can be cut off at any call.
// Method: worlds in which a disk becomes full and stays full, over power losses and kills, and the
// creation of a node with a power cut before each of its calls.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "blockstore/base/str_cat.h"
#include "blockstore/catalog/ballast.h"
#include "blockstore/catalog/format.h"
#include "tests/sim/node.h"
#include "tests/sim/scenario.h"

namespace volfs::sim {
namespace {

using testing::IsEmpty;

constexpr unsigned kBothNodes = 3;
constexpr int kFullDisk = 0;

// Ends the mount in one of several ways, and mounts again.
void Remount(Simulation& world, uint64_t round) {
  const bool cut = round % 3 == 0;
  const bool killed = round % 3 == 1;
  if (cut || killed) world.CutPower({true, true});
  world.Unmount();
  world.Boot({.killed = killed, .keep = LossModel::Keep::kTorn}, cut);
  ASSERT_TRUE(world.Mount(kBothNodes, Throttle::kUnlimited)) << "a full node cannot be mounted";
  world.Compare(!killed);
}

// Deletions, cancelling, reverts, syncs of accepted data, and mounts always succeed
// (Workload::Check). When everything is deleted, something new can be made.
TEST(FullDiskTest, StaysFullForThousandsOfOperations) {
  uint64_t operations = 0;
  for (uint64_t seed = 1; seed <= 6; ++seed) {
    SCOPED_TRACE(StrCat("seed ", seed));
    Trace trace;
    Simulation world(seed, trace);
    world.Run([&] {
      ASSERT_TRUE(world.Mount(kBothNodes, Throttle::kUnlimited));
      world.clients().RunClients(3, 60);
      world.machine().disk(kFullDisk).Fill(seed % 2 == 0 ? 0 : seed * 5 * kBlockBytes);
      for (uint64_t round = 0; round < 5; ++round) {
        world.clients().RunClients(3, 200);
        if (!world.findings().violations.empty()) return;
        Remount(world, seed + round);
        if (testing::Test::HasFatalFailure()) return;
      }
      world.clients().Empty(kFullDisk);
    });
    ASSERT_THAT(world.findings().violations, IsEmpty());
    ASSERT_FALSE(HasFailure());
    operations += world.findings().operations;
  }
  EXPECT_GT(operations, 5000U);
}

Status MakeNode(Simulation& world) {
  NodeRecord record;
  record.name = "a";
  record.region = "default";
  record.types = {{"standard", 0, kMaxVolumeBytes}};
  record.block_size = kBlockBytes;
  return Node::Init(*OpenSimNode(world.machine(), 0), record);
}

// A power cut leaves a node, or the beginning of one that the next mount finishes, but never
// damage. A finished node keeps its reserve, even if other data was not synced.
void CutTheMaking(uint64_t call, const LossModel& loss, bool* finished) {
  Trace trace;
  Simulation world(0, trace);
  world.Run([&] {
    CallPlan plan;
    plan.cut_at = call;
    world.machine().SetPlan(plan);
    *finished = MakeNode(world).ok() && !world.machine().power_off();
    if (*finished) world.CutPower({true, true});
    world.Boot(loss, true);
    const auto left = Node::Open(OpenSimNode(world.machine(), 0));
    if (!left.ok()) {
      EXPECT_EQ(left.error().code, Errc::kNotFound) << left.error().message;
      EXPECT_FALSE(*finished);
      const Status made = MakeNode(world);
      EXPECT_TRUE(made.ok()) << made.error().message;
    }
    if (left.ok() && !*finished) return;  // a mount completes its reserve
    world.CutPower({true, true});
    world.Boot({.keep = LossModel::Keep::kNothing}, true);
    const auto directory = OpenSimNode(world.machine(), 0);
    EXPECT_EQ(catalog::BallastBytes(*directory), catalog::kBallastBytes);
    EXPECT_TRUE(Node::Open(OpenSimNode(world.machine(), 0)).ok());
  });
  EXPECT_THAT(world.findings().violations, IsEmpty());
}

TEST(FullDiskTest, TheMakingOfANodeCutAnywhereIsFinishedByTheNext) {
  for (int keep = 0; keep < kKeeps; ++keep) {
    for (const bool ordered : {false, true}) {
      bool finished = false;
      uint64_t call = 0;
      for (; !finished; ++call) {
        SCOPED_TRACE(StrCat("call ", call, ", keep ", keep, ordered ? ", ordered" : ""));
        CutTheMaking(call, {.ordered = ordered, .keep = static_cast<LossModel::Keep>(keep)},
                     &finished);
        if (HasFailure()) return;
      }
      EXPECT_GT(call, 20U);
    }
  }
}

}  // namespace
}  // namespace volfs::sim
