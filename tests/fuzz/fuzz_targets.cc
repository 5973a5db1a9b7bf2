#include "tests/fuzz/fuzz_targets.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>

namespace volfs::fuzz {

void Require(bool holds, std::string_view what) {
  if (holds) return;
  std::fprintf(stderr, "it does not hold: %.*s\n", static_cast<int>(what.size()), what.data());
  std::abort();
}

uint8_t Decisions::Byte() {
  if (rest_.empty()) return 0;
  const uint8_t byte = rest_.front();
  rest_ = rest_.subspan(1);
  return byte;
}

uint64_t Decisions::Number() {
  uint64_t number = 0;
  for (int i = 0; i < 8; ++i) number = number << 8 | Byte();
  return number;
}

size_t Decisions::Below(size_t bound) {
  const size_t low = Byte();
  return (bound <= 256 ? low : low << 8 | Byte()) % bound;
}

std::string Decisions::Text(size_t most) {
  const size_t length = std::min({size_t{Byte()}, most, rest_.size()});
  std::string text(rest_.begin(), rest_.begin() + static_cast<std::ptrdiff_t>(length));
  rest_ = rest_.subspan(length);
  return text;
}

}  // namespace volfs::fuzz
