#include "blockstore/io/node_calls.h"

#include <algorithm>

#include "blockstore/base/str_cat.h"

namespace volfs {
namespace {

constexpr int kKindBits = 8;
constexpr uint64_t kSlowMs = 1000;

NodeCalls::Kind KindOf(uint64_t call) { return static_cast<NodeCalls::Kind>(call & 0xff); }

bool MayTakeLong(NodeCalls::Kind kind) { return kind >= NodeCalls::Kind::kSync; }

const char* NameOf(NodeCalls::Kind kind) {
  switch (kind) {
    case NodeCalls::Kind::kRead:
      return "a read";
    case NodeCalls::Kind::kWrite:
      return "a write";
    case NodeCalls::Kind::kLook:
      return "a look at a file";
    case NodeCalls::Kind::kSync:
      return "a sync";
    case NodeCalls::Kind::kFree:
      return "freeing space";
    case NodeCalls::Kind::kCommit:
      return "a commit to the catalog";
  }
  return "a call";
}

uint64_t AgeMs(uint64_t call, uint64_t now_ms) {
  const uint64_t began_ms = call >> kKindBits;
  return now_ms - std::min(now_ms, began_ms);
}

}  // namespace

std::atomic<uint64_t>* NodeCalls::Enter(Kind kind) {
  const uint64_t call =
      now_ms_.load(std::memory_order_relaxed) << kKindBits | static_cast<uint64_t>(kind);
  const uint32_t first = ThreadSlot(kSlots);
  for (uint32_t i = 0; i < kSlots; ++i) {
    std::atomic<uint64_t>& slot = slots_[(first + i) % kSlots].call;
    uint64_t free = 0;
    if (slot.compare_exchange_strong(free, call, std::memory_order_acquire)) return &slot;
  }
  return nullptr;
}

void NodeCalls::Look(Nanoseconds now, Nanoseconds limit) {
  const auto ms = [](Nanoseconds time) {
    return static_cast<uint64_t>(time / std::chrono::milliseconds(1));
  };
  const uint64_t now_ms = ms(now);
  bool hung = false;
  uint64_t oldest = 0;
  uint64_t waiting_ms = 0;
  for (Slot& slot : slots_) {
    uint64_t call = slot.call.load(std::memory_order_acquire);
    if (call == 0) continue;
    if (call >> kKindBits == 0) {  // begun before the first Look: it counts from now
      const uint64_t dated = now_ms << kKindBits | call;
      if (!slot.call.compare_exchange_strong(call, dated)) continue;
      call = dated;
    }
    const uint64_t limit_ms = ms(limit) * (MayTakeLong(KindOf(call)) ? kLongFactor : 1);
    hung = hung || AgeMs(call, now_ms) > limit_ms;
    if (oldest == 0 || call < oldest) oldest = call;
    if (!MayTakeLong(KindOf(call))) waiting_ms = std::max(waiting_ms, AgeMs(call, now_ms));
  }
  const bool slow = oldest != 0 && AgeMs(oldest, now_ms) >= kSlowMs;
  oldest_ = slow || hung ? oldest : 0;
  slow_ = slow || hung;
  hung_ = hung;
  waiting_ms_ = waiting_ms;
  now_ms_ = now_ms;
}

Nanoseconds NodeCalls::longest() const {
  const uint64_t oldest = oldest_;
  return std::chrono::milliseconds(oldest == 0 ? 0 : AgeMs(oldest, now_ms_));
}

std::string NodeCalls::Trouble() const {
  const uint64_t oldest = oldest_;
  if (oldest == 0) return "";
  return StrCat(NameOf(KindOf(oldest)), " has not returned for ", AgeMs(oldest, now_ms_) / 1000,
                " s");
}

}  // namespace volfs
