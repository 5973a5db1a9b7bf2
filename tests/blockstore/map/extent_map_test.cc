#include "blockstore/map/extent_map.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <ostream>
#include <random>
#include <utility>
#include <vector>

#include "blockstore/base/runtime.h"

namespace volfs {
namespace {

constexpr LayerRef Ref(uint32_t number) { return static_cast<LayerRef>(number); }

std::vector<Extent> Extents(const ExtentMap& map) {
  std::vector<Extent> extents;
  for (uint64_t block = 0; block < map.size(); block = extents.back().end()) {
    extents.push_back(map.Find(block));
  }
  return extents;
}

// The obvious way to do the same: one layer number per block.
class Model {
 public:
  explicit Model(uint64_t size) : blocks_(size, LayerRef::kHole) {}
  void Assign(const BlockRange& range, LayerRef layer) {
    std::fill_n(blocks_.begin() + static_cast<ptrdiff_t>(range.first), range.count, layer);
  }
  void Resize(uint64_t size) { blocks_.resize(size, LayerRef::kHole); }
  [[nodiscard]] uint64_t size() const { return blocks_.size(); }
  [[nodiscard]] std::vector<Extent> Extents() const {
    std::vector<Extent> extents;
    for (uint64_t block = 0; block < blocks_.size(); ++block) {
      if (extents.empty() || extents.back().layer != blocks_[block]) {
        extents.push_back({block, 0, blocks_[block]});
      }
      ++extents.back().count;
    }
    return extents;
  }

