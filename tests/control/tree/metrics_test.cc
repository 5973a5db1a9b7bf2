// Goal: control/metrics is valid Prometheus text, and its names follow Prometheus's customs.
// Method: each line of a text with awkward values is checked.
#include "control/tree/metrics.h"

#include <gtest/gtest.h>

#include <regex>
#include <set>
#include <sstream>
#include <string>

#include "blockstore/sync/throttle.h"

namespace volfs {
namespace {

VolumeInfo Creating() {
  VolumeInfo info;
  info.name = "db-clone";
  info.status = "creating";
  info.size_bytes = 4096;
  info.node = "b";
  info.type = "ssd";
  info.progress.creating = true;
  info.progress.total_known = true;
  info.progress.total_bytes = 8;
  info.progress.copied_bytes = 3;
  return info;
}

NodeInfo NodeA() {
  NodeInfo info;
  info.name = "a\"\\\n";
  info.state = "ok";
  info.space = {100, 60};
  return info;
}

SnapshotInfo SnapshotOf(const std::string& volume, uint64_t exclusive_bytes) {
  SnapshotInfo info;
  info.volume = volume;
  info.name = "s";
  info.created_ns = 9'000'000'000;
  info.exclusive_bytes = exclusive_bytes;
  return info;
}

class MetricsTest : public testing::Test {
 protected:
  std::string Make() {
    return MetricsText({.volumes = volumes,
                        .snapshots = snapshots,
                        .nodes = nodes,
                        .counters = counters,
                        .events = 7,
                        .copy_rate = Throttle::kUnlimited,
                        .copy_jobs = 4,
                        .started_ns = 5'000'000'000});
  }
  bool Has(const std::string& line) { return Make().find('\n' + line + '\n') != std::string::npos; }

  std::vector<VolumeInfo> volumes{Creating()};
  std::vector<SnapshotInfo> snapshots{SnapshotOf("db", 300), SnapshotOf("gone", 7)};
  std::vector<NodeInfo> nodes{NodeA()};
  ControlCounters counters;
};

TEST_F(MetricsTest, EveryLineIsWellFormed) {
  const std::regex sample(
      R"re(([a-z_]+)(\{([a-z]+="([^"\\]|\\["\\n])*",?)+\})? ([0-9]+(\.[0-9]+)?|\+Inf))re");
  const std::regex comment(R"re(# (HELP|TYPE) ([a-z_]+) .+)re");
  std::set<std::string> typed;
  std::set<std::string> seen;
  std::istringstream lines(Make());
  for (std::string line; std::getline(lines, line);) {
    std::smatch match;
    if (std::regex_match(line, match, comment)) {
      if (match[1] == "TYPE") {
        EXPECT_TRUE(typed.insert(match[2]).second) << line << ": once a metric";
      }
      continue;
    }
    ASSERT_TRUE(std::regex_match(line, match, sample)) << line;
    EXPECT_TRUE(typed.contains(match[1])) << line << ": its type comes first";
    EXPECT_TRUE(seen.insert(line.substr(0, line.rfind(' '))).second) << line << ": once";
  }
}

TEST_F(MetricsTest, CountersEndInTotalAndNothingElseDoes) {
  std::istringstream lines(Make());
  for (std::string line; std::getline(lines, line);) {
    if (line.rfind("# TYPE ", 0) != 0) continue;
    const bool counter = line.ends_with(" counter");
    EXPECT_EQ(counter, line.find("_total ") != std::string::npos) << line;
    EXPECT_EQ(line.rfind("# TYPE volfs_", 0), 0U) << line;
  }
}

TEST_F(MetricsTest, TellsVolumesNodesAndLimits) {
  EXPECT_TRUE(Has(R"(volfs_volume_size_bytes{volume="db-clone"} 4096)"));
  EXPECT_TRUE(Has(R"(volfs_volume_hydrated_ratio{volume="db-clone"} 0.3750)"));
  EXPECT_TRUE(Has(R"(volfs_clone_copied_bytes{volume="db-clone"} 3)"));
  EXPECT_TRUE(Has(R"(volfs_node_free_bytes{node="a\"\\\n"} 60)"));
  EXPECT_TRUE(Has(R"(volfs_volumes{status="creating"} 1)"));
  EXPECT_TRUE(Has(R"(volfs_volumes{status="in-use"} 0)"));
  EXPECT_TRUE(Has("volfs_copy_rate_limit_bytes_per_second +Inf"));
  EXPECT_TRUE(Has("volfs_events_total 7"));
  EXPECT_TRUE(Has("volfs_start_time_seconds 5"));
}

TEST_F(MetricsTest, TellsSnapshotsAlsoOfADeletedVolume) {
  EXPECT_TRUE(Has(R"(volfs_volume_snapshots{volume="db-clone"} 0)"));
  EXPECT_TRUE(Has(R"(volfs_volume_snapshots{volume="gone"} 1)"));
  EXPECT_TRUE(Has(R"(volfs_snapshot_exclusive_bytes{volume="db",snapshot="s"} 300)"));
  EXPECT_TRUE(Has(R"(volfs_snapshot_created_timestamp_seconds{volume="gone",snapshot="s"} 9)"));
}

TEST_F(MetricsTest, AWholeVolumeHasNoCopy) {
  volumes[0].progress = {};
  EXPECT_TRUE(Has(R"(volfs_volume_hydrated_ratio{volume="db-clone"} 1.0000)"));
  EXPECT_EQ(Make().find("volfs_clone_copied_bytes{"), std::string::npos);
}

TEST_F(MetricsTest, CountsRequestsAndRefusals) {
  using Outcome = ControlCounters::Outcome;
  counters.CountRequest(RequestKind::kClone, Outcome::kOk);
  counters.CountRequest(RequestKind::kClone, Outcome::kRefused);
  counters.CountRequest(RequestKind::kClone, Outcome::kRefused);
  counters.CountRefusal(Errc::kIo);
  counters.CountRefusal(Errc::kCorrupt);
  EXPECT_TRUE(Has(R"(volfs_requests_total{request="clone",result="ok"} 1)"));
  EXPECT_TRUE(Has(R"(volfs_requests_total{request="clone",result="refused"} 2)"));
  EXPECT_TRUE(Has(R"(volfs_refusals_total{errno="EIO"} 2)")) << "two codes, one errno";
}

}  // namespace
}  // namespace volfs
