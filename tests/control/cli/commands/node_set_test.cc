// Goal: `volfs node set` changes name, region and types of a node without a daemon, all or nothing.
// It refuses values with which a later mount would fail (contract.md 3, traps T16, T45).
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <vector>

#include "blockstore/io/node_lock.h"
#include "blockstore/io/posix_node.h"
#include "blockstore/node/opener.h"
#include "tests/control/cli/commands/command_run.h"
#include "tests/support/temp_dir.h"

namespace volfs {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;

class NodeSetCommandTest : public testing::Test {
 protected:
  // Mounts both once together, so that each knows the other.
  NodeSetCommandTest() {
    for (const char* const name : {"a", "b"}) fs::create_directory(dir_ / name);
    EXPECT_TRUE(OpenNodes({dir_ / "a", dir_ / "b"}, {.registry = ""}).ok());
  }

  [[nodiscard]] CommandRun Set(std::vector<std::string> words) const {
    words.insert(words.begin(), {"node", "set", dir_ / "a"});
    return RunVolfsCommand(words);
  }

  [[nodiscard]] NodeRecord Record() const {
    const auto node = Node::Open(std::move(OpenPosixNode(dir_ / "a").value()));
    EXPECT_TRUE(node.ok());
    return node.ok() ? node.value()->record() : NodeRecord{};
  }

  void ExpectRefused(const std::vector<std::string>& words, int exit_code,
                     const std::string& says) const {
    const NodeRecord before = Record();
    const CommandRun run = Set(words);
    EXPECT_EQ(run.exit_code, exit_code) << run.output;
    EXPECT_THAT(run.output, AllOf(HasSubstr("volfs node set: "), HasSubstr(says)));
    EXPECT_EQ(Record(), before);
  }

  TempDir dir_;
};

TEST_F(NodeSetCommandTest, ChangesWhatIsNamedAndNothingElse) {
  const NodeRecord before = Record();
  ASSERT_EQ(Set({"region=west"}).exit_code, 0);
  NodeRecord expected = before;
  expected.region = "west";
  EXPECT_EQ(Record(), expected);
  const CommandRun run = Set({"types=ssd:1M-2T,hdd", "name=fast"});
  ASSERT_EQ(run.exit_code, 0) << run.output;
  EXPECT_EQ(run.output, "");
  expected.name = "fast";
  expected.types = {{"ssd", uint64_t{1} << 20, uint64_t{2} << 40}, {"hdd", 0, kMaxVolumeBytes}};
  EXPECT_EQ(Record(), expected);
}

TEST_F(NodeSetCommandTest, RefusesWhatIsMalformed) {
  ExpectRefused({"colour=red"}, 2, "the keys are name, region, types");
  ExpectRefused({"name"}, 2, "the keys are name, region, types");
  ExpectRefused({"name="}, 2, "a value is missing");
  ExpectRefused({"types="}, 2, "a value is missing");
  ExpectRefused({"name=c", "name=d"}, 2, "given twice");
  ExpectRefused({"name=.c"}, 2, "node");
  ExpectRefused({"region=a b"}, 2, "region");
  ExpectRefused({"types=ssd:2T-1T"}, 2, "ssd");
  ExpectRefused({"name=" + std::string(129, 'n')}, 2, "128");
  ExpectRefused({"region=west", "types=ssd,ssd"}, 2, "twice");
  ExpectRefused({}, 2, "KEY=VALUE");
}

TEST_F(NodeSetCommandTest, ANameThatAPeerHasIsTaken) {
  ExpectRefused({"name=b"}, 4, dir_ / "b");
  EXPECT_EQ(Set({"name=a"}).exit_code, 0) << "its own";
}

TEST_F(NodeSetCommandTest, ALockedNodeIsRefused) {
  const NodeRecord before = Record();
  {
    const auto lock = NodeLock::Take(dir_ / "a");
    ASSERT_TRUE(lock.ok());
    const CommandRun run = Set({"name=c"});
    EXPECT_EQ(run.exit_code, 8);
    EXPECT_THAT(run.output,
                AllOf(HasSubstr("process " + std::to_string(::getpid())), HasSubstr("unmount it")));
  }
  EXPECT_EQ(Record(), before);
}

TEST_F(NodeSetCommandTest, WhatIsNoNodeIsNotMadeOne) {
  const std::string empty = dir_ / "empty";
  fs::create_directory(empty);
  EXPECT_EQ(RunVolfsCommand({"node", "set", empty, "name=c"}).exit_code, 3);
  EXPECT_TRUE(fs::is_empty(empty));
  EXPECT_EQ(RunVolfsCommand({"node", "set", dir_ / "nothing", "name=c"}).exit_code, 3);
  EXPECT_EQ(RunVolfsCommand({"node", "set", dir_.path(), "name=c"}).exit_code, 3);
}

}  // namespace
}  // namespace volfs
