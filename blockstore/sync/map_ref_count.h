#pragma once

#include <atomic>
#include <cstdint>
#include <utility>

namespace volfs {

// Who uses the map of one volume, and whether it is in memory.
//
// All of it is one word: how many use it, whether it is loaded, and how many have ever come. So who
// wants to give it back looks at the word, then at whatever else must hold, and takes the map away
// only if the word is still the same: nobody has come since, nor has anybody left something behind.
// Nobody waits for anybody; with an epoch, who gives back the maps of one node would wait for
// requests that hang on another.
//
// Invariants:
//   M1  while there is a Ref, a map that is in memory stays there;
//   M2  what a Ref did before it ended happens before a TakeAway that succeeds.
//
// Thread-safety: all methods from any thread; Loaded and TakeAway one at a time (LiveMap).
// Cost of a Use: an atomic addition and a subtraction on a counter of that volume, no lock.
class MapRefCount {
 public:
  class [[nodiscard]] Ref {
   public:
    Ref() = default;  // of nothing
    Ref(Ref&& other) noexcept : uses_(std::exchange(other.uses_, nullptr)) {}
    Ref& operator=(Ref&& other) noexcept {
      std::swap(uses_, other.uses_);
      return *this;
    }
    ~Ref() {
      if (uses_ != nullptr) uses_->word_.fetch_sub(kOne, std::memory_order_release);
    }

   private:
    friend class MapRefCount;
    explicit Ref(MapRefCount* uses) : uses_(uses) {}
    MapRefCount* uses_ = nullptr;
  };

  // Whatever is in memory stays. It loads nothing: LiveMap::Acquire does.
  Ref Enter() {
    word_.fetch_add(kCame + kOne, std::memory_order_acquire);
    return Ref(this);
  }

  [[nodiscard]] bool loaded() const {
    return (word_.load(std::memory_order_acquire) & kLoaded) != 0;
  }
  // The map is in memory now.
  void Loaded() { word_.fetch_or(kLoaded, std::memory_order_release); }

  // The word, to be compared with another one, and for TakeAway.
  [[nodiscard]] uint64_t Look() const { return word_.load(std::memory_order_acquire); }
  [[nodiscard]] static bool InUse(uint64_t word) { return (word & (kLoaded - 1)) != 0; }
  // The map, which was loaded and not in use, is in memory no more; false if anybody has come since
  // the look.
  [[nodiscard]] bool TakeAway(uint64_t word) {
    return word_.compare_exchange_strong(word, word & ~kLoaded, std::memory_order_acq_rel);
  }

 private:
  static constexpr uint64_t kOne = 1;  // the lowest 24 bits: who uses it now
  static constexpr uint64_t kLoaded = uint64_t{1} << 24;
  static constexpr uint64_t kCame = kLoaded << 1;  // the rest: how many have come, modulo 2^39

  std::atomic<uint64_t> word_{0};
};

}  // namespace volfs
