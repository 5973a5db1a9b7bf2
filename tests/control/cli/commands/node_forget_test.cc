// Goal: `volfs node forget` reaches every node that may know the lost one, or changes nothing. It
// never forgets a node that exists (contract.md 3, traps T38, T45).
// tests/mount/node_command_test.cc tests the effect on clones.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
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
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

constexpr Id kCloneId = Id{7} << kIdFacetBits;

class NodeForgetCommandTest : public testing::Test {
 protected:
  // Makes three nodes that were mounted together, of which b is lost.
  NodeForgetCommandTest() {
    for (const char* const name : {"a", "b", "c"}) fs::create_directory(dir_ / name);
    EXPECT_TRUE(OpenNodes({dir_ / "a", dir_ / "b", dir_ / "c"}, {.registry = Registry()}).ok());
    lost_ = Contents("b").node.uuid;
    fs::rename(dir_ / "b", dir_ / "away");
  }

  [[nodiscard]] std::string Registry() const { return dir_ / "nodes"; }

  [[nodiscard]] CommandRun Forget(std::vector<std::string> words) const {
    words.insert(words.begin(), {"node", "forget", "--registry", Registry()});
    return RunVolfsCommand(words);
  }

  [[nodiscard]] std::unique_ptr<Node> Open(const std::string& name) const {
    auto node = Node::Open(std::move(OpenPosixNode(dir_ / name).value()));
    EXPECT_TRUE(node.ok());
    return std::move(node.value());
  }
  [[nodiscard]] CatalogContents Contents(const std::string& name) const {
    return Open(name)->contents();
  }
  [[nodiscard]] std::vector<std::string> PeersOf(const std::string& name) const {
    std::vector<std::string> names;
    for (const PeerRecord& peer : Contents(name).peers) names.push_back(peer.name);
    std::sort(names.begin(), names.end());
    return names;
  }
  [[nodiscard]] std::vector<std::string> Listed() const {
    std::vector<std::string> paths;
    for (const auto& [uuid, path] : ReadNodeRegistry(Registry())) {
      paths.push_back(fs::path(path).filename());
    }
    return paths;
  }
  void ExpectNothingForgotten() const {
    EXPECT_THAT(PeersOf("a"), ElementsAre("b", "c"));
    EXPECT_THAT(PeersOf("c"), ElementsAre("a", "b"));
    EXPECT_THAT(Listed(), ElementsAre("a", "b", "c"));
  }

  TempDir dir_;
  std::string lost_;
};

TEST_F(NodeForgetCommandTest, AllNodesOfTheListForget) {
  const CommandRun run = Forget({lost_});
  EXPECT_EQ(run.exit_code, 0) << run.output;
  EXPECT_EQ(run.output, "node a: forgot node b\nnode c: forgot node b\n");
  EXPECT_THAT(PeersOf("a"), ElementsAre("c"));
  EXPECT_THAT(PeersOf("c"), ElementsAre("a"));
  EXPECT_THAT(Listed(), ElementsAre("a", "c"));
  EXPECT_EQ(Forget({lost_}).exit_code, 3) << "nobody knows it any more";
}

TEST_F(NodeForgetCommandTest, NodesThatAreNamedForget) {
  fs::remove(Registry());
  ASSERT_EQ(Forget({lost_, dir_ / "a", dir_ / "a"}).exit_code, 0);
  EXPECT_THAT(PeersOf("a"), ElementsAre("c"));
  EXPECT_THAT(PeersOf("c"), ElementsAre("a", "b")) << "it was not named";
  ASSERT_EQ(Forget({lost_, dir_ / "a:" + (dir_ / "c")}).exit_code, 0);
  EXPECT_THAT(PeersOf("c"), ElementsAre("a"));
}

