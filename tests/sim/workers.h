#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace volfs::sim {

// Sums that a worker adds up; the caller gives them their meaning.
struct Sums {
  uint64_t values[6] = {};
  void Add(const Sums& other) {
    for (int i = 0; i < 6; ++i) values[i] += other.values[i];
  }
};

// One unit of work: adds to the sums, and appends a line for each fault.
using Work = std::function<void(uint64_t number, Sums& sums, std::vector<std::string>& wrong)>;

// Does `work` for each number of [first, first + count) in as many processes as there are cores (or
// `processes`), each of which takes every n-th. An abort counts as a fault: its number is printed
// and another process goes on behind it. Prints each fault as it comes, after "LABEL NUMBER: ".
// Returns how many numbers had a fault.
uint64_t RunWorkers(const std::string& label, uint64_t first, uint64_t count, int processes,
                    const Work& work, Sums& sums);

// Does `work` for the numbers from `first` on, in one process, until a fault or until `count` are
// done. Returns the number with the fault, and `what` it was, or 0 if there was none.
uint64_t FindFirst(uint64_t first, uint64_t count, const Work& work, std::string& what);

int CoreCount();

}  // namespace volfs::sim
