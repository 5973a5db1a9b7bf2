#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "blockstore/base/error.h"

namespace volfs {

// The greatest size in bytes that can be written: off_t is signed. A volume's limit is lower:
// kMaxVolumeBytes, and its type's greatest size.
inline constexpr uint64_t kMaxParsedSize = (uint64_t{1} << 63) - 1;

// Reads a size as truncate(1) does: digits, then nothing (bytes), a letter K M G T P E (powers of
// 1024), the letter and "iB" (the same), or the letter and "B" (powers of 1000). The letters k m g
// t may be small. Decimal digits only: no sign, no blank, no 0x, no exponent, no fraction. Returns
// kInvalid, with a sentence, for anything else and for more than kMaxParsedSize.
Result<uint64_t> ParseSize(std::string_view text);

// Returns a size for people, in powers of 1024: "512", "10G", "1.5G". Only an exact size has no
// fraction, so "10.0G" is a little more or less than "10G". Never parsed back.
std::string FormatSize(uint64_t size_bytes);

}  // namespace volfs