// One commit removes the peer, the holds for its clones and the debts to it. Clones that depend on
// it stay.
TEST_F(NodeForgetCommandTest, HoldsAndDebtsGo) {
  const auto clone = [&](uint64_t n, CloneState state) {
    CloneRecord record;
    record.clone = kCloneId * n;
    record.state = state;
    record.name = "clone" + std::to_string(n);
    record.source_name = "db";
    record.source_node = lost_;
    record.source_node_name = "b";
    record.source_layer = kCloneId;
    return record;
  };
  const auto hold = [&](uint64_t n, const std::string& uuid) {
    HoldRecord record;
    record.clone = kCloneId * n;
    record.clone_node = uuid;
    record.clone_name = "clone" + std::to_string(n);
    record.layer = kCloneId;
    return record;
  };
  const std::string of_c = Contents("c").node.uuid;
  ASSERT_TRUE(Open("a")
                  ->catalog()
                  .Commit({PutClone{clone(1, CloneState::kCopying)},
                           PutClone{clone(2, CloneState::kReleasing)}, PutHold{hold(3, lost_)},
                           PutHold{hold(4, of_c)}})
                  .ok());
  const CommandRun run = Forget({lost_});
  EXPECT_EQ(run.exit_code, 0) << run.output;
  EXPECT_THAT(run.output,
              AllOf(HasSubstr("node a: forgot node b\n"
                              "  released the holds of its clones: clone3\n"
                              "  clones here that need it, and stay in error: clone1\n"),
                    Not(HasSubstr("clone2")), Not(HasSubstr("clone4"))));
  const CatalogContents after = Contents("a");
  ASSERT_EQ(after.clones.size(), 1U);
  EXPECT_EQ(after.clones[0].name, "clone1");
  ASSERT_EQ(after.holds.size(), 1U);
  EXPECT_EQ(after.holds[0].clone_name, "clone4");
}

// The daemon of a mounted node would go on with its old rows, so the command is refused.
TEST_F(NodeForgetCommandTest, AMountedNodeIsRefused) {
  {
    const auto lock = NodeLock::Take(dir_ / "c");
    ASSERT_TRUE(lock.ok());
    const CommandRun run = Forget({lost_});
    EXPECT_EQ(run.exit_code, 8);
    EXPECT_THAT(run.output, AllOf(HasSubstr(dir_ / "c"), HasSubstr("unmount it"),
                                  HasSubstr("process " + std::to_string(::getpid())),
                                  HasSubstr("nothing was changed")));
  }
  ExpectNothingForgotten();
}

TEST_F(NodeForgetCommandTest, ANodeThatIsThereIsNotForgotten) {
  const CommandRun named = Forget({lost_, dir_ / "away"});
  EXPECT_EQ(named.exit_code, 1);
  EXPECT_THAT(named.output, AllOf(HasSubstr(dir_ / "away"), HasSubstr("it can be opened")));
  ExpectNothingForgotten();
  fs::rename(dir_ / "away", dir_ / "b");
  EXPECT_EQ(Forget({lost_}).exit_code, 1) << "where the list says";
  fs::remove(Registry());
  EXPECT_EQ(Forget({lost_, dir_ / "a"}).exit_code, 1) << "where its peer saw it";
  EXPECT_THAT(PeersOf("a"), ElementsAre("b", "c"));
}

TEST_F(NodeForgetCommandTest, AnUnknownNodeIsNotFound) {
  fs::rename(dir_ / "c", dir_ / "c2");
  const CommandRun run = Forget({"01234567-0123-4567-89ab-0123456789ab"});
  EXPECT_EQ(run.exit_code, 3);
  EXPECT_THAT(run.output,
              AllOf(HasSubstr("not there:\n"), HasSubstr("\n  " + lost_ + "  b (last at ")))
      << "this tells the UUID that was meant";
  EXPECT_THAT(run.output, HasSubstr("warning: node")) << "c may know it";
  EXPECT_EQ(Forget({lost_, dir_ / "nothing"}).exit_code, 3);
  EXPECT_THAT(PeersOf("a"), ElementsAre("b", "c"));
  EXPECT_EQ(Forget({}).exit_code, 2);
}

// A line of the machine's list is removed, even if no other node ever knew its node.
TEST_F(NodeForgetCommandTest, OnlyTheListKnowsIt) {
  std::ofstream(Registry()) << "some-uuid " << dir_ / "gone"
                            << "\n";
  EXPECT_EQ(Forget({"some-uuid"}).exit_code, 0);
  EXPECT_THAT(Listed(), testing::IsEmpty());
  EXPECT_EQ(Forget({"some-uuid"}).exit_code, 3);
}

}  // namespace
}  // namespace volfs
