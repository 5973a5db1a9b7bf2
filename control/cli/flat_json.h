#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace volfs::cli {

// The members of a flat JSON object, as the lines of watch/events are, in their order: strings
// without quotes and escapes, all else as it stands ("null"). Nothing if `text` is no such object.
// Not a general parser: the daemon is its only source, and what it does not understand is shown as
// it is.
std::vector<std::pair<std::string, std::string>> ParseFlatJson(std::string_view text);

}  // namespace volfs::cli
