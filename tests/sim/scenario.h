#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "tests/sim/simulation.h"

namespace volfs::sim {

// The common part of scripted tests: the test writes down the life of one store, where a random run
// draws it from a seed. The seed still decides which fiber runs when, so a scenario is played with
// many seeds.
//
// Each function returns the oracle's objections, and where they arose.

inline constexpr uint64_t kCopyNothing = 0;  // clones stay as they are

struct Scenario {
  using Script = std::function<void(Simulation& world)>;
  uint64_t seed = 1;  // not 0
  uint64_t copy_rate = kCopyNothing;
  Script prepare;  // makes the starting state
  Script play;     // the test itself; both run in a mounted world
};

// The part of a disk's state that a power cut leaves.
enum class Remains {
  kNothing,       // all unsynced data is gone
  kEverything,    // as a kill does
  kTorn,          // some of the sectors
  kNoLayerData,   // everything but the bytes in layers: a map outlives the bytes that it describes
  kOnlyLayerData  // ... the other way round
};

// Plays the scenario, loses power at the end, mounts, compares, lets copying end, and compares
// again.
std::vector<std::string> PlayOnce(const Scenario& scenario, Remains remains);

// Plays the scenario once, with a power cut before every call to a disk from the beginning of
// `play` on, and one at its end. Recovers from each cut as PlayOnce does, once for each of
// `remains`. Returns at most a few objections.
std::vector<std::string> CutEverywhere(const Scenario& scenario, std::span<const Remains> remains);

// Runs these at the same time, and returns when all have ended.
void Together(const std::vector<std::function<void()>>& fibers);

// Makes a synced volume on the first disk, with data (blocks 0 to 6, and 8) and a hole.
VolumeModel& MakeSource(Simulation& world);
// Makes a clone of it on the other disk.
VolumeModel& MakeClone(Simulation& world, VolumeModel& source);
void SetCopyRate(Simulation& world, uint64_t bytes_per_second);

}  // namespace volfs::sim
