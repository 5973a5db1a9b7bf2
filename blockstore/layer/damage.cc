#include "blockstore/layer/damage.h"

#include "blockstore/node/node.h"

namespace volfs {
namespace {

// A host that lacks memory, descriptors or room says nothing about the file. An error without an
// errno is none of the host (Errc::kIo: not tried, as the node does not answer).
bool SaysDamage(const Error& error) {
  switch (error.code) {
    case Errc::kCorrupt:
      return true;
    case Errc::kNoMemory:
    case Errc::kNoFiles:
    case Errc::kNoSpace:
    case Errc::kQuota:
      return false;
    default:
      return error.os_errno != 0;
  }
}

}  // namespace

void LayerDamage::Note(const Error& error, uint64_t offset_bytes) {
  if (node_ == nullptr || any() || !SaysDamage(error)) return;
  MutexLock lock(mu_);
  if (any()) return;
  text_ = error.message;
  offset_bytes_ = offset_bytes;
  any_.store(true, std::memory_order_release);
  node_->NoteDamage(1);
}

void LayerDamage::Forget() {
  if (!any()) return;
  MutexLock lock(mu_);
  if (!any()) return;
  text_.clear();
  any_.store(false, std::memory_order_release);
  node_->NoteDamage(-1);
}

std::string LayerDamage::text() const {
  MutexLock lock(mu_);
  return text_;
}

uint64_t LayerDamage::offset_bytes() const {
  MutexLock lock(mu_);
  return offset_bytes_;
}

}  // namespace volfs
