#include "blockstore/volume/live_map.h"

#include <algorithm>
#include <cassert>
#include <utility>

#include "blockstore/base/sabotage.h"
#include "blockstore/base/str_cat.h"
#include "blockstore/layer/map_loader.h"

namespace volfs {
namespace {

constexpr int kExtentsAtOnce = 4096;  // readers and writers wait for that many

}  // namespace

LiveMap::LiveMap(const VolumeContext& context, VolumeState& state, const OpenState& opens,
                 uint64_t size_bytes, Layer* head)
    : context_(context), state_(state), opens_(opens), size_bytes_(size_bytes), head_(head) {}

// --- in memory or not --------------------------------------------------------------------------

// Takes the Ref first: from then on no thread evicts the map, whether found or loaded.
Result<MapRefCount::Ref> LiveMap::Acquire() {
  MapRefCount::Ref use = ref_count_.Enter();
  if (!ref_count_.loaded()) RETURN_IF_ERROR(Load());
  return use;
}

Result<IoScope> LiveMap::Begin() {
  IoScope io(ref_count_.Enter(), gate_, context_.epoch);
  if (!loaded()) RETURN_IF_ERROR(Load());
  return io;
}

Result<IoScope> LiveMap::BeginWrite() {
  ASSIGN_OR_RETURN(IoScope io, Begin());
  io.EnterWrite();
  return io;
}

Status LiveMap::Load() {
  MutexLock loading(load_mu_);
  if (loaded()) return OkStatus();
  if (state_.refused()) {
    return Error{Errc::kCorrupt, StrCat(state_.name(), ": ", state_.failure())};
  }
  const Gate::Passage tree = state_.node().tree_gate().Enter();
  const Epoch::Reader reader = context_.epoch.Enter();
  // The layers of a deleted volume may be gone, unless it is still open.
  if (state_.deleted() && !opens_.any()) {
    return Error{Errc::kNotFound, StrCat(state_.name(), ": it was deleted")};
  }
  Layer* const top = head();
  assert(top->pending_blocks() == 0 || Sabotaged(Sabotage::kGiveBackPending));
  Result<ExtentMap> map = LoadMap(context_.layers, top, context_.block_size);
  if (!map.ok()) {
    if (map.error().code == Errc::kCorrupt) state_.Refuse(map.error().message);
    return map.error();
  }
  Set(std::move(map.value()));
  return OkStatus();
}

void LiveMap::Set(ExtentMap map) {
  WriterLock lock(mu_);
  map_ = std::move(map);
  ref_count_.SetLoaded();
}

bool LiveMap::Evict(uint64_t look, bool used, bool may_go, Nanoseconds idle) {
  ExtentMap gone;  // outlives the locks, as freeing a large map takes long
  MutexLock loading(load_mu_);
  used = used || MapRefCount::AnyRef(look);
  const Nanoseconds now = MonotonicNow();
  if (used || look != last_look_) idle_since_ = now;
  last_look_ = look;
  if (used || now - idle_since_ < idle || !may_go) return false;
  if (!ref_count_.TryEvict(look)) return false;
  WriterLock lock(mu_);
  std::swap(map_, gone);
  return true;
}

// --- looking -----------------------------------------------------------------------------------

Layer* LiveMap::head() const {
  ReaderLock lock(mu_);
  return head_;
}

LiveMap::Lookup LiveMap::Find(uint64_t block) const {
  assert(loaded());
  ReaderLock lock(mu_);
  // A caller that read the size before it shrank may ask for a block past the map's end.
  if (block >= map_.size()) {
    const uint64_t end = BlocksFor(kMaxVolumeBytes, context_.block_size) + 1;
    return {Extent{block, end - block, LayerRef::kHole}, head_};
  }
  return {map_.Find(block), head_};
}

// The size first: while another thread grows the volume, the map may be longer already, but never
// shorter (V4).
LiveMap::Sized LiveMap::Copy() const {
  ReaderLock lock(mu_);
  const uint64_t size_bytes = this->size_bytes();
  return {map_, size_bytes};
}

bool LiveMap::AnyInherited(const BlockRange& range) const {
  for (uint64_t block = range.first;;) {
    ReaderLock lock(mu_);
    for (int extents = 0; extents < kExtentsAtOnce; ++extents) {
      if (block >= std::min(range.end(), map_.size())) return false;
      const Extent extent = map_.Find(block);
      if (extent.layer != LayerRef::kHole && extent.layer != head_->ref()) return true;
      block = extent.end();
    }
  }
}

// --- changing ----------------------------------------------------------------------------------

void LiveMap::RecordWritten(const BlockRange& blocks, Layer* head, BlockState state) {
  // The pending set first: once the map leads to the head another writer may overwrite in place,
  // and its fsync must find the block in the set.
  if (!Sabotaged(Sabotage::kMapBeforePending)) head->MarkPending(blocks, state);
  {
    WriterLock lock(mu_);
    assert(head == head_ || Sabotaged(Sabotage::kSkipDrain));
    map_.Assign(blocks, state == BlockState::kPresent ? head->ref() : LayerRef::kHole);
  }
  if (Sabotaged(Sabotage::kMapBeforePending)) head->MarkPending(blocks, state);
}

void LiveMap::Show(const BlockRange& blocks, const ExtentMap& image) {
  WriterLock lock(mu_);
  map_.Assign(blocks, LayerRef::kHole);
  for (uint64_t block = blocks.first; block < std::min(blocks.end(), image.size());) {
    const Extent extent = image.Find(block);
    const uint64_t end = std::min({extent.end(), blocks.end(), image.size()});
    map_.Assign({block, end - block}, extent.layer);
    block = end;
  }
}

void LiveMap::Redirect(const BlockRange& range, LayerRef from, LayerRef to) {
  for (uint64_t block = range.first;;) {
    WriterLock lock(mu_);
    for (int extents = 0; extents < kExtentsAtOnce; ++extents) {
      if (block >= std::min(range.end(), map_.size())) return;
      const Extent extent = map_.Find(block);
      const uint64_t end = std::min({extent.end(), range.end(), map_.size()});
      if (extent.layer == from) map_.Assign({block, end - block}, to);
      block = end;
    }
  }
}

void LiveMap::Grow(uint64_t size_bytes) {
  {
    // The map first: a reader that sees the new size must find its blocks.
    WriterLock lock(mu_);
    const uint64_t old_blocks = map_.size();
    const uint64_t blocks = BlocksFor(size_bytes, context_.block_size);
    if (loaded() && blocks > old_blocks) {
      map_.Resize(blocks);
      if (head_->flat()) map_.Assign({old_blocks, blocks - old_blocks}, head_->ref());
    }
  }
  if (size_bytes > this->size_bytes()) size_bytes_.store(size_bytes, std::memory_order_release);
}

void LiveMap::Cut(uint64_t size_bytes, const BlockRange& merged) {
  WriterLock lock(mu_);
  size_bytes_.store(size_bytes, std::memory_order_release);
  map_.Resize(BlocksFor(size_bytes, context_.block_size));
  if (merged.count > 0) map_.Assign(merged, head_->ref());
}

// --- another head ------------------------------------------------------------------------------

Result<Gate::Closure> LiveMap::CloseGate(Nanoseconds patience) {
  Gate::Closure closed = gate_.Close(MonotonicNow() + patience);
  if (closed.holds()) return closed;
  return Error{Errc::kBusy, StrCat(state_.name(),
                                   ": its writes in flight did not end within 1 s; try again, or "
                                   "look at the node's disk")};
}

ExtentMap LiveMap::PutOver(Layer* head) {
  WriterLock lock(mu_);
  head_ = head;
  return map_;
}

// The size is stored without grow_mu_: no write is inside the gate, and the kernel does not serve
// the volume, so nothing else changes it now.
void LiveMap::Replace(Layer* head, ExtentMap map, uint64_t size_bytes) {
  WriterLock lock(mu_);
  head_ = head;
  std::swap(map_, map);  // the old map is freed without the lock
  size_bytes_.store(size_bytes, std::memory_order_release);
}

void LiveMap::Sink(Layer* under) {
  WriterLock lock(mu_);
  head_ = under;
  if (under->flat()) map_.Assign({0, map_.size()}, under->ref());
}

void LiveMap::Flatten() {
  WriterLock lock(mu_);
  map_.Assign({0, map_.size()}, head_->ref());
}

}  // namespace volfs