 private:
  std::vector<LayerRef> blocks_;
};

struct Pair {
  ExtentMap map;
  Model model;
};

void ExpectEqual(const Pair& pair) {
  pair.map.CheckInvariants();
  const std::vector<Extent> expected = pair.model.Extents();
  ASSERT_EQ(pair.map.size(), pair.model.size());
  ASSERT_EQ(pair.map.extent_count(), expected.size());
  ASSERT_TRUE(Extents(pair.map) == expected);  // too long to be printed
}

// One step of a random history. Each number is taken modulo the largest value possible then.
struct Step {
  enum Kind : uint32_t { kAssign, kComb, kWipe, kResize, kCopy, kReplace, kKinds };
  uint32_t kind = 0;
  uint32_t which = 0;
  uint32_t first = 0;
  uint32_t count = 0;
  uint32_t layer = 0;
};

std::ostream& operator<<(std::ostream& out, const Step& step) {
  return out << "{kind " << step.kind << ", map " << step.which << ", first " << step.first
             << ", count " << step.count << ", layer " << step.layer << "}";
}

rc::Gen<Step> AnyStep() {
  const auto any = [] { return rc::gen::inRange<uint32_t>(0, 1u << 20); };
  return rc::gen::build<Step>(
      rc::gen::set(&Step::kind, rc::gen::inRange<uint32_t>(0, Step::kKinds)),
      rc::gen::set(&Step::which, any()), rc::gen::set(&Step::first, any()),
      rc::gen::set(&Step::count, any()), rc::gen::set(&Step::layer, rc::gen::inRange(0u, 4u)));
}

constexpr uint64_t kMaxSize = 8000;  // with combs: three levels

void Apply(Pair* pair, const Step& step) {
  const auto assign = [&](BlockRange range, uint32_t layer) {
    pair->map.Assign(range, Ref(layer));
    pair->model.Assign(range, Ref(layer));
  };
  if (step.kind == Step::kResize || pair->map.size() == 0) {
    pair->map.Resize(step.first % kMaxSize);
    pair->model.Resize(step.first % kMaxSize);
    return;
  }
  const uint64_t size = pair->map.size();
  const uint64_t first = step.first % size;
  if (step.kind == Step::kAssign) {  // short: it ends in the next few extents
    assign({first, std::min<uint64_t>(size - first, step.count % 20)}, step.layer);
  } else if (step.kind == Step::kWipe) {
    assign({first, 1 + step.count % (size - first)}, step.layer);
  } else {
    const uint64_t stride = 2 + step.layer;
    for (uint64_t block = first; block < size; block += stride) assign({block, 1}, step.layer);
  }
}

// After any history of assignments, resizings and copies every map says the same as an array of
// blocks with the same history (I1, I2), is balanced (I3), and no change shows in a copy (I4).
RC_GTEST_PROP(ExtentMapProperty, EqualsAnArrayWhateverHappens, ()) {
  std::vector<Pair> pairs;
  const uint64_t size = *rc::gen::inRange<uint64_t>(0, kMaxSize);
  pairs.push_back({ExtentMap(size), Model(size)});
  for (const Step& step : *rc::gen::container<std::vector<Step>>(AnyStep())) {
    const size_t which = step.which % pairs.size();
    if (step.kind == Step::kCopy && pairs.size() < 5) {
      pairs.push_back(Pair(pairs[which]));
    } else if (step.kind == Step::kReplace) {
      pairs[step.first % pairs.size()] = Pair(pairs[which]);
    } else {
      Apply(&pairs[which], step);
    }
    pairs[which].map.CheckInvariants();
  }
  for (const Pair& pair : pairs) {
    pair.map.CheckInvariants();
    RC_ASSERT(pair.map.extent_count() == pair.model.Extents().size());
    RC_ASSERT(Extents(pair.map) == pair.model.Extents());
  }
}

// A long history of small random changes, with a copy taken now and then, keeps a deep tree right.
TEST(ExtentMapTest, SurvivesALongRandomHistory) {
  constexpr uint64_t kSize = 60'000;
  std::mt19937_64 random(1);
  Pair live{ExtentMap(kSize), Model(kSize)};
  std::vector<Pair> snapshots;
  for (uint64_t i = 0; i < 120'000; ++i) {
    const uint64_t first = random() % kSize;
    const uint64_t longest = i % 5000 == 0 ? kSize / 3 : 1 + i % 7;
    const BlockRange range{first, std::min(kSize - first, 1 + random() % longest)};
    const LayerRef layer = Ref(static_cast<uint32_t>(random() % 5));
    live.map.Assign(range, layer);
    live.model.Assign(range, layer);
    if (i % 20'000 == 15'000) snapshots.push_back(live);
    if (i % 10'000 == 0) ExpectEqual(live);
  }
  ExpectEqual(live);
  for (const Pair& snapshot : snapshots) ExpectEqual(snapshot);
}

// Replacing any long stretch of a dense map, from its first block on too, drops whole leaves and
// whole subtrees and leaves the rest as it was.
TEST(ExtentMapTest, DropsWholeSubtrees) {
  constexpr uint64_t kSize = 16'000;
  Pair dense{ExtentMap(kSize), Model(kSize)};
  for (uint64_t block = 0; block < kSize; block += 2) {
    dense.map.Assign({block, 1}, Ref(1));
    dense.model.Assign({block, 1}, Ref(1));
  }
  std::mt19937_64 random(3);
  for (int round = 0; round < 60; ++round) {
    Pair copy = dense;
    for (int i = 0; i < 4; ++i) {
      const uint64_t first = i == 3 ? 0 : random() % kSize;
      const BlockRange range{first, std::min(kSize - first, 1 + random() % 5000)};
      const LayerRef layer = Ref(static_cast<uint32_t>(random() % 3));
      copy.map.Assign(range, layer);
      copy.model.Assign(range, layer);
      copy.map.CheckInvariants();
    }
    const uint64_t size = random() % kSize;
    copy.map.Resize(size);
    copy.model.Resize(size);
    ExpectEqual(copy);
  }
  ExpectEqual(dense);
}

// A new map is one hole of the given size; one of size 0 has no extents.
TEST(ExtentMapTest, BeginsAsOneHole) {
  EXPECT_EQ(ExtentMap().extent_count(), 0u);
  EXPECT_EQ(ExtentMap().MemoryBytes(), 0u);
  const ExtentMap map(100);
  EXPECT_EQ(Extents(map), (std::vector<Extent>{{0, 100, LayerRef::kHole}}));
}

// Assigning splits the extent around, replaces those inside, and merges with equal neighbours (I2).
TEST(ExtentMapTest, SplitsReplacesAndMerges) {
  ExtentMap map(100);
  map.Assign({10, 20}, Ref(1));
  map.Assign({15, 5}, Ref(2));
  EXPECT_EQ(Extents(map), (std::vector<Extent>{{0, 10, LayerRef::kHole},
                                               {10, 5, Ref(1)},
                                               {15, 5, Ref(2)},
                                               {20, 10, Ref(1)},
                                               {30, 70, LayerRef::kHole}}));
  map.Assign({15, 5}, Ref(1));
  EXPECT_EQ(map.Find(17), (Extent{10, 20, Ref(1)}));
  map.Assign({0, 100}, LayerRef::kHole);
  EXPECT_EQ(map.extent_count(), 1u);
  map.Assign({50, 0}, Ref(1));  // nothing
  EXPECT_EQ(map.extent_count(), 1u);
}

// The greatest possible volume needs no more than any other.
TEST(ExtentMapTest, HoldsTheGreatestVolume) {
  const uint64_t size = BlocksFor(kMaxVolumeBytes, kDefaultBlockSize);
  ExtentMap map(size);
  map.Assign({size - 1, 1}, Ref(7));
  map.Assign({size / 2, 1}, Ref(7));
  EXPECT_EQ(map.Find(size - 1), (Extent{size - 1, 1, Ref(7)}));
  EXPECT_EQ(map.extent_count(), 4u);
  map.CheckInvariants();
}

// Blocks that shrinking dropped do not come back by growing.
TEST(ExtentMapTest, GrowsWithAHole) {
  ExtentMap map(10);
  map.Assign({0, 10}, Ref(1));
  map.Resize(4);
  map.Resize(10);
  EXPECT_EQ(Extents(map), (std::vector<Extent>{{0, 4, Ref(1)}, {4, 6, LayerRef::kHole}}));
  map.Resize(20);
  EXPECT_EQ(map.Find(19), (Extent{4, 16, LayerRef::kHole}));
  map.Resize(0);
  EXPECT_EQ(map.MemoryBytes(), 0u);
  map.CheckInvariants();
}

// A map that was moved from is empty and may be used.
TEST(ExtentMapTest, LeavesAnEmptyMapWhenMoved) {
  ExtentMap from(10);
  const ExtentMap to(std::move(from));
  EXPECT_EQ(to.size(), 10u);
  EXPECT_EQ(from.size(), 0u);  // NOLINT: on purpose
  from.Resize(3);
  EXPECT_EQ(from.Find(1).count, 3u);
}

// One isolated block (two extents) costs at most 32 bytes, whether blocks come in order or not.
TEST(ExtentMapTest, TakesAtMost32BytesAnIsolatedBlock) {
  constexpr uint64_t kBlocks = 100'000;
  std::vector<uint64_t> order(kBlocks);
  for (uint64_t i = 0; i < kBlocks; ++i) order[i] = 2 * i;
  for (const bool shuffled : {false, true}) {
    if (shuffled) std::shuffle(order.begin(), order.end(), std::mt19937_64(2));
    ExtentMap map(2 * kBlocks);
    for (const uint64_t block : order) map.Assign({block, 1}, Ref(1));
    map.CheckInvariants();
    EXPECT_LE(map.MemoryBytes(), kBlocks * 32) << "shuffled: " << shuffled;
  }
}

// Maps that share nodes may be changed, copied and freed by different threads at the same time.
TEST(ExtentMapTest, LetsThreadsShareNodes) {
  constexpr uint64_t kSize = 20'000;
  Pair base{ExtentMap(kSize), Model(kSize)};
  for (uint64_t block = 0; block < kSize; block += 2) {
    base.map.Assign({block, 1}, Ref(1));
    base.model.Assign({block, 1}, Ref(1));
  }
  std::vector<Pair> pairs(3, base);
  std::vector<Thread> threads;
  for (size_t seed = 0; seed < pairs.size(); ++seed) {
    threads.emplace_back("changer", [&pair = pairs[seed], seed] {
      std::mt19937_64 random(seed);
      ExtentMap snapshot;
      for (int i = 0; i < 3000; ++i) {
        const uint64_t first = random() % kSize;
        const BlockRange range{first, std::min(kSize - first, 1 + random() % 40)};
        const LayerRef layer = Ref(static_cast<uint32_t>(random() % 3));
        pair.map.Assign(range, layer);
        pair.model.Assign(range, layer);
        if (i % 500 == 0) snapshot = pair.map;
      }
    });
  }
  base.map = ExtentMap();  // from now on the threads' references are the only ones
  for (Thread& thread : threads) thread.Join();
  for (const Pair& pair : pairs) ExpectEqual(pair);
}

#ifndef NDEBUG
// Asking for a block that is not there, or assigning it, is a programming error and aborts.
TEST(ExtentMapDeathTest, RefusesBlocksPastTheEnd) {
  ExtentMap map(10);
  EXPECT_DEATH((void)map.Find(10), "block < size_");
  EXPECT_DEATH(map.Assign({5, 6}, Ref(1)), "range.count <= size_");
}
#endif

}  // namespace
}  // namespace volfs
