#include "blockstore/layer/map_loader.h"

#include <algorithm>
#include <unordered_set>

#include "blockstore/base/sabotage.h"
#include "blockstore/base/str_cat.h"
#include "blockstore/node/node.h"

namespace volfs {

Result<std::vector<Layer*>> LayerChain(const LayerTable& layers, Layer* top) {
  std::vector<Layer*> chain{top};
  std::unordered_set<const Layer*> seen{top};
  for (;;) {
    Layer* const last = chain.back();
    const LayerRecord record = last->record();
    if (last->node() == nullptr || record.parent == kNoId) return chain;
    Layer* const lost = last->lost_parent();
    Layer* const parent = lost != nullptr ? lost : layers.Find(record.parent);
    if (parent == nullptr || !seen.insert(parent).second) {
      return Error{
          Errc::kCorrupt,
          StrCat("the catalog of node ", last->node()->name(), " says that ", last->FileName(),
                 " lies over a layer that does not exist, or over itself")};
    }
    chain.push_back(parent);
  }
}

Result<uint64_t> ChainBytes(const LayerTable& layers, Layer* top, uint64_t size_bytes,
                            uint32_t block_size) {
  ASSIGN_OR_RETURN(const std::vector<Layer*> chain, LayerChain(layers, top));
  uint64_t total = 0;
  for (Layer* const layer : chain) {
    if (layer->node() == nullptr) continue;
    ASSIGN_OR_RETURN(const uint64_t bytes, layer->AllocatedBytes());
    total += bytes;
  }
  if (chain.size() == 1) return total;
  return std::min(total, BlocksFor(size_bytes, block_size) * block_size);
}

namespace {

// Puts the presence of `layer` over the lower layers in `map`.
Status AddPresence(Layer* layer, ExtentMap& map) {
  uint64_t end = 0;
  Status done = layer->node()->catalog().LoadPresence(layer->id(), [&](const PresenceRun& run) {
    end = run.end();
    if (end > map.size()) return;
    if (run.state == BlockState::kZero && Sabotaged(Sabotage::kZeroNotLoaded)) return;
    const bool here = run.state == BlockState::kPresent;
    map.Assign({run.first, run.count}, here ? layer->ref() : LayerRef::kHole);
  });
  if (done.ok() && end > map.size()) {
    done =
        Error{Errc::kCorrupt, StrCat("the catalog of node ", layer->node()->name(), " says that ",
                                     layer->FileName(), ", which has ", map.size(),
                                     " blocks, has a presence of blocks up to ", end)};
  }
  if (!done.ok() && done.error().code == Errc::kCorrupt) {
    layer->node()->Distrust(done.error().message);
  }
  return done;
}

}  // namespace

Result<ExtentMap> LoadMap(const LayerTable& layers, Layer* top, uint32_t block_size) {
  ASSIGN_OR_RETURN(const std::vector<Layer*> chain, LayerChain(layers, top));
  ExtentMap map;
  for (size_t i = chain.size(); i-- > 0;) {
    Layer* const layer = chain[i];
    const LayerRecord record = layer->record();
    const bool lowest = i + 1 == chain.size();
    if (layer->node() == nullptr) {
      // As much as the layer over it shows; the content is known only on its own node.
      map.Resize(BlocksFor(chain[i - 1]->record().parent_bytes, block_size));
    } else {
      if (!lowest) {
        map.Resize(std::min(map.size(), BlocksFor(record.parent_bytes, block_size)));
      }
      map.Resize(BlocksFor(record.size_bytes, block_size));
    }
    if (lowest) {
      map.Assign({0, map.size()}, layer->ref());
      continue;
    }
    RETURN_IF_ERROR(AddPresence(layer, map));
  }
  return map;
}

}  // namespace volfs
