// The command of the simulation; scripts/sim runs it.
#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <map>

#include "blockstore/base/log.h"
#include "blockstore/base/sabotage.h"
#include "blockstore/base/str_cat.h"
#include "tests/sim/short_runs.h"
#include "tests/sim/simulation.h"
#include "tests/sim/vfs.h"
#include "tests/sim/workers.h"

namespace volfs::sim {
namespace {

using Clock = std::chrono::steady_clock;

double SecondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

struct Options {
  uint64_t seeds = 0;
  uint64_t first = 1;
  uint64_t seed = 0;
  uint64_t operations = 100;
  uint64_t short_length = 0;
  uint64_t fault_length = 0;
  std::string list;
  std::string sabotage;
  std::string known;
  bool trace = false;
};

// One seed in so many is run twice, and both runs must be equal.
constexpr uint64_t kTwice = 200;

void DoSeed(uint64_t seed, const Options& options, Sums& sums, std::vector<std::string>& wrong) {
  Findings found = RunSeed(seed, options.operations, false);
  sums.values[0] += found.operations;
  sums.values[1] += found.crashes;
  sums.values[2] += found.recoveries;
  wrong = std::move(found.violations);
  if (seed % kTwice != 0) return;
  if (RunSeed(seed, options.operations, false).trace != found.trace) {
    wrong.push_back("running it again does not give the same trace");
  }
}

int RunOne(const Options& options) {
  const Findings found = RunSeed(options.seed, options.operations, options.trace);
  for (const std::string& text : found.violations) std::printf("%s\n", text.c_str());
  std::printf("seed=%llu ops=%llu trace=%016llx violations=%zu\n",
              static_cast<unsigned long long>(options.seed),
              static_cast<unsigned long long>(found.operations),
              static_cast<unsigned long long>(found.trace), found.violations.size());
  return found.violations.empty() ? 0 : 1;
}

// Runs seeds that once failed, one per line. The text behind the number is for people.
uint64_t RunList(const Options& options) {
  std::ifstream in(options.list);
  if (!in) {
    std::fprintf(stderr, "sim: cannot read %s\n", options.list.c_str());
    return 1;
  }
  std::vector<uint64_t> seeds;
  for (std::string line; std::getline(in, line);) {
    if (!line.empty() && line[0] != '#') seeds.push_back(std::stoull(line));
  }
  Sums sums;
  const uint64_t bad = RunWorkers(
      "listed", 0, seeds.size(), 0,
      [&](uint64_t n, Sums& s, std::vector<std::string>& wrong) {
        DoSeed(seeds[n], options, s, wrong);
        for (std::string& text : wrong) text.insert(0, StrCat("seed ", seeds[n], ": "));
      },
      sums);
  std::printf("listed=%zu violations=%llu\n", seeds.size(), static_cast<unsigned long long>(bad));
  return bad;
}

uint64_t RunShort(const Options& options) {
  uint64_t bad = 0;
  const auto all = [&](const char* label, uint64_t most, auto run) {
    const auto start = Clock::now();
    Sums sums;
    uint64_t wrong_ones = 0;
    for (int length = 1; length <= static_cast<int>(most); ++length) {
      wrong_ones += RunWorkers(
          StrCat(label, ' ', length), 0, SequenceCount(length), 0,
          [&](uint64_t number, Sums& s, std::vector<std::string>& wrong) {
            ShortRuns result;
            run(length, number, result);
            s.values[0] += result.sequences;
            s.values[1] += result.recoveries;
            wrong = std::move(result.violations);
          },
          sums);
    }
    if (most > 0) {
      std::printf("%s: sequences=%llu recoveries=%llu recoveries_per_s=%.0f violations=%llu\n",
                  label, static_cast<unsigned long long>(sums.values[0]),
                  static_cast<unsigned long long>(sums.values[1]),
                  static_cast<double>(sums.values[1]) / SecondsSince(start),
                  static_cast<unsigned long long>(wrong_ones));
    }
    bad += wrong_ones;
  };
  all("cut", options.short_length, CutEverywhere);
  all("fault", options.fault_length, FaultEverywhere);
  return bad;
}

uint64_t RunSeeds(const Options& options) {
  const auto start = Clock::now();
  Sums sums;
  const uint64_t bad = RunWorkers(
      "seed", options.first, options.seeds, 0,
      [&](uint64_t seed, Sums& s, std::vector<std::string>& wrong) {
        DoSeed(seed, options, s, wrong);
      },
      sums);
  const double seconds = SecondsSince(start);
  std::printf("recoveries_per_s=%.0f\n", static_cast<double>(sums.values[2]) / seconds);
  std::printf("seeds=%llu ops=%llu crashes=%llu recoveries=%llu seeds_per_s=%.0f violations=%llu\n",
              static_cast<unsigned long long>(options.seeds),
              static_cast<unsigned long long>(sums.values[0]),
              static_cast<unsigned long long>(sums.values[1]),
              static_cast<unsigned long long>(sums.values[2]),
              static_cast<double>(options.seeds) / seconds, static_cast<unsigned long long>(bad));
  return bad;
}

#if defined(VOLFS_SABOTAGE)

constexpr uint64_t kMaxSeeds = 10'000;

struct Bug {
  Sabotage id;
  const char* name;
  const char* says;
};
constexpr Bug kBugs[] = {
#define VOLFS_SABOTAGE_ROW(id, name, says) {Sabotage::id, name, says},
    VOLFS_SABOTAGES(VOLFS_SABOTAGE_ROW)
#undef VOLFS_SABOTAGE_ROW
};

// Reads lines of "NAME SEED".
std::map<std::string, uint64_t> KnownSeeds(const std::string& file) {
  std::map<std::string, uint64_t> known;
  std::ifstream in(file);
  std::string name;
  for (uint64_t seed = 0; in >> name >> seed;) known[name] = seed;
  return known;
}

// Runs each bug until it is caught, first with its known seed, then with all seeds in order.
int RunSabotage(const Options& options) {
  const auto known = KnownSeeds(options.known);
  std::vector<Bug> bugs;
  for (const Bug& bug : kBugs) {
    if (bug.id == Sabotage::kNone) continue;
    if (options.sabotage == "all" || options.sabotage == bug.name) bugs.push_back(bug);
  }
  if (bugs.empty()) {
    std::fprintf(stderr, "sim: no bug is named %s\n", options.sabotage.c_str());
    return 2;
  }
  Sums sums;
  const uint64_t missed = RunWorkers(
      "bug", 0, bugs.size(), 0,
      [&](uint64_t n, Sums&, std::vector<std::string>& wrong) {
        const Bug& bug = bugs[n];
        active_sabotage = bug.id;
        const Work work = [&](uint64_t seed, Sums& s, std::vector<std::string>& w) {
          DoSeed(seed, options, s, w);
        };
        std::string what;
        uint64_t caught = 0;
        const auto seed = known.find(bug.name);
        const bool replayed = seed != known.end();
        if (replayed) caught = FindFirst(seed->second, 1, work, what);
        const bool stale = replayed && caught == 0;
        if (caught == 0) caught = FindFirst(1, kMaxSeeds, work, what);
        if (caught == 0) {
          wrong.push_back(StrCat(bug.name, " is not caught within ", kMaxSeeds, " seeds"));
          return;
        }
        std::printf("%-22s %6llu  %s%s\n", bug.name, static_cast<unsigned long long>(caught),
                    stale ? "(another seed than the known one) " : "", what.substr(0, 140).c_str());
        std::fflush(stdout);
      },
      sums);
  std::printf("bugs=%zu missed=%llu\n", bugs.size(), static_cast<unsigned long long>(missed));
  return missed == 0 ? 0 : 1;
}

#else

int RunSabotage(const Options&) {
  std::fprintf(stderr, "sim: this build has no bugs planted; use sim_sabotaged\n");
  return 2;
}

#endif

int Main(int argc, char** argv) {
  Options options;
  CLI::App app("Runs the store in simulated worlds and cuts their power.");
  app.add_option("--seeds", options.seeds, "run so many random lives");
  app.add_option("--first", options.first, "the first seed");
  app.add_option("--seed", options.seed, "run this one and tell all");
  app.add_flag("--trace", options.trace, "with --seed: print everything that happens");
  app.add_option("--ops", options.operations, "operations of each");
  app.add_option("--list", options.list, "run the seeds in this file first");
  app.add_option("--short", options.short_length,
                 "all sequences up to this length, cut everywhere");
  app.add_option("--faults", options.fault_length, "... with every fault at every call");
  app.add_option("--sabotage", options.sabotage, "NAME or all: how long until the bug is caught?");
  app.add_option("--known", options.known, "with --sabotage: seeds that are known to");
  CLI11_PARSE(app, argc, argv);
  if (!options.trace) (void)LogToFile("/dev/null");
  InstallVfs();
  (void)FormattedDisks();  // once, before processes are forked
  if (options.seed != 0) return RunOne(options);
  if (!options.sabotage.empty()) return RunSabotage(options);
  uint64_t bad = 0;
  if (!options.list.empty()) bad += RunList(options);
  if (options.short_length + options.fault_length > 0) bad += RunShort(options);
  if (options.seeds > 0) bad += RunSeeds(options);
  return bad == 0 ? 0 : 1;
}

}  // namespace
}  // namespace volfs::sim

int main(int argc, char** argv) { return volfs::sim::Main(argc, argv); }
