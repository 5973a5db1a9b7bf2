#include "blockstore/layer/layer_table.h"

namespace volfs {

LayerTable::~LayerTable() {
  for (auto& slot : segments_) {
    Segment* segment = slot.load();
    if (segment == nullptr) break;
    for (auto& layer : *segment) delete layer.load();
    delete segment;
  }
}

LayerRef LayerTable::NewRef() {
  if (free_.size() <= kRest) return LayerRef{next_++};
  const LayerRef oldest = free_.front();
  free_.pop_front();
  return oldest;
}

Layer* LayerTable::Place(std::unique_ptr<Layer> layer) {
  const auto index = static_cast<uint32_t>(layer->ref());
  assert(index / kSegment < kSegments);
  auto& slot = segments_[index / kSegment];
  if (slot.load() == nullptr) slot.store(new Segment{}, std::memory_order_release);
  Layer* placed = layer.release();
  (*slot.load())[index % kSegment].store(placed, std::memory_order_release);
  return placed;
}

Layer* LayerTable::PlaceAndName(std::unique_ptr<Layer> layer) {
  Layer* const placed = Place(std::move(layer));
  by_id_[placed->id()] = placed;
  return placed;
}

void LayerTable::Expect(size_t layers) {
  MutexLock lock(mu_);
  by_id_.reserve(by_id_.size() + layers);
}

Layer* LayerTable::Add(Node* node, LayerRecord record, Origin origin) {
  MutexLock lock(mu_);
  LayerRecord committed = origin == Origin::kCatalog ? record : LayerRecord{};
  return PlaceAndName(
      std::make_unique<Layer>(files_, node, NewRef(), std::move(record), std::move(committed)));
}

Layer* LayerTable::AddMissing(Id id, std::string node_name) {
  MutexLock lock(mu_);
  return PlaceAndName(
      std::make_unique<Layer>(files_, NewRef(), id, std::move(node_name), "is not mounted"));
}

Layer* LayerTable::AddLost(Id id, std::string node_name) {
  MutexLock lock(mu_);
  return Place(std::make_unique<Layer>(files_, NewRef(), id, std::move(node_name),
                                       "did not keep this for its clone"));
}

void LayerTable::Remove(Layer* layer) {
  MutexLock lock(mu_);
  const auto index = static_cast<uint32_t>(layer->ref());
  (*segments_[index / kSegment].load())[index % kSegment].store(nullptr);
  by_id_.erase(layer->id());
  free_.push_back(layer->ref());
  delete layer;
}

Layer* LayerTable::Find(Id id) const {
  MutexLock lock(mu_);
  const auto found = by_id_.find(id);
  return found == by_id_.end() ? nullptr : found->second;
}

Node* LayerTable::NodeOf(Id id) const {
  MutexLock lock(mu_);
  const auto found = by_id_.find(id);
  return found == by_id_.end() ? nullptr : found->second->node();
}

}  // namespace volfs
