#include "blockstore/map/presence.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <array>
#include <optional>
#include <ostream>
#include <tuple>
#include <vector>

namespace volfs {
namespace {

using enum BlockState;

struct Change {
  BlockRange range;
  BlockState state;
};

std::ostream& operator<<(std::ostream& out, const Change& change) {
  return out << "[" << change.range.first << ", " << change.range.end() << ") is "
             << static_cast<int>(change.state);
}

rc::Gen<std::vector<Change>> Changes(uint64_t blocks) {
  const auto any = [blocks] { return rc::gen::inRange<uint64_t>(0, blocks + 1); };
  using Numbers = std::tuple<uint64_t, uint64_t, int>;
  const auto change = [](const Numbers& numbers) {
    const auto [low, high] = std::minmax({std::get<0>(numbers), std::get<1>(numbers)});
    return Change{{low, high - low}, static_cast<BlockState>(std::get<2>(numbers))};
  };
  return rc::gen::container<std::vector<Change>>(
      rc::gen::map(rc::gen::tuple(any(), any(), rc::gen::inRange(0, 3)), change));
}

std::vector<PresenceRun> RunsOf(const PresenceRuns& runs) {
  std::vector<PresenceRun> out;
  runs.ForEach([&](const PresenceRun& run) { out.push_back(run); });
  return out;
}

constexpr uint64_t kBlocks = 60;
using Said = std::vector<std::optional<BlockState>>;  // by block

void Say(Said* said, const Change& change) {
  for (uint64_t b = change.range.first; b < change.range.end(); ++b) (*said)[b] = change.state;
}

Said SaidBy(const PresenceRuns& runs) {
  Said said(kBlocks);
  runs.ForEach([&](const PresenceRun& run) { Say(&said, {{run.first, run.count}, run.state}); });
  return said;
}

// After any sequence of Set, every block has the state set last, runs are merged (R1, R2), and the
// count is right (R3).
RC_GTEST_PROP(PresenceRunsProperty, KeepsWhatWasSaidLast, ()) {
  PresenceRuns runs;
  Said said(kBlocks);
  for (const Change& change : *Changes(kBlocks)) {
    runs.Set(change.range, change.state);
    Say(&said, change);
    runs.CheckInvariants();
  }
  RC_ASSERT(SaidBy(runs) == said);
}

// Merge equals making the newer changes after the older ones.
RC_GTEST_PROP(PresenceRunsProperty, LetsTheNewerWin, ()) {
  const auto older = *Changes(kBlocks);
  const auto newer = *Changes(kBlocks);
  PresenceRuns first;
  PresenceRuns second;
  Said said(kBlocks);
  for (const Change& change : older) {
    first.Set(change.range, change.state);
    Say(&said, change);
  }
  for (const Change& change : newer) {
    second.Set(change.range, change.state);
    Say(&said, change);
  }
  first.Merge(second);
  first.CheckInvariants();
  RC_ASSERT(SaidBy(first) == said);
}

// Blocks set in order form one run. An absent block is stated, not left out.
TEST(PresenceRunsTest, MergesNeighbours) {
  PresenceRuns runs;
  for (uint64_t block = 0; block < 10; ++block) runs.Set({block, 1}, kPresent);
  runs.Set({20, 5}, kPresent);
  runs.Set({10, 10}, kPresent);
  EXPECT_EQ(RunsOf(runs), (std::vector<PresenceRun>{{0, 25, kPresent}}));
  runs.Set({5, 5}, kAbsent);
  EXPECT_EQ(RunsOf(runs),
            (std::vector<PresenceRun>{{0, 5, kPresent}, {5, 5, kAbsent}, {10, 15, kPresent}}));
  EXPECT_EQ(runs.block_count(), 25u);
  runs.Clear();
  EXPECT_TRUE(runs.empty());
  runs.CheckInvariants();
}

constexpr uint64_t kChunk = PresenceChunk::kChunkBlocks;

std::array<BlockState, kChunk> StatesOf(const PresenceChunk& chunk) {
  std::array<BlockState, kChunk> states{};
  for (uint64_t i = 0; i < kChunk; ++i) states[i] = chunk.Get(i);
  return states;
}

PresenceChunk AnyChunk() {
  PresenceChunk chunk;
  for (const Change& change : *Changes(kChunk)) chunk.Set(change.range, change.state);
  return chunk;
}

// Set changes its range and nothing else.
RC_GTEST_PROP(PresenceChunkProperty, SetsExactlyTheRange, ()) {
  PresenceChunk chunk;
  std::array<BlockState, kChunk> expected{};
  for (const Change& change : *Changes(kChunk)) {
    chunk.Set(change.range, change.state);
    for (uint64_t i = change.range.first; i < change.range.end(); ++i) expected[i] = change.state;
  }
  RC_ASSERT((StatesOf(chunk) == expected));
}

// The runs say the same as Get, without the absent blocks, merged, from `base` on.
RC_GTEST_PROP(PresenceChunkProperty, TellsItsRuns, ()) {
  const PresenceChunk chunk = AnyChunk();
  PresenceChunk rebuilt;
  constexpr uint64_t kBase = 7 * kChunk;
  PresenceRun last;
  chunk.ForEachRun(kBase, [&](const PresenceRun& run) {
    RC_ASSERT(run.state != kAbsent);
    RC_ASSERT(run.first >= last.end());
    RC_ASSERT(run.first != last.end() || run.state != last.state);
    rebuilt.Set({run.first - kBase, run.count}, run.state);
    last = run;
  });
  RC_ASSERT(rebuilt.bytes() == chunk.bytes());
}

// Union and intersection depend on "absent or not" alone, and change as little as they can.
RC_GTEST_PROP(PresenceChunkProperty, UnitesAndIntersects, ()) {
  const PresenceChunk a = AnyChunk();
  const PresenceChunk b = AnyChunk();
  PresenceChunk both = a;
  PresenceChunk common = a;
  both.UniteCovered(b);
  common.IntersectCovered(b);
  for (uint64_t i = 0; i < kChunk; ++i) {
    const bool only_b = a.Get(i) == kAbsent && b.Get(i) != kAbsent;
    RC_ASSERT(both.Get(i) == (only_b ? kZero : a.Get(i)));
    RC_ASSERT(common.Get(i) == (b.Get(i) == kAbsent ? kAbsent : a.Get(i)));
  }
}

// A chunk is uniform if and only if all blocks have the same state.
TEST(PresenceChunkTest, KnowsWhenItIsUniform) {
  for (const BlockState state : {kAbsent, kPresent, kZero}) {
    PresenceChunk chunk(state);
    BlockState seen = state == kAbsent ? kPresent : kAbsent;
    EXPECT_TRUE(chunk.IsUniform(&seen));
    EXPECT_EQ(seen, state);
    for (const uint64_t odd_one : {uint64_t{0}, uint64_t{1}, kChunk / 2, kChunk - 1}) {
      PresenceChunk other = chunk;
      other.Set({odd_one, 1}, state == kPresent ? kZero : kPresent);
      EXPECT_FALSE(other.IsUniform(&seen)) << "block " << odd_one;
    }
  }
}

// The bytes are those of FORMAT.md: block i in bits 2*(i%4) of byte i/4.
TEST(PresenceChunkTest, StoresTwoBitsABlock) {
  PresenceChunk chunk;
  chunk.Set({1, 1}, kPresent);
  chunk.Set({3, 2}, kZero);
  ASSERT_EQ(chunk.bytes().size(), PresenceChunk::kBytes);
  EXPECT_EQ(chunk.bytes()[0], 0b10'00'01'00);
  EXPECT_EQ(chunk.bytes()[1], 0b00'00'00'10);
  PresenceChunk again;
  ASSERT_TRUE(again.FromBytes(chunk.bytes().data(), chunk.bytes().size()));
  EXPECT_EQ(again.bytes(), chunk.bytes());
}

// Bytes of the wrong length, or with the state 3 anywhere, are refused and change nothing.
TEST(PresenceChunkTest, RefusesBadBytes) {
  PresenceChunk chunk(kPresent);
  const std::vector<uint8_t> before = chunk.bytes();
  std::vector<uint8_t> bytes(PresenceChunk::kBytes, 0);
  EXPECT_FALSE(chunk.FromBytes(bytes.data(), bytes.size() - 1));
  for (const size_t at : {size_t{0}, size_t{13}, PresenceChunk::kBytes - 1}) {
    for (const int block : {0, 3}) {
      bytes.assign(PresenceChunk::kBytes, 0);
      bytes[at] = static_cast<uint8_t>(3 << (2 * block));
      EXPECT_FALSE(chunk.FromBytes(bytes.data(), bytes.size())) << at << ", " << block;
    }
  }
  EXPECT_EQ(chunk.bytes(), before);
}

TEST(WholeChunksTest, RunsOfOneChunkAndOfNeighboursAreOnePart) {
  std::vector<BlockRange> parts;
  AddWholeChunks({3, 1}, parts);
  AddWholeChunks({5, 1}, parts);
  EXPECT_EQ(parts, (std::vector<BlockRange>{{0, kChunk}}));
  AddWholeChunks({kChunk + 1, kChunk}, parts);
  EXPECT_EQ(parts, (std::vector<BlockRange>{{0, 3 * kChunk}}));
  AddWholeChunks({5 * kChunk - 1, 2}, parts);
  EXPECT_EQ(parts, (std::vector<BlockRange>{{0, 3 * kChunk}, {4 * kChunk, 2 * kChunk}}));
}

}  // namespace
}  // namespace volfs
