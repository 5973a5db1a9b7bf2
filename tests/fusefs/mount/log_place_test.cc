#include "fusefs/mount/log_place.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <string>

#include "tests/support/temp_dir.h"

namespace volfs {
namespace {

namespace fs = std::filesystem;

TEST(LogPlaceTest, EscapedPathsAreOneNameEach) {
  EXPECT_EQ(EscapePath("/mnt/vol"), "mnt-vol");
  EXPECT_EQ(EscapePath("/mnt/vol-a"), "mnt-vol\\x2da");
  EXPECT_EQ(EscapePath("/mnt/vol/a"), "mnt-vol-a");
  EXPECT_EQ(EscapePath("/"), "-");
  EXPECT_EQ(EscapePath("/.hidden"), "\\x2ehidden");
  EXPECT_EQ(EscapePath("/a b\n"), "a\\x20b\\x0a");
}

TEST(LogPlaceTest, TheLogsOfTheLatestMountsAreKept) {
  const TempDir dir;
  const auto now = fs::file_time_type::clock::now();
  const auto make = [&](const std::string& name, int hours_ago) {
    std::ofstream(dir / name) << "x";
    fs::last_write_time(dir / name, now - std::chrono::hours(hours_ago));
  };
  make("own.log", 9'000);
  make("mnt-used.log", 9'001);
  make("oldest.log", 9'002);
  make("oldest.log.1", 9'002);
  make("notes.txt", 9'003);
  for (size_t i = 0; i < kMaxLogs; ++i)
    make("m" + std::to_string(i) + ".log", 1 + static_cast<int>(i));
  RemoveOldLogs(dir / "own.log", {"/mnt/used"});
  for (const char* kept : {"own.log", "mnt-used.log", "notes.txt", "m0.log"}) {
    EXPECT_TRUE(fs::exists(dir / kept)) << kept;
  }
  EXPECT_FALSE(fs::exists(dir / "oldest.log"));
  EXPECT_FALSE(fs::exists(dir / "oldest.log.1"));
  const auto logs =
      std::count_if(fs::directory_iterator(dir.path()), fs::directory_iterator(),
                    [](const auto& entry) { return entry.path().extension() == ".log"; });
  EXPECT_EQ(logs, static_cast<ptrdiff_t>(kMaxLogs));
}

}  // namespace
}  // namespace volfs
