#pragma once

#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>

namespace volfs::sim {

// The events of a run, in order, as a running hash, so that two runs of one seed can be compared
// exactly. On request the lines themselves go to standard output.
class Trace {
 public:
  explicit Trace(bool print = false) : print_(print) {}

  [[nodiscard]] bool printing() const { return print_; }
  [[nodiscard]] uint64_t hash() const { return hash_; }
  void Note(uint64_t number) {  // FNV-1a, a word at a time
    hash_ = (hash_ ^ number) * 0x100000001b3;
    hash_ ^= hash_ >> 29;
  }
  // Build `line` only if printing(); its contents must have been noted.
  void Line(std::string_view line) {
    if (print_) std::printf("%.*s\n", static_cast<int>(line.size()), line.data());
  }

 private:
  const bool print_;
  uint64_t hash_ = 0xcbf29ce484222325;
};

}  // namespace volfs::sim
