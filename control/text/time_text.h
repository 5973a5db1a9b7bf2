#pragma once

#include <cstdint>
#include <string>

namespace volfs {

// Times as control files tell them: RFC 3339, UTC. `time_ns` is since 1970; what lies outside of
// the years 1 to 9999 comes as 1970-01-01T00:00:00Z.
std::string UtcSeconds(int64_t time_ns);       // 2025-01-31T12:00:00Z
std::string UtcMilliseconds(int64_t time_ns);  // 2025-01-31T12:00:00.123Z

}  // namespace volfs
