#include "fusefs/mount/options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>

namespace volfs {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;

MountOptions Parsed(const std::vector<std::string>& words) {
  Result<MountOptions> options = ParseOptions(words);
  EXPECT_TRUE(options.ok()) << options.error().message;
  return options.ok() ? options.value() : MountOptions{};
}

std::string Refusal(const std::string& words) {
  const Result<MountOptions> options = ParseOptions({words});
  EXPECT_FALSE(options.ok()) << words;
  if (options.ok()) return {};
  EXPECT_EQ(options.error().code, Errc::kInvalid);
  return options.error().message;
}

TEST(OptionsTest, NothingGivenAsksForNothing) {
  const MountOptions options = Parsed({});
  EXPECT_FALSE(options.allow_shrink);
  EXPECT_FALSE(options.init);
  EXPECT_FALSE(options.read_only);
  EXPECT_EQ(options.control_gid, std::nullopt);
  EXPECT_THAT(options.given, IsEmpty());
}

TEST(OptionsTest, OneWordOrSeveralWithCommas) {
  const MountOptions options =
      Parsed({"allow_shrink,control_gid=100", "copy_rate=10M", "init,,copy_jobs=3"});
  EXPECT_TRUE(options.allow_shrink);
  EXPECT_TRUE(options.init);
  EXPECT_EQ(options.control_gid, 100U);
  EXPECT_EQ(options.copy_rate, "10M");
  EXPECT_EQ(options.copy_jobs, "3");
  EXPECT_THAT(options.given,
              ElementsAre(Pair("allow_shrink", "1"), Pair("control_gid", "100"),
                          Pair("copy_rate", "10M"), Pair("init", "1"), Pair("copy_jobs", "3")));
}

TEST(OptionsTest, ANodesTimeoutIsInSeconds) {
  EXPECT_EQ(Parsed({}).node_timeout, kNodeTimeout);
  EXPECT_EQ(Parsed({"node_timeout=5"}).node_timeout, std::chrono::seconds(5));
}

TEST(OptionsTest, TheLaterOneWins) {
  const MountOptions options = Parsed({"copy_rate=10M", "copy_rate=max"});
  EXPECT_EQ(options.copy_rate, "max");
  EXPECT_THAT(options.given, ElementsAre(Pair("copy_rate", "max")));
}

// Options of fstab and systemd that do not concern a filesystem are skipped.
TEST(OptionsTest, OptionsForOthersAreSkipped) {
  const MountOptions options = Parsed(
      {"rw,noauto,nofail,_netdev,user,x-systemd.automount,x-systemd.idle-timeout=60,comment=us"});
  EXPECT_THAT(options.given, IsEmpty());
  EXPECT_THAT(options.kernel, IsEmpty());
}

TEST(OptionsTest, FlagsOfTheKernelsMountAreHandedOn) {
  const MountOptions options = Parsed({"noatime,noexec,relatime,ro"});
  EXPECT_THAT(options.kernel, ElementsAre("noatime", "noexec"));
  EXPECT_TRUE(options.read_only);
}

TEST(OptionsTest, TheLastOfSyncAndAsyncCounts) {
  EXPECT_FALSE(Parsed({}).synchronous);
  EXPECT_TRUE(Parsed({"sync"}).synchronous);
  EXPECT_THAT(Parsed({"async,sync,sync"}).given, ElementsAre(Pair("sync", "1")));
  EXPECT_FALSE(Parsed({"sync,async"}).synchronous);
  EXPECT_THAT(Parsed({"sync,async"}).given, IsEmpty());
}

TEST(OptionsTest, WhatIsUnknownIsRefusedByName) {
  EXPECT_THAT(Refusal("allow_shrink,alow_other"), HasSubstr("alow_other"));
  EXPECT_THAT(Refusal("copy_speed=3"), HasSubstr("copy_speed=3"));
  EXPECT_THAT(Refusal("init=1"), HasSubstr("init=1"));
}

TEST(OptionsTest, ValuesThatMakeNoSenseAreRefused) {
  Refusal("copy_rate=fast");
  Refusal("copy_rate=-1");
  Refusal("copy_rate=");
  Refusal("node_timeout=0");
  Refusal("node_timeout=never");
  Refusal("copy_jobs=0");
  Refusal("copy_jobs=9");
  Refusal("copy_jobs=2x");
  Refusal("control_gid=staff");
  Refusal("control_gid=4294967296");
}

TEST(OptionsTest, EachNameIsAnOption) {
  const std::map<std::string, std::string> values = {
      {"accept=", "0123456789abcdef"}, {"control_gid=", "1"}, {"copy_jobs=", "1"},
      {"copy_rate=", "max"},           {"io=", "native"},     {"node_timeout=", "1"}};
  for (const std::string& name : MountOptionNames()) {
    const auto value = values.find(name);
    EXPECT_EQ(value != values.end(), name.ends_with('=')) << name;
    EXPECT_TRUE(ParseOptions({name + (value == values.end() ? "" : value->second)}).ok()) << name;
  }
}

}  // namespace
}  // namespace volfs
