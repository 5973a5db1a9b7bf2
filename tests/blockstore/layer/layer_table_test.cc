// Goal: references to layers are used again, but never while their layer lives nor right after.
#include "blockstore/layer/layer_table.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <vector>

namespace volfs {
namespace {

// The table is as large as the number of layers that live at once, however many snapshots a process
// takes and deletes. (A process once died after 67,108,864 references.)
TEST(LayerTableTest, IsAsLargeAsWhatThereIsAtOnce) {
  LayerTable layers(16);
  uint32_t greatest = 0;
  std::vector<Layer*> live;
  for (Id id = 1; id <= 50'000; ++id) {
    live.push_back(layers.AddMissing(id << kIdFacetBits, "a"));
    greatest = std::max(greatest, static_cast<uint32_t>(live.back()->ref()));
    if (live.size() <= 100) continue;
    layers.Remove(live[id % live.size()]);
    live.erase(live.begin() + static_cast<std::ptrdiff_t>(id % live.size()));
  }
  EXPECT_LE(greatest, 101 + VOLFS_LAYER_REFS_REST + 1U);
  std::set<LayerRef> refs;
  for (const Layer* const layer : live) {
    EXPECT_EQ(layers.Get(layer->ref()), layer);
    EXPECT_EQ(layers.Find(layer->id()), layer);
    refs.insert(layer->ref());
  }
  EXPECT_EQ(refs.size(), live.size());
}

TEST(LayerTableTest, AReferenceRestsBeforeItIsUsedAgain) {
  LayerTable layers(16);
  Layer* const gone = layers.AddMissing(1 << kIdFacetBits, "a");
  const LayerRef ref = gone->ref();
  layers.Remove(gone);
  EXPECT_EQ(layers.Get(ref), nullptr);
  EXPECT_NE(layers.AddMissing(2 << kIdFacetBits, "a")->ref(), ref);
}

}  // namespace
}  // namespace volfs
