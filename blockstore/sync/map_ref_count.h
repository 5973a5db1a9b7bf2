#pragma once

#include <atomic>
#include <cstdint>
#include <utility>

namespace volfs {

// Counts the users of one volume's in-memory extent map, and says whether the map is loaded.
//
// The count, the loaded bit and a generation (how many references were ever taken) share one 64-bit
// word, so that a map can be evicted without blocking. The evictor reads the word (Look), checks
// all else that must hold, and then clears the loaded bit (TryEvict). That fails if the word has
// changed, because a reference was taken since, and its owner may have changed the map. An Epoch
// would not do: evicting the maps of one node would wait for requests that hang on another.
//
// Invariants:
//   M1  while a Ref exists, a loaded map stays loaded;
//   M2  everything done under a Ref happens before a later TryEvict that succeeds.
//
// Thread-safety: all methods from any thread; SetLoaded and TryEvict one at a time (LiveMap). Cost
// of a Ref: an atomic addition and a subtraction on a word of that volume, no lock.
class MapRefCount {
 public:
  class [[nodiscard]] Ref {
   public:
    Ref() = default;  // of nothing
    Ref(Ref&& other) noexcept : count_(std::exchange(other.count_, nullptr)) {}
    Ref& operator=(Ref&& other) noexcept {
      std::swap(count_, other.count_);
      return *this;
    }
    ~Ref() {
      if (count_ != nullptr) count_->word_.fetch_sub(kOne, std::memory_order_release);
    }

   private:
    friend class MapRefCount;
    explicit Ref(MapRefCount* count) : count_(count) {}
    MapRefCount* count_ = nullptr;
  };

  // Keeps a loaded map in memory, but loads none: LiveMap::Acquire does.
  Ref Enter() {
    word_.fetch_add(kCame + kOne, std::memory_order_acquire);
    return Ref(this);
  }

  [[nodiscard]] bool loaded() const {
    return (word_.load(std::memory_order_acquire) & kLoaded) != 0;
  }
  // Sets the loaded bit: the map is in memory now.
  void SetLoaded() { word_.fetch_or(kLoaded, std::memory_order_release); }

  // Returns the word, to be compared with a later one, and for TryEvict.
  [[nodiscard]] uint64_t Look() const { return word_.load(std::memory_order_acquire); }
  [[nodiscard]] static bool AnyRef(uint64_t word) { return (word & (kLoaded - 1)) != 0; }
  // Clears the loaded bit. Returns false, and changes nothing, if a Ref was taken since the Look
  // that returned `word`. Requires: `word` says loaded and not in use.
  [[nodiscard]] bool TryEvict(uint64_t word) {
    return word_.compare_exchange_strong(word, word & ~kLoaded, std::memory_order_acq_rel);
  }

 private:
  static constexpr uint64_t kOne = 1;  // the lowest 24 bits: the Refs that exist
  static constexpr uint64_t kLoaded = uint64_t{1} << 24;
  static constexpr uint64_t kCame = kLoaded << 1;  // the rest: Refs ever taken, modulo 2^39

  std::atomic<uint64_t> word_{0};
};

}  // namespace volfs
