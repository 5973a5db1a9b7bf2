#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace volfs::sim {

// Sums that a worker makes; the worker gives them their meaning.
struct Sums {
  uint64_t values[6] = {};
  void Add(const Sums& other) {
    for (int i = 0; i < 6; ++i) values[i] += other.values[i];
  }
};

// One unit of work: adds to the sums, tells what is wrong (each a line).
using Work = std::function<void(uint64_t number, Sums& sums, std::vector<std::string>& wrong)>;

// Does `work` for each number of [first, first + count) in as many processes as there are cores
// (or `processes`), each of which takes every n-th. One that aborts has found something, too: its
// number is told and another goes on behind it. Prints what is wrong as it comes, each line after
// "LABEL NUMBER: ". Returns how many numbers had something wrong.
uint64_t RunWorkers(const std::string& label, uint64_t first, uint64_t count, int processes,
                    const Work& work, Sums& sums);

// Does `work` for the numbers from `first` on, in one process of its own, until something is wrong
// or `count` are done. Returns the number at which it was, and `what`; 0 if none was.
uint64_t FindFirst(uint64_t first, uint64_t count, const Work& work, std::string& what);

int CoreCount();

}  // namespace volfs::sim
