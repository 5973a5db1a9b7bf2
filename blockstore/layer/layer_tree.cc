#include "blockstore/layer/layer_tree.h"

#include <algorithm>
#include <cassert>
#include <utility>

namespace volfs {

void LayerTree::Expect(size_t layers) {
  MutexLock lock(mu_);
  places_.reserve(places_.size() + layers);
}

void LayerTree::Add(Layer* layer) {
  MutexLock lock(mu_);
  places_[layer];
}

void LayerTree::AddReference(Layer* layer) {
  MutexLock lock(mu_);
  ++places_[layer].references;
}

void LayerTree::AddChild(Layer* parent, Layer* child) {
  MutexLock lock(mu_);
  places_[parent].children.push_back(child);
  places_[child];  // known from now on, with or without a reference
}

void LayerTree::RemoveChild(Layer* parent, Layer* child) {
  MutexLock lock(mu_);
  std::erase(places_[parent].children, child);
  ++version_;
}

void LayerTree::AddPin(Layer* layer) {
  MutexLock lock(mu_);
  Place& place = places_[layer];
  ++place.references;
  ++place.pins;
}

void LayerTree::ReferenceIsPin(Layer* layer) {
  MutexLock lock(mu_);
  Place& place = places_[layer];
  ++place.pins;
  assert(place.pins <= place.references);
}

LayerTree::Place LayerTree::PlaceOf(const Layer* layer) const {
  MutexLock lock(mu_);
  const auto found = places_.find(layer);
  return found == places_.end() ? Place{} : found->second;
}

std::vector<LayerTree::Pair> LayerTree::Pairs(const Node& node) const {
  std::vector<Pair> pairs;
  {
    MutexLock lock(mu_);
    for (const auto& [layer, place] : places_) {
      if (place.references > 0 || place.children.size() != 1 || layer->node() != &node) continue;
      pairs.push_back({layer->id(), place.children.front()->id()});
    }
  }
  // By id and not in the order of the table, as in WithoutReferences.
  std::sort(pairs.begin(), pairs.end(),
            [](const Pair& a, const Pair& b) { return a.under < b.under; });
  return pairs;
}

bool LayerTree::IsPair(const Layer* under, const Layer* over) const {
  const Place place = PlaceOf(under);
  return place.references == 0 && place.children.size() == 1 && place.children.front() == over;
}

std::vector<const Layer*> LayerTree::Subtree(const Layer* layer) const {
  std::vector<const Layer*> subtree{layer};
  for (size_t next = 0; next < subtree.size(); ++next) {
    const std::vector<Layer*> children = PlaceOf(subtree[next]).children;
    subtree.insert(subtree.end(), children.begin(), children.end());
  }
  return subtree;
}

std::vector<Layer*> LayerTree::Children(const Layer* layer) const {
  return PlaceOf(layer).children;
}

bool LayerTree::Pinned(const Layer* layer) const {
  const std::vector<const Layer*> subtree = Subtree(layer);
  return std::any_of(subtree.begin(), subtree.end(),
                     [this](const Layer* over) { return PlaceOf(over).pins > 0; });
}

uint64_t LayerTree::version() const {
  MutexLock lock(mu_);
  return version_;
}

void LayerTree::Merge(Layer* under, Layer* over, Layer* stays) {
  assert(IsPair(under, over));
  assert(stays == under || under->flat());  // else the layer under `under` would have a new child
  MutexLock lock(mu_);
  Place place = std::move(places_.at(over));
  places_.erase(under);
  places_.erase(over);
  places_[stays] = std::move(place);
  ++version_;
}

void LayerTree::DropReference(Layer* layer) {
  MutexLock lock(mu_);
  Place& place = places_[layer];
  assert(place.references > 0);
  --place.references;
  ++version_;
}

void LayerTree::DropPin(Layer* layer) {
  // Both at once: a reference that is no pin any more would be moved by the merger.
  MutexLock lock(mu_);
  Place& place = places_[layer];
  assert(place.pins > 0 && place.references >= place.pins);
  --place.pins;
  --place.references;
  ++version_;
}

std::vector<Id> LayerTree::WithoutReferences() const {
  std::vector<Id> ids;
  {
    MutexLock lock(mu_);
    for (const auto& [layer, place] : places_) {
      if (place.references == 0 && layer->node() != nullptr) ids.push_back(layer->id());
    }
  }
  // Not in the order of the table, which is that of addresses: two runs shall do the same.
  std::sort(ids.begin(), ids.end());
  return ids;
}

void LayerTree::Remove(Layer* layer, Layer* parent) {
  MutexLock lock(mu_);
  places_.erase(layer);
  ++version_;
  const auto under = places_.find(parent);
  if (under != places_.end()) std::erase(under->second.children, layer);
}

}  // namespace volfs
