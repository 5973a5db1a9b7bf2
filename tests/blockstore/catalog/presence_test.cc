// Goal: the presence table gives for each block the state that was committed last, for changes of
// any order and shape. It stays small, and big changes stay fast.
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>

#include "blockstore/base/runtime.h"
#include "tests/blockstore/catalog/catalog_fixture.h"

namespace volfs {
namespace {

constexpr uint64_t kChunkLength = PresenceChunk::kChunkBlocks;

class CatalogPresenceTest : public CatalogFixture {
 protected:
  CatalogPresenceTest() {
    Create();
    Commit({PutLayer{TestLayer(kLayerId)}});
  }
  void Set(Id layer, const BlockRange& range, BlockState state) {
    PresenceRuns runs;
    runs.Set(range, state);
    Commit({SetPresence{layer, runs}});
  }
  std::vector<PresenceRun> Runs(Id layer = kLayerId) {
    std::vector<PresenceRun> runs;
    const Status status =
        catalog_->LoadPresence(layer, [&](const PresenceRun& run) { runs.push_back(run); });
    EXPECT_TRUE(status.ok()) << status.error().message;
    return runs;
  }
  // Counts with another connection, so only while the catalog is closed.
  int64_t RowCount() {
    catalog_.reset();
    sqlite3* db = nullptr;
    EXPECT_EQ(sqlite3_open(node_->catalog_path().c_str(), &db), SQLITE_OK);
    int64_t rows = -1;
    const auto take = [](void* out, int, char** values, char**) {
      *static_cast<int64_t*>(out) = std::stoll(values[0]);
      return 0;
    };
    EXPECT_EQ(sqlite3_exec(db, "SELECT count(*) FROM presence", take, &rows, nullptr), SQLITE_OK);
    sqlite3_close(db);
    OpenNodeAgain();
    Reopen();
    return rows;
  }
};

struct PresenceChange {
  uint64_t first;
  uint64_t count;
  BlockState state;
};

// Half of the ranges begin or end at or next to a chunk border.
rc::Gen<PresenceChange> AnyChange(uint64_t blocks) {
  const auto place =
      rc::gen::oneOf(rc::gen::inRange<uint64_t>(0, blocks),
                     rc::gen::map(rc::gen::inRange<uint64_t>(0, blocks / kChunkLength),
                                  [](uint64_t chunk) { return chunk * kChunkLength; }));
  const auto state = rc::gen::element(BlockState::kAbsent, BlockState::kPresent, BlockState::kZero);
  return rc::gen::map(
      rc::gen::tuple(place, place, state), [](const std::tuple<uint64_t, uint64_t, BlockState>& t) {
        const auto [a, b, s] = t;
        return PresenceChange{std::min(a, b), std::max(a, b) - std::min(a, b) + 1, s};
      });
}

using StateModel = std::vector<BlockState>;

// Returns the states that the runs give. The runs must be sorted, merged and within the model's
// blocks.
StateModel ModelOf(const std::vector<PresenceRun>& runs, size_t blocks) {
  StateModel model(blocks, BlockState::kAbsent);
  PresenceRun last;
  for (const PresenceRun& run : runs) {
    RC_ASSERT(run.count != 0U);
    RC_ASSERT(run.end() <= blocks);
    RC_ASSERT(run.state != BlockState::kAbsent);
    RC_ASSERT(run.first > last.end() || (run.first == last.end() && run.state != last.state));
    std::fill_n(model.begin() + static_cast<std::ptrdiff_t>(run.first), run.count, run.state);
    last = run;
  }
  return model;
}

TEST_F(CatalogPresenceTest, IsAPlainArrayOfStates) {
  constexpr uint64_t kBlocks = 12 * kChunkLength;
  // Few commits of few changes, because each is a sync of the disk.
  constexpr int kFew = 16;
  const auto any_commits = rc::gen::resize(
      kFew, rc::gen::container<std::vector<std::vector<PresenceChange>>>(
                rc::gen::container<std::vector<PresenceChange>>(AnyChange(kBlocks))));
  const bool holds = rc::check([&] {
    Commit({ClearPresence{kLayerId}});
    StateModel model(kBlocks + 1, BlockState::kAbsent);
    const auto commits = *any_commits;
    for (const auto& changes : commits) {
      PresenceRuns runs;
      for (const PresenceChange& change : changes) {
        runs.Set({change.first, change.count}, change.state);
        std::fill_n(model.begin() + static_cast<std::ptrdiff_t>(change.first), change.count,
                    change.state);
      }
      RC_ASSERT(catalog_->Commit({SetPresence{kLayerId, runs}}).ok());
    }
    RC_ASSERT((ModelOf(Runs(), model.size()) == model));
    const uint64_t chunk = *rc::gen::inRange<uint64_t>(0, kBlocks / kChunkLength);
    const auto loaded = catalog_->LoadChunk(kLayerId, chunk);
    RC_ASSERT(loaded.ok());
    for (uint64_t i = 0; i < kChunkLength; ++i) {
      RC_ASSERT((loaded.value().Get(i) == model[chunk * kChunkLength + i]));
    }
  });
  EXPECT_TRUE(holds);
}

TEST_F(CatalogPresenceTest, WhatWasNeverSaidIsAbsent) {
  EXPECT_TRUE(Runs().empty());
  EXPECT_TRUE(Runs(TestId(4711)).empty());
  BlockState state{};
  EXPECT_TRUE(catalog_->LoadChunk(kLayerId, 123456).value().IsUniform(&state));
  EXPECT_EQ(state, BlockState::kAbsent);
}

TEST_F(CatalogPresenceTest, LayersDoNotSeeEachOther) {
  LayerRecord other = TestLayer(TestId(2));
  Commit({PutLayer{other}});
  Set(kLayerId, {0, 3 * kChunkLength}, BlockState::kPresent);
  Set(other.id, {kChunkLength, 7}, BlockState::kZero);
  EXPECT_EQ(Runs(), (std::vector<PresenceRun>{{0, 3 * kChunkLength, BlockState::kPresent}}));
  EXPECT_EQ(Runs(other.id), (std::vector<PresenceRun>{{kChunkLength, 7, BlockState::kZero}}));
  Commit({ClearPresence{kLayerId}});
  EXPECT_TRUE(Runs().empty());
  Commit({DeleteLayer{other.id}});
  EXPECT_TRUE(Runs(other.id).empty());
  EXPECT_TRUE(catalog_->Verify().ok());
}

TEST_F(CatalogPresenceTest, AHugeRunIsOneRowAndOneBlockOfItThree) {
  constexpr uint64_t kHuge = uint64_t{1} << 28;
  Set(kLayerId, {0, kHuge}, BlockState::kZero);
  EXPECT_EQ(RowCount(), 1);
  Set(kLayerId, {kHuge / 2 + 5, 1}, BlockState::kPresent);
  EXPECT_EQ(RowCount(), 3);
  EXPECT_EQ(Runs().size(), 3U);
  Set(kLayerId, {kHuge / 2 + 5, 1}, BlockState::kZero);
  EXPECT_EQ(RowCount(), 1) << "they are one again";
  Set(kLayerId, {0, kHuge}, BlockState::kAbsent);
  EXPECT_EQ(RowCount(), 0);
}

TEST_F(CatalogPresenceTest, AFileThatIsWrittenFromEndToEndStaysOneRow) {
  for (uint64_t at = 0; at < 10 * kChunkLength; at += 1000) {
    Set(kLayerId, {at, 1000}, BlockState::kPresent);
  }
  EXPECT_EQ(Runs().size(), 1U);
  EXPECT_LE(RowCount(), 2);
}

TEST_F(CatalogPresenceTest, TheLastPossibleBlockIsKeptAndTheNextRefused) {
  constexpr uint64_t kLast = (uint64_t{1} << 54) - 1;
  Set(kLayerId, {kLast, 1}, BlockState::kPresent);
  EXPECT_EQ(Runs(), (std::vector<PresenceRun>{{kLast, 1, BlockState::kPresent}}));
  PresenceRuns runs;
  runs.Set({kLast, 2}, BlockState::kPresent);
  EXPECT_EQ(Outcome(catalog_->Commit({SetPresence{kLayerId, runs}})), Word(Errc::kInvalid));
}

TEST_F(CatalogPresenceTest, ManyRandomBlocksAreOneQuickCommit) {
  constexpr uint64_t kBlocks = uint64_t{10} << 20;  // 40 GiB
  PresenceRuns runs;
  uint64_t x = 1;
  for (int i = 0; i < 100'000; ++i) {
    x = x * 6364136223846793005U + 1442695040888963407U;
    runs.Set({(x >> 20) % kBlocks, 1}, BlockState::kPresent);
  }
  const Nanoseconds begin = MonotonicNow();
  Commit({SetPresence{kLayerId, runs}});
  const Nanoseconds took = MonotonicNow() - begin;
  // The goal is 0.1 s on an idle machine. This limit only catches one row for each block.
  EXPECT_LT(took, std::chrono::seconds(3));
  EXPECT_EQ(Runs().size(), runs.run_count());
  EXPECT_LE(RowCount(), static_cast<int64_t>(kBlocks / kChunkLength));
}

}  // namespace
}  // namespace volfs
