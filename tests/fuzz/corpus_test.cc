// Goal: inputs that the fuzzers once found, or were seeded with, stay harmless in every build.
// Randomly changed rows with right checksums are never believed.
// Method: runs each target on each file of its corpus, and on inputs made from a seed.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include "blockstore/base/log.h"
#include "tests/fuzz/fuzz_targets.h"

namespace volfs {
namespace {

void Replay(const std::string& name, void (*target)(fuzz::Input), int min_files) {
  LogToFile("/dev/null");  // most inputs are errors of a user
  std::vector<std::filesystem::path> files;
  for (const auto& entry :
       std::filesystem::directory_iterator(VOLFS_SOURCE_DIR "/tests/fuzz/corpus/" + name)) {
    files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  for (const auto& path : files) {
    SCOPED_TRACE(path.filename().string());
    std::ifstream file(path, std::ios::binary);
    const std::string bytes{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
    target({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()});
  }
  EXPECT_GE(std::ssize(files), min_files) << "the corpus is missing";
}

TEST(CorpusTest, Request) { Replay("request", fuzz::request, 10); }
TEST(CorpusTest, Text) { Replay("text", fuzz::text, 10); }
TEST(CorpusTest, Control) { Replay("control", fuzz::control, 10); }
TEST(CorpusTest, Store) { Replay("store", fuzz::store, 10); }
TEST(CorpusTest, Stream) { Replay("stream", fuzz::stream, 10); }
TEST(CorpusTest, Sequence) { Replay("sequence", fuzz::sequence, 10); }

// Reads VOLFS_FUZZ_SEED or VOLFS_FUZZ_INPUTS, for other inputs or more.
uint64_t Setting(const char* name, uint64_t standard) {
  const char* const value = std::getenv(name);
  return value == nullptr ? standard : std::strtoull(value, nullptr, 10);
}

void RunRandom(void (*target)(fuzz::Input), uint64_t inputs, size_t max_bytes) {
  LogToFile("/dev/null");
  const uint64_t seed = Setting("VOLFS_FUZZ_SEED", 1);
  for (uint64_t n = 0; n < Setting("VOLFS_FUZZ_INPUTS", inputs); ++n) {
    std::mt19937_64 random(seed * 1'000'003 + n);
    std::vector<uint8_t> bytes(random() % max_bytes);
    for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
    SCOPED_TRACE(n);
    target(bytes);
  }
}

TEST(RandomTest, ChangedStores) { RunRandom(fuzz::store, 200, 60); }
TEST(RandomTest, Streams) { RunRandom(fuzz::stream, 2'000, 400); }
TEST(RandomTest, Sequences) { RunRandom(fuzz::sequence, 60, 300); }

}  // namespace
}  // namespace volfs
