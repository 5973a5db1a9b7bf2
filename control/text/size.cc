#include "control/text/size.h"

#include <optional>

#include "blockstore/base/str_cat.h"
#include "control/text/name.h"

namespace volfs {
namespace {

constexpr std::string_view kBinaryLetters = "KMGTPE";

// The power of the letter: 1 of K, 6 of E. Small letters are those that truncate(1) reads.
std::optional<int> PowerOf(char letter) {
  constexpr std::string_view kSmall = "kmgt";
  const size_t small = kSmall.find(letter);
  const size_t power = small != kSmall.npos ? small : kBinaryLetters.find(letter);
  if (power == kBinaryLetters.npos) return std::nullopt;
  return static_cast<int>(power) + 1;
}

// Of "", "K", "KiB" (powers of 1024) and "KB" (of 1000).
std::optional<uint64_t> FactorOf(std::string_view suffix) {
  if (suffix.empty()) return 1;
  const std::optional<int> power = PowerOf(suffix[0]);
  suffix.remove_prefix(1);
  const bool decimal = suffix == "B";
  if (!power || (!decimal && !suffix.empty() && suffix != "iB")) return std::nullopt;
  uint64_t factor = 1;
  for (int i = 0; i < *power; ++i) factor *= decimal ? 1000 : 1024;
  return factor;
}

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

// a * b + c, or nothing if that is over the limit.
std::optional<uint64_t> MulAdd(uint64_t a, uint64_t b, uint64_t c) {
  uint64_t product = 0;
  uint64_t sum = 0;
  if (__builtin_mul_overflow(a, b, &product) || __builtin_add_overflow(product, c, &sum) ||
      sum > kMaxParsedSize) {
    return std::nullopt;
  }
  return sum;
}

Error Malformed(std::string_view text) {
  return Error{Errc::kInvalid, StrCat("size \"", Printable(text),
                                      "\": write digits, and after them nothing (bytes), one of "
                                      "K M G T P or KiB MiB GiB TiB PiB (powers of 1024), or of "
                                      "KB MB GB TB PB (of 1000)")};
}

Error TooLarge(std::string_view text) {
  return Error{Errc::kInvalid, StrCat("size \"", Printable(text), "\": more than 2^63-1 bytes (",
                                      kMaxParsedSize, "); write a smaller one")};
}

}  // namespace

Result<uint64_t> ParseSize(std::string_view text) {
  size_t digits = 0;
  while (digits < text.size() && IsDigit(text[digits])) ++digits;
  const std::optional<uint64_t> factor = FactorOf(text.substr(digits));
  if (digits == 0 || !factor) return Malformed(text);

  std::optional<uint64_t> value = 0;
  for (const char c : text.substr(0, digits)) {
    value = MulAdd(*value, 10, static_cast<uint64_t>(c - '0'));
    if (!value) return TooLarge(text);
  }
  value = MulAdd(*value, *factor, 0);
  if (!value) return TooLarge(text);
  return *value;
}

std::string FormatSize(uint64_t size_bytes) {
  constexpr std::string_view kUnits = kBinaryLetters.substr(0, 5);
  size_t power = 0;
  while (power < kUnits.size() && (size_bytes >> (10 * power)) >= 1024) ++power;
  if (power == 0) return StrCat(size_bytes);

  const uint64_t unit = uint64_t{1} << (10 * power);
  const uint64_t rest = size_bytes % unit;
  if (rest == 0) return StrCat(size_bytes / unit, kUnits[power - 1]);

  uint64_t tenths = size_bytes / unit * 10 + (rest * 10 + unit / 2) / unit;
  if (tenths >= 10240 && power < kUnits.size()) {  // rounded up to the next unit: 1.0M, not 1024.0K
    ++power;
    tenths = 10;
  }
  return StrCat(tenths / 10, '.', tenths % 10, kUnits[power - 1]);
}

}  // namespace volfs
