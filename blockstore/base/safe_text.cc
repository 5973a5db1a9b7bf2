#include "blockstore/base/safe_text.h"

#include <algorithm>
#include <array>

namespace volfs {
namespace {

struct CodeRange {
  char32_t first;
  char32_t last;
};
constexpr std::array<CodeRange, 9> kUnsafe = {{{0x00, 0x1f},
                                               {0x7f, 0x9f},
                                               {0x61c, 0x61c},
                                               {0x200e, 0x200f},
                                               {0x2028, 0x202e},
                                               {0x2066, 0x2069},
                                               {0xd800, 0xdfff},
                                               {0xfeff, 0xfeff},
                                               {0xfff9, 0xfffb}}};

// The information in a first byte: the number of bytes that follow, its own bits, and the smallest
// code that needs so many.
struct LeadByte {
  size_t bytes;
  char32_t bits;
  char32_t least;
};

LeadByte Lead(unsigned char byte) {
  if (byte < 0x80) return {1, byte, 0};
  if (byte >= 0xc2 && byte < 0xe0) return {2, byte & 0x1fU, 0x80};
  if (byte >= 0xe0 && byte < 0xf0) return {3, byte & 0x0fU, 0x800};
  if (byte >= 0xf0 && byte < 0xf5) return {4, byte & 0x07U, 0x10000};
  return {0, 0, 0};
}

void AppendEscaped(std::string& out, std::string_view bytes) {
  constexpr std::string_view kHex = "0123456789abcdef";
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    out += "\\x";
    out += kHex[byte >> 4];
    out += kHex[byte & 0xf];
  }
}

}  // namespace

bool IsUnsafe(char32_t code) {
  return std::any_of(kUnsafe.begin(), kUnsafe.end(), [code](const CodeRange& range) {
    return code >= range.first && code <= range.last;
  });
}

Utf8Character FirstCharacter(std::string_view text) {
  constexpr char32_t kLastCode = 0x10ffff;
  const LeadByte lead = Lead(static_cast<unsigned char>(text.front()));
  if (lead.bytes == 0 || lead.bytes > text.size()) return {};
  char32_t code = lead.bits;
  for (const char c : text.substr(1, lead.bytes - 1)) {
    const auto byte = static_cast<unsigned char>(c);
    if ((byte & 0xc0U) != 0x80) return {};
    code = code << 6 | (byte & 0x3fU);
  }
  const bool surrogate = code >= 0xd800 && code <= 0xdfff;
  if (code < lead.least || code > kLastCode || surrogate) return {};
  return {code, lead.bytes};
}

std::string SafeText(std::string_view text, LineFeeds line_feeds) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const Utf8Character character = FirstCharacter(text);
    const std::string_view bytes = text.substr(0, std::max<size_t>(character.bytes, 1));
    text.remove_prefix(bytes.size());
    const bool kept_feed = bytes == "\n" && line_feeds == LineFeeds::kKept;
    if (character.bytes > 0 && (kept_feed || !IsUnsafe(character.code))) {
      out += bytes;
    } else {
      AppendEscaped(out, bytes);
    }
  }
  return out;
}

}  // namespace volfs
