#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "blockstore/base/runtime.h"
#include "blockstore/base/str_cat.h"

namespace volfs {

// Keeps lines that others can cause at will, as an error for each read of a broken disk, from
// filling the disk that the log is on. Each kind of line has a token bucket. A kind is the line
// without its words that hold a digit or a slash, that is without numbers and paths.
//
// The first kBurst lines of a kind are written, then one each kPause. Lines that are left out are
// counted. The next line of their kind reports the number or, after kPause without one, a line of
// its own does. The first line of a kind is always written.
//
// Bounds: kKinds kinds are known at a time (the one that was quiet longest makes room), so at most
// kKinds / kPause lines per second in the long run. Some 300 bytes per kind.
//
// Thread-safety: none; log.cc holds a lock.
class LogLimiter {
 public:
  static constexpr uint32_t kBurst = 10;
  static constexpr Nanoseconds kPause = std::chrono::seconds(10);
  static constexpr size_t kKinds = 256;

  struct LeftOut {
    std::string line;  // the last one
    uint64_t lines = 0;
    Nanoseconds span{0};
  };

  // Returns whether `line` is to be written. `before` gets the reports to write ahead of it, of its
  // own kind or of one that makes room.
  [[nodiscard]] bool Take(std::string_view line, Nanoseconds now, std::vector<LeftOut>& before);

  // Returns the reports of kinds that have been quiet since. Each is returned once.
  [[nodiscard]] std::vector<LeftOut> Overdue(Nanoseconds now);

  [[nodiscard]] static std::string KindOf(std::string_view line);
  // "N more lines like this in S s: LINE"
  [[nodiscard]] static std::string Text(const LeftOut& left_out);

 private:
  struct Bucket {
    uint32_t tokens = kBurst;
    Nanoseconds filled{0};  // when the last token came
    Nanoseconds last{0};    // when the last line came, written or not
    Nanoseconds first_left_out{0};
    uint64_t left_out = 0;
    std::string line;
  };
  static void Refill(Bucket& bucket, Nanoseconds now);
  static void TellLeftOut(Bucket& bucket, Nanoseconds now, std::vector<LeftOut>& told);
  void MakeRoom(Nanoseconds now, std::vector<LeftOut>& before);

  std::map<std::string, Bucket, std::less<>> buckets_;
};

// Puts the limits in force where the log stays on stderr; LogToFile does so by itself. While there
// is one thread. In log.cc.
void LimitLog();

}  // namespace volfs
