#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "blockstore/base/error.h"

namespace volfs {

inline constexpr size_t kMaxNameBytes = 128;

// Whether `name` may be the name of a volume, snapshot, node or type: it matches
// [A-Za-z0-9][A-Za-z0-9._-]* (kInvalid if not) and has at most kMaxNameBytes (kNameTooLong; a name
// with both faults is kInvalid). `what` says in the message whose name it is: "volume".
// Everything that makes or renames anything asks here, whichever way the name came (trap T17).
Status CheckName(std::string_view name, std::string_view what);

// The name of a clone that was asked for without one: "db" -> "db-clone", "db.img" ->
// "db-clone.img" (and so for .raw). May be too long: check it.
std::string CloneName(std::string_view source_volume);

// `text` for a message or a log: every byte that is not printable ASCII comes as \xNN and a
// backslash as two, so that nobody's request can move a cursor, forge a second line or turn text
// round (U+202E). At most `limit` bytes of it, then "...".
inline constexpr size_t kPrintableBytes = 64;
std::string Printable(std::string_view text, size_t limit = kPrintableBytes);

// `message` with what could do harm as \xNN, and nothing else changed: one line, safe to print
// (blockstore/base/safe_text.h).
std::string OneLine(std::string_view message);

}  // namespace volfs
