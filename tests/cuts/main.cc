// cuts_tests: cuts the power of real filesystems under a busy store, and examines the remains. The
// last line sums up all cuts. scripts/cuts runs it.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <exception>
#include <random>

#include "tests/cuts/options.h"
#include "tests/cuts/tally.h"

namespace volfs {

CutOptions& Options() {
  static CutOptions options;
  return options;
}

namespace {

constexpr int kExitUsage = 2;

constexpr char kUsage[] =
    "cuts_tests [--cuts N] [--seed S] [--fs ext4|xfs|mix] [--keep DIR] [--verbose]\n"
    "  --cuts N      how often the power is cut; 100 unless told\n"
    "  --seed S      the same choices again (what threads and the kernel do is not repeated)\n"
    "  --fs WHICH    what the nodes' disks are; mix: each set of rounds another pair\n"
    "  --keep DIR    leaves the nodes' disks there, as the first failed recovery has found them\n"
    "  --verbose     a line for each cut\n";

int Refuse(const std::string& why) {
  std::fprintf(stderr, "cuts_tests: %s\n%s", why.c_str(), kUsage);
  return kExitUsage;
}

// Takes the value of one option, or throws if it is invalid.
void Take(const std::string& name, const std::string& value) {
  if (name == "--cuts") {
    Options().cuts = std::stoi(value);
  } else if (name == "--seed") {
    Options().seed = std::stoull(value);
  } else if (name == "--fs") {
    Options().fs = value;
  } else if (name == "--keep") {
    Options().keep = value;
  } else {
    throw std::invalid_argument(name);
  }
}

// Returns 0, or an exit code.
int ReadCommandLine(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    const std::string name = argv[i];
    if (name == "--verbose") {
      Options().verbose = true;
      continue;
    }
    if (i + 1 == argc) return Refuse("\"" + name + "\" is not known here, or lacks its value");
    try {
      Take(name, argv[++i]);
    } catch (const std::exception&) {
      return Refuse("\"" + name + " " + argv[i] + "\" is not known here");
    }
  }
  if (Options().cuts < 1) return Refuse("--cuts wants a number of at least 1");
  const std::string& fs = Options().fs;
  if (fs != "ext4" && fs != "xfs" && fs != "mix") return Refuse("--fs wants ext4, xfs or mix");
  if (Options().seed == 0) Options().seed = std::random_device{}();
  return 0;
}

int Main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  if (argc == 2 && (std::strcmp(argv[1], "--help") == 0 || std::strcmp(argv[1], "-h") == 0)) {
    std::fputs(kUsage, stdout);
    return 0;
  }
  if (const int code = ReadCommandLine(argc, argv); code != 0) return code;
  std::printf("%d cuts, --fs %s, --seed %llu\n", Options().cuts, Options().fs.c_str(),
              static_cast<unsigned long long>(Options().seed));
  const auto start = std::chrono::steady_clock::now();
  const int failed = RUN_ALL_TESTS();
  const auto seconds =
      std::chrono::duration_cast<std::chrono::seconds>(std::chrono::steady_clock::now() - start);
  std::printf("%s seconds=%lld\n", CutTally().Line().c_str(),
              static_cast<long long>(seconds.count()));
  return failed;
}

}  // namespace
}  // namespace volfs

int main(int argc, char** argv) { return volfs::Main(argc, argv); }
