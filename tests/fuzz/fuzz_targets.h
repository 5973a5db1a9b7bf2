#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "blockstore/base/str_cat.h"

// The fuzz targets. Each takes any bytes, and aborts if a requirement does not hold. libFuzzer
// calls them (lib_fuzzer.cc, scripts/fuzz); corpus_test.cc replays corpus/NAME in every build.
namespace volfs::fuzz {

using Input = std::span<const uint8_t>;

void request(Input input);   // bytes written to request files
void text(Input input);      // names and sizes
void control(Input input);   // files below control/: looked up, listed, opened, read, written
void store(Input input);     // a store whose rows, pages and files were changed is mounted
void stream(Input input);    // bytes that are read as a stream of `volfs send`
void sequence(Input input);  // operations on a store, compared with their required results

// Aborts and names the requirement that did not hold. (assert() is empty in builds with NDEBUG.)
void Require(bool holds, std::string_view what);

// Reads decisions from an input; zeros once it is used up.
class Decisions {
 public:
  explicit Decisions(Input input) : rest_(input) {}
  [[nodiscard]] bool empty() const { return rest_.empty(); }
  uint8_t Byte();
  uint64_t Number();  // eight bytes
  // Returns a number below `bound`, which is 1 to 65536.
  size_t Below(size_t bound);
  // Returns as many bytes as the next number says, at most `max`.
  std::string Text(size_t max);

 private:
  Input rest_;
};

}  // namespace volfs::fuzz
