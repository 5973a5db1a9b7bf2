// ExtentMap compared with an ordered map of the same contents (absl::btree_map where it is
// installed). "Every second block" means that n blocks of one layer, with holes between them, are
// 2n extents.

#include <benchmark/benchmark.h>

#include <algorithm>
#include <map>
#include <random>
#include <vector>

#include "blockstore/layer/image_diff.h"
#include "blockstore/map/extent_map.h"

#if __has_include(<absl/container/btree_map.h>)
#include <absl/container/btree_map.h>
#endif

namespace volfs {
namespace {

#if __has_include(<absl/container/btree_map.h>)
using OrderedMap = absl::btree_map<uint64_t, LayerRef>;
#else
using OrderedMap = std::map<uint64_t, LayerRef>;
#endif

constexpr uint64_t kIsolated = 500'000;  // one million extents
constexpr auto kLayer = static_cast<LayerRef>(1);

ExtentMap FilledMap() {
  ExtentMap map(2 * kIsolated);
  for (uint64_t i = 0; i < kIsolated; ++i) map.Assign({2 * i, 1}, kLayer);
  return map;
}

OrderedMap FilledOrderedMap() {
  OrderedMap map;
  for (uint64_t i = 0; i < kIsolated; ++i) {
    map.emplace_hint(map.end(), 2 * i, kLayer);
    map.emplace_hint(map.end(), 2 * i + 1, LayerRef::kHole);
  }
  return map;
}

std::vector<uint64_t> RandomBlocks(uint64_t below) {
  std::mt19937_64 random(1);
  std::vector<uint64_t> blocks(1 << 16);
  for (uint64_t& block : blocks) block = random() % below;
  return blocks;
}

double BytesPerExtent(const ExtentMap& map) {
  return static_cast<double>(map.MemoryBytes()) / static_cast<double>(map.extent_count());
}

void FindRandom(benchmark::State& state) {
  const ExtentMap map = FilledMap();
  const std::vector<uint64_t> blocks = RandomBlocks(map.size());
  size_t i = 0;
  for (auto _ : state) benchmark::DoNotOptimize(map.Find(blocks[i++ % blocks.size()]));
  state.counters["bytes_per_extent"] = BytesPerExtent(map);
}
BENCHMARK(FindRandom);

void FindRandomOrderedMap(benchmark::State& state) {
  const OrderedMap map = FilledOrderedMap();
  const std::vector<uint64_t> blocks = RandomBlocks(2 * kIsolated);
  size_t i = 0;
  for (auto _ : state) {
    const auto it = std::prev(map.upper_bound(blocks[i++ % blocks.size()]));
    benchmark::DoNotOptimize(it->second);
  }
}
BENCHMARK(FindRandomOrderedMap);

void AssignEverySecondBlock(benchmark::State& state) {
  for (auto _ : state) benchmark::DoNotOptimize(FilledMap());
  state.SetItemsProcessed(state.iterations() * static_cast<int64_t>(kIsolated));
}
BENCHMARK(AssignEverySecondBlock)->Unit(benchmark::kMillisecond);

void AssignEverySecondBlockOrderedMap(benchmark::State& state) {
  for (auto _ : state) benchmark::DoNotOptimize(FilledOrderedMap());
  state.SetItemsProcessed(state.iterations() * static_cast<int64_t>(kIsolated));
}
BENCHMARK(AssignEverySecondBlockOrderedMap)->Unit(benchmark::kMillisecond);

void AssignRandomBlocks(benchmark::State& state) {
  std::vector<uint64_t> order(kIsolated);
  for (uint64_t i = 0; i < kIsolated; ++i) order[i] = 2 * i;
  std::shuffle(order.begin(), order.end(), std::mt19937_64(1));
  double bytes = 0;
  for (auto _ : state) {
    ExtentMap map(2 * kIsolated);
    for (const uint64_t block : order) map.Assign({block, 1}, kLayer);
    bytes = BytesPerExtent(map);
  }
  state.SetItemsProcessed(state.iterations() * static_cast<int64_t>(kIsolated));
  state.counters["bytes_per_extent"] = bytes;
}
BENCHMARK(AssignRandomBlocks)->Unit(benchmark::kMillisecond);

// Assigns blocks to the layer that they already have: the map does not change.
void AssignWhatIsThere(benchmark::State& state) {
  ExtentMap map = FilledMap();
  const std::vector<uint64_t> blocks = RandomBlocks(kIsolated);
  size_t i = 0;
  for (auto _ : state) map.Assign({2 * blocks[i++ % blocks.size()], 1}, kLayer);
}
BENCHMARK(AssignWhatIsThere);

void Copy(benchmark::State& state) {
  const ExtentMap map = FilledMap();
  for (auto _ : state) benchmark::DoNotOptimize(ExtentMap(map));
}
BENCHMARK(Copy);

void CopyOrderedMap(benchmark::State& state) {
  const OrderedMap map = FilledOrderedMap();
  for (auto _ : state) benchmark::DoNotOptimize(OrderedMap(map));
}
BENCHMARK(CopyOrderedMap)->Unit(benchmark::kMillisecond);

void CopyThenAssignOne(benchmark::State& state) {
  const ExtentMap map = FilledMap();
  const std::vector<uint64_t> blocks = RandomBlocks(map.size());
  size_t i = 0;
  for (auto _ : state) {
    ExtentMap copy(map);
    copy.Assign({blocks[i++ % blocks.size()], 1}, static_cast<LayerRef>(2));
  }
}
BENCHMARK(CopyThenAssignOne);

// Two images of a million extents each, of which none is the same.
void DiffOfAMillionExtents(benchmark::State& state) {
  const LayerTable layers(8);
  const auto image = [&](LayerRef layer) {
    ExtentMap map(2 * kIsolated);
    for (uint64_t i = 0; i < kIsolated; ++i) map.Assign({2 * i, 1}, layer);
    return FrozenImage(layers, std::move(map), 2 * kIsolated * kDefaultBlockSize,
                       kDefaultBlockSize);
  };
  const FrozenImage before = image(kLayer);
  const FrozenImage after = image(static_cast<LayerRef>(2));
  for (auto _ : state) {
    uint64_t ranges = 0;
    for (ImageDiff diff(before, after, ImageDiff::Holes::kIgnored); diff.Next(); ++ranges) {
    }
    if (ranges != kIsolated) state.SkipWithError("ranges are missing");
  }
}
BENCHMARK(DiffOfAMillionExtents)->Unit(benchmark::kMillisecond);

void Free(benchmark::State& state) {
  for (auto _ : state) {
    state.PauseTiming();
    ExtentMap map = FilledMap();
    state.ResumeTiming();
    map = ExtentMap();
  }
}
BENCHMARK(Free)->Unit(benchmark::kMillisecond)->Iterations(5);

}  // namespace
}  // namespace volfs

BENCHMARK_MAIN();
