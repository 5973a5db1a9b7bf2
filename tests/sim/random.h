#pragma once

#include <cassert>
#include <cstdint>

namespace volfs::sim {

// A stream of numbers that is a function of its seed: splitmix64 (Steele, Lea, Flood, "Fast
// splittable pseudorandom number generators", OOPSLA 2014). A number costs one addition and three
// mixes, and streams of neighbouring seeds are unrelated.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) { (void)Next(); }

  uint64_t Next() {
    uint64_t z = state_ += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }
  // Returns a number of [0, n). The bias for n far below 2^64 does not matter here.
  uint64_t Below(uint64_t n) {
    assert(n > 0);
    return Next() % n;
  }
  uint64_t Between(uint64_t least, uint64_t most) { return least + Below(most - least + 1); }
  bool OneIn(uint64_t n) { return Below(n) == 0; }
  bool Percent(uint64_t percent) { return Below(100) < percent; }

 private:
  uint64_t state_;
};

}  // namespace volfs::sim
