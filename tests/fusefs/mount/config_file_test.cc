#include "fusefs/mount/config_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>

namespace volfs {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class ConfigFileTest : public ::testing::Test {
 protected:
  ~ConfigFileTest() override { std::remove(path_.c_str()); }

  Result<ConfigFile> Read(const std::string& text) {
    std::ofstream(path_) << text;
    return ReadConfigFile(path_);
  }

  const std::string path_ =
      ::testing::TempDir() + "/volfs-config-" + std::to_string(::getpid()) + ".toml";
};

TEST_F(ConfigFileTest, SaysTheSameAsOptions) {
  const auto words = Read(
      "# how fast\ncopy_rate = \"10M\"\ncopy_jobs = 3\nallow_shrink = true\n"
      "init = false\n");
  ASSERT_TRUE(words.ok()) << words.error().message;
  EXPECT_THAT(words.value().options,
              testing::UnorderedElementsAre("copy_rate=10M", "copy_jobs=3", "allow_shrink"));
}

// Paths of nodes are relative to the file's directory, so that both can be moved together.
TEST_F(ConfigFileTest, HasNodesTypesAndLimits) {
  const auto config = Read(
      "nodes = [\"/srv/a\", \"b/../c\"]\nmountpoint = \"mnt\"\ntypes = [\"ssd:1M-1G\", "
      "\"sata\"]\nallow_shrink = true\n"
      "[limits]\ncopy_rate = \"10M\"\ncopy_jobs = 2\n");
  ASSERT_TRUE(config.ok()) << config.error().message;
  const std::string directory = std::filesystem::absolute(path_).parent_path();
  EXPECT_THAT(config.value().nodes, ElementsAre("/srv/a", directory + "/c"));
  EXPECT_EQ(config.value().mountpoint, directory + "/mnt");
  ASSERT_EQ(config.value().types.size(), 2U);
  EXPECT_EQ(config.value().types[0], (VolumeType{"ssd", 1 << 20, 1 << 30}));
  EXPECT_EQ(config.value().types[1].name, "sata");
  EXPECT_THAT(config.value().options,
              testing::UnorderedElementsAre("copy_rate=10M", "copy_jobs=2", "allow_shrink"));
}

TEST_F(ConfigFileTest, ErrorsNameTheLine) {
  const auto syntax = Read("copy_jobs = 3\ncopy_rate 10\n");
  ASSERT_FALSE(syntax.ok());
  EXPECT_EQ(syntax.error().code, Errc::kInvalid);
  EXPECT_THAT(syntax.error().message, HasSubstr("line 2"));

  const auto type = Read("\n\ncopy_jobs = [1, 2]\n");
  ASSERT_FALSE(type.ok());
  EXPECT_THAT(type.error().message, HasSubstr("line 3"));

  EXPECT_FALSE(Read("copy_rate = \"10M,allow_other\"\n").ok()) << "an option smuggled in";

  const std::pair<const char*, const char*> senseless[] = {
      {"\ncopy_speed = 3\n", "copy_speed"},
      {"\ncopy_rate = \"fast\"\n", "copy_rate=fast"},
      {"\nalow_other = false\n", "alow_other"},
      {"\nnodes = \"/srv/a\"\n", "nodes"},
      {"\nnodes = [3]\n", "nodes"},
      {"\nmountpoint = 3\n", "mountpoint"},
      {"\ntypes = [\"ssd:2G-1G\"]\n", "ssd"},
      {"[limits]\ncopy_speed = 3\n", "limits.copy_speed"},
      {"[limits]\ncopy_rate = \"fast\"\n", "copy_rate=fast"},
      {"\nlimits = 3\n", "limits"},
  };
  for (const auto& [text, named] : senseless) {
    const auto refused = Read(text);
    ASSERT_FALSE(refused.ok()) << text;
    EXPECT_THAT(refused.error().message, testing::AllOf(HasSubstr("line 2"), HasSubstr(named)));
  }
}

TEST_F(ConfigFileTest, MissingIsNotFound) {
  const auto words = ReadConfigFile("/nonexistent/volfs.toml");
  ASSERT_FALSE(words.ok());
  EXPECT_EQ(words.error().code, Errc::kNotFound);
}

}  // namespace
}  // namespace volfs
