#include "control/text/time_text.h"

#include <array>
#include <cstdio>
#include <ctime>

namespace volfs {
namespace {

constexpr int64_t kSecond = 1'000'000'000;

std::string Format(int64_t time_ns, const char* fraction) {
  const time_t seconds = time_ns / kSecond - (time_ns % kSecond < 0 ? 1 : 0);
  std::tm parts{};
  std::array<char, 64> text{};
  if (gmtime_r(&seconds, &parts) == nullptr ||
      std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%S", &parts) != 19) {
    return "1970-01-01T00:00:00Z";
  }
  return std::string(text.data()) + fraction + "Z";
}

}  // namespace

std::string UtcSeconds(int64_t time_ns) { return Format(time_ns, ""); }

std::string UtcMilliseconds(int64_t time_ns) {
  const int64_t within = (time_ns % kSecond + kSecond) % kSecond;
  std::array<char, 16> fraction{};
  std::snprintf(fraction.data(), fraction.size(), ".%03d", static_cast<int>(within / 1'000'000));
  return Format(time_ns, fraction.data());
}

}  // namespace volfs
