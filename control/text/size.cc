#include "control/text/size.h"

#include <array>
#include <optional>

#include "blockstore/base/str_cat.h"
#include "control/text/name.h"

namespace volfs {
namespace {

struct Suffix {
  std::string_view text;
  uint64_t factor;
};

constexpr std::array<Suffix, 11> kSuffixes = {{
    {"", 1},
    {"K", uint64_t{1} << 10},
    {"M", uint64_t{1} << 20},
    {"G", uint64_t{1} << 30},
    {"T", uint64_t{1} << 40},
    {"P", uint64_t{1} << 50},
    {"KB", 1'000},
    {"MB", 1'000'000},
    {"GB", 1'000'000'000},
    {"TB", 1'000'000'000'000},
    {"PB", 1'000'000'000'000'000},
}};

std::optional<uint64_t> FactorOf(std::string_view suffix) {
  for (const Suffix& known : kSuffixes) {
    if (known.text == suffix) return known.factor;
  }
  return std::nullopt;
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
                                      "K M G T P (powers of 1024) or of KB MB GB TB PB (of 1000)")};
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
  constexpr std::string_view kUnits = "KMGTP";
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
