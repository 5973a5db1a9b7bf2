#include "control/stream/checksum.h"

#include <xxhash.h>

#include <new>

namespace volfs::stream {

struct Checksum::State {
  XXH3_state_t* const xxh3 = XXH3_createState();
  State() {
    if (xxh3 == nullptr) throw std::bad_alloc();
  }
  ~State() { XXH3_freeState(xxh3); }
  State(const State&) = delete;
  State& operator=(const State&) = delete;
};

Checksum::Checksum(uint64_t seed) : state_(std::make_unique<State>()) { Reset(seed); }

Checksum::~Checksum() = default;

void Checksum::Reset(uint64_t seed) { XXH3_64bits_reset_withSeed(state_->xxh3, seed); }

void Checksum::Add(std::span<const std::byte> bytes) {
  XXH3_64bits_update(state_->xxh3, bytes.data(), bytes.size());
}

uint64_t Checksum::value() const { return XXH3_64bits_digest(state_->xxh3); }

}  // namespace volfs::stream
