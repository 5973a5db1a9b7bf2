#include "control/stream/compression.h"

#include <zstd.h>

#include <new>

namespace volfs::stream {
namespace {

constexpr int kLevel = 3;  // of zstd: about as fast as a disk

}  // namespace

struct Compressor::State {
  ZSTD_CCtx* const context = ZSTD_createCCtx();
  Bytes buffer = Bytes(kMaxRecordBytes);
  State() {
    if (context == nullptr) throw std::bad_alloc();
  }
  ~State() { ZSTD_freeCCtx(context); }
  State(const State&) = delete;
  State& operator=(const State&) = delete;
};

Compressor::Compressor() : state_(std::make_unique<State>()) {}

Compressor::~Compressor() = default;

std::span<const std::byte> Compressor::Compress(std::span<const std::byte> data) {
  // A result that has no room in one byte less than the data is refused by zstd itself.
  const size_t room = data.empty() ? 0 : data.size() - 1;
  const size_t got = ZSTD_compressCCtx(state_->context, state_->buffer.data(), room, data.data(),
                                       data.size(), kLevel);
  if (ZSTD_isError(got) != 0) return {};
  return std::span(state_->buffer).first(got);
}

bool Decompress(std::span<const std::byte> compressed, std::span<std::byte> out) {
  const size_t got = ZSTD_decompress(out.data(), out.size(), compressed.data(), compressed.size());
  return ZSTD_isError(got) == 0 && got == out.size();
}

}  // namespace volfs::stream
