// Goal: what the fuzzer once found, or was given to begin with, stays harmless in every build.
// Method: the fuzz target itself, on each file of its corpus.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "tests/fuzz/request_fuzz.cc"  // NOLINT: the target is one function in a file of its own

namespace {

TEST(RequestCorpusTest, EveryFileIsHarmless) {
  int files = 0;
  for (const auto& entry :
       std::filesystem::directory_iterator(VOLFS_SOURCE_DIR "/tests/fuzz/corpus/request")) {
    SCOPED_TRACE(entry.path().filename().string());
    std::ifstream file(entry.path(), std::ios::binary);
    const std::string bytes{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
    EXPECT_GE(bytes.size(), 2U) << "it would test nothing";
    EXPECT_EQ(LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()),
              0);
    ++files;
  }
  EXPECT_GE(files, 10) << "the corpus is missing";
}

}  // namespace
