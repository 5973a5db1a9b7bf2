// Goal: the diff of two images is exactly what their maps say, for any two maps and sizes.
// Method: random maps of few small blocks, and a model of one layer number per byte.
// tests/blockstore/store/diff_test.cc compares diffs with the bytes of real images, and the
// simulation does so over random histories.
#include "blockstore/layer/image_diff.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <ostream>
#include <vector>

namespace volfs {

std::ostream& operator<<(std::ostream& out, const ChangedRange& range) {
  return out << range.bytes.offset_bytes << '+' << range.bytes.length_bytes
             << (range.zero ? " zero" : " data");
}

bool operator==(const ChangedRange& a, const ChangedRange& b) {
  return a.bytes.offset_bytes == b.bytes.offset_bytes &&
         a.bytes.length_bytes == b.bytes.length_bytes && a.zero == b.zero;
}

namespace {

constexpr uint32_t kBlock = 4;
constexpr LayerRef Ref(uint32_t number) { return static_cast<LayerRef>(number); }

// An image, as the number of the layer of each byte.
using Bytes = std::vector<uint32_t>;

struct Assignment {
  uint64_t first = 0;
  uint64_t count = 0;
  uint32_t layer = 0;
};

std::ostream& operator<<(std::ostream& out, const Assignment& a) {
  return out << '{' << a.first << '+' << a.count << ": " << a.layer << '}';
}

using Recipe = std::vector<Assignment>;

rc::Gen<Recipe> AnyRecipe() {
  return rc::gen::container<Recipe>(
      rc::gen::build<Assignment>(rc::gen::set(&Assignment::first, rc::gen::inRange(0ul, 40ul)),
                                 rc::gen::set(&Assignment::count, rc::gen::inRange(0ul, 12ul)),
                                 rc::gen::set(&Assignment::layer, rc::gen::inRange(0u, 4u))));
}

ExtentMap MapOf(const Recipe& recipe, uint64_t size_bytes) {
  ExtentMap map(BlocksFor(size_bytes, kBlock));
  for (const Assignment& a : recipe) {
    const uint64_t first = std::min(a.first, map.size());
    map.Assign({first, std::min(a.count, map.size() - first)}, Ref(a.layer));
  }
  return map;
}

Bytes BytesOf(const ExtentMap& map, uint64_t size_bytes) {
  Bytes bytes(size_bytes);
  for (uint64_t i = 0; i < size_bytes; ++i) {
    bytes[i] = static_cast<uint32_t>(map.Find(i / kBlock).layer);
  }
  return bytes;
}

// The obvious way: byte by byte.
std::vector<ChangedRange> Expected(const Bytes& before, const Bytes& after, uint64_t from,
                                   uint64_t to) {
  std::vector<ChangedRange> ranges;
  for (uint64_t i = from; i < std::min<uint64_t>(to, after.size()); ++i) {
    if (i < before.size() && before[i] == after[i]) continue;
    const bool zero = after[i] == 0;
    if (ranges.empty() || ranges.back().bytes.end() != i || ranges.back().zero != zero) {
      ranges.push_back({{i, 0}, zero});
    }
    ++ranges.back().bytes.length_bytes;
  }
  return ranges;
}

std::vector<ChangedRange> All(ImageDiff diff) {
  std::vector<ChangedRange> ranges;
  while (const auto range = diff.Next()) ranges.push_back(*range);
  return ranges;
}

class ImageDiffTest : public ::testing::Test {
 protected:
  FrozenImage Image(const Recipe& recipe, uint64_t size_bytes) {
    return {layers_, MapOf(recipe, size_bytes), size_bytes, kBlock};
  }
  LayerTable layers_{8};  // of no layer: maps alone are compared
};

RC_GTEST_FIXTURE_PROP(ImageDiffTest, IsWhatTheMapsSay, ()) {
  const uint64_t old_bytes = *rc::gen::inRange(0ul, 160ul);
  const uint64_t new_bytes = *rc::gen::inRange(0ul, 160ul);
  const Recipe old_recipe = *AnyRecipe();
  // Often an image that was made from the other one.
  Recipe new_recipe = *AnyRecipe();
  if (*rc::gen::arbitrary<bool>()) {
    new_recipe.insert(new_recipe.begin(), old_recipe.begin(), old_recipe.end());
  }
  const FrozenImage before = Image(old_recipe, old_bytes);
  const FrozenImage after = Image(new_recipe, new_bytes);
  const uint64_t from = *rc::gen::inRange(0ul, 170ul);
  const uint64_t length = *rc::gen::inRange(0ul, 200ul);
  const Bytes old_model = BytesOf(before.map(), old_bytes);
  const Bytes new_model = BytesOf(after.map(), new_bytes);
  constexpr auto kHoles = ImageDiff::Holes::kIgnored;
  RC_ASSERT(All(ImageDiff(before, after, kHoles)) == Expected(old_model, new_model, 0, UINT64_MAX));
  RC_ASSERT(All(ImageDiff(before, after, kHoles, {from, length})) ==
            Expected(old_model, new_model, from, from + length));
  RC_ASSERT(All(ImageDiff(after, after, kHoles)).empty());
}

// Neighbours are one range, however many extents they are.
TEST_F(ImageDiffTest, OfManyExtentsIsOneRange) {
  constexpr uint64_t kBlocks = 1 << 16;
  ExtentMap old_map(kBlocks);
  ExtentMap new_map(kBlocks);
  for (uint64_t i = 0; i < kBlocks; ++i) {
    old_map.Assign({i, 1}, Ref(1 + i % 2));
    new_map.Assign({i, 1}, Ref(3 + i % 2));
  }
  const FrozenImage before(layers_, old_map, kBlocks * kBlock, kBlock);
  const FrozenImage after(layers_, new_map, kBlocks * kBlock, kBlock);
  const std::vector<ChangedRange> all = {{{0, kBlocks * kBlock}, false}};
  EXPECT_EQ(All(ImageDiff(before, after, ImageDiff::Holes::kIgnored)), all);
}

}  // namespace
}  // namespace volfs
