#pragma once

#include <cstddef>
#include <memory>
#include <span>

#include "control/stream/format.h"

namespace volfs::stream {

// Compresses the payload of one record at a time, with zstd. No record needs another one.
//
// Thread-safety: none.
class Compressor {
 public:
  Compressor();
  ~Compressor();
  Compressor(const Compressor&) = delete;
  Compressor& operator=(const Compressor&) = delete;

  // Returns the compressed bytes, good until the next call; empty if they are not fewer.
  std::span<const std::byte> Compress(std::span<const std::byte> data);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Fills `out` from the compressed bytes. Returns false if they are damaged, or are not exactly
// those of `out.size()` bytes. Never writes past `out`.
bool Decompress(std::span<const std::byte> compressed, std::span<std::byte> out);

}  // namespace volfs::stream
