#pragma once

#include <cstdint>
#include <string>

namespace volfs {

// Times as control files show them: RFC 3339, UTC. `time_ns` counts from 1970. A time outside the
// years 1 to 9999 becomes 1970-01-01T00:00:00Z.
std::string UtcSeconds(int64_t time_ns);       // 2025-01-31T12:00:00Z
std::string UtcMilliseconds(int64_t time_ns);  // 2025-01-31T12:00:00.123Z

}  // namespace volfs
