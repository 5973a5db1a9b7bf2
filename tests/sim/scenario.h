#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "tests/sim/simulation.h"

namespace volfs::sim {

// What scripted tests have in common: a life of one store that a test writes down, instead of one
// that a seed makes up. The seed still decides who runs when, so a scenario is played with many.
//
// Each function returns what the oracle objects to, and where.

inline constexpr uint64_t kCopyNothing = 0;  // clones stay as they are

struct Scenario {
  using Script = std::function<void(Simulation& world)>;
  uint64_t seed = 1;  // not 0
  uint64_t copy_rate = kCopyNothing;
  Script prepare;  // what is there before
  Script play;     // ... and what it is about; both run in a mounted world
};

// What a power cut leaves of a disk.
enum class Remains {
  kNothing,       // that was not synced
  kEverything,    // as a kill does
  kTorn,          // some of the sectors
  kNoLayerData,   // everything but the bytes in layers: what a map says of them has outlived them
  kOnlyLayerData  // ... the other way round
};

// Plays it, loses power at the end, mounts, compares, lets copying end, compares again.
std::vector<std::string> PlayOnce(const Scenario& scenario, Remains remains);

// Plays it once, with a power cut before every call to a disk from the beginning of `play` on, and
// one at its end; each is recovered from, as by PlayOnce, once for each of `remains`. At most a few
// complaints.
std::vector<std::string> CutEverywhere(const Scenario& scenario, std::span<const Remains> remains);

// Runs these at the same time, and returns when all have ended.
void Together(const std::vector<std::function<void()>>& fibers);

// A volume on the first disk, with data (blocks 0 to 6, and 8) and a hole; synced.
VolumeModel& MakeSource(Simulation& world);
// A clone of it on the other disk.
VolumeModel& MakeClone(Simulation& world, VolumeModel& source);
void SetCopyRate(Simulation& world, uint64_t bytes_per_second);

}  // namespace volfs::sim
