#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace volfs {

// Makes foreign text (paths, labels, names of processes, arguments) fit to be shown to a person:
// none of it can move a cursor, change a title or a colour, reverse the order of letters, or end a
// line.
//
// Escaped, each byte as \xNN: control characters (C0, DEL, C1), changes of the text's direction
// (U+061C, U+200E, U+200F, U+202A to U+202E, U+2066 to U+2069), line ends and invisible characters
// (U+2028, U+2029, U+FEFF, U+FFF9 to U+FFFB), and every byte that is not UTF-8. All else, a
// backslash too, stays as it is.
enum class LineFeeds { kEscaped, kKept };
std::string SafeText(std::string_view text, LineFeeds line_feeds = LineFeeds::kEscaped);

// One character of UTF-8 at the beginning of `text`, which is not empty.
struct Utf8Character {
  char32_t code = 0;
  size_t bytes =
      0;  // 0: the first byte is not UTF-8 (overlong forms and surrogates are not either)
};
Utf8Character FirstCharacter(std::string_view text);

// Whether SafeText escapes this character; a line feed is one of them.
bool IsUnsafe(char32_t code);

}  // namespace volfs
