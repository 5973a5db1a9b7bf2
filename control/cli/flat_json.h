#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace volfs::cli {

using Fields = std::vector<std::pair<std::string, std::string>>;

// The members of a flat JSON object, as info.json and the lines of watch/events are, in their
// order: strings without quotes and escapes, all else as it stands ("null"). Nothing if `text` is
// no such object. Not a general parser: the daemon is its only source, and what it does not
// understand is shown as it is.
Fields ParseFlatJson(std::string_view text);

// The value of the first field of that name, "" if there is none.
std::string ValueOf(const Fields& fields, std::string_view name);

}  // namespace volfs::cli
