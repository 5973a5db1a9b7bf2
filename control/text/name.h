#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "blockstore/base/error.h"

namespace volfs {

inline constexpr size_t kMaxNameBytes = 128;

// Checks that `name` may be the name of a volume, snapshot, node or type: it matches
// [A-Za-z0-9][A-Za-z0-9._-]* (else kInvalid) and has at most kMaxNameBytes (else kNameTooLong; a
// name with both faults is kInvalid). `what` tells the message whose name it is: "volume".
// All code that makes or renames anything calls it, whichever way the name came (trap T17).
Status CheckName(std::string_view name, std::string_view what);

// Returns the name of a clone that was requested without one: "db" -> "db-clone", "db.img" ->
// "db-clone.img" (likewise .raw). It may be too long, so the caller checks it.
std::string CloneName(std::string_view source_volume);

// Returns `text` for a message or a log. Every byte that is not printable ASCII becomes \xNN and a
// backslash becomes two, so that no request can move a cursor, forge a second line or turn text
// round (U+202E). After `limit` bytes the text ends with "...".
inline constexpr size_t kPrintableBytes = 64;
std::string Printable(std::string_view text, size_t limit = kPrintableBytes);

// Returns `message` as one line that is safe to print: harmful bytes become \xNN, nothing else
// changes (blockstore/base/safe_text.h).
std::string OneLine(std::string_view message);

}  // namespace volfs
