// Goal: nodes that are mounted together belong together. Copies and older copies of a node are
// refused by name. The machine remembers its nodes for as long as it may need to.
#include "blockstore/node/opener.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "blockstore/io/posix_node.h"
#include "tests/support/temp_dir.h"

namespace volfs {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;

class NodeOpenerTest : public testing::Test {
 protected:
  NodeOpenerTest() {
    for (const char* const name : {"a", "b"}) fs::create_directory(dir_ / name);
  }

  // Mounts the directories of these names, as a daemon does, and unmounts them again. Returns the
  // message of the refusal, or nothing if they were mounted.
  std::string Mount(const std::vector<std::string>& names,
                    const std::vector<std::string>& accept = {}) {
    std::vector<std::string> paths;
    for (const std::string& name : names) paths.push_back(dir_ / name);
    NodeOpenOptions options;
    options.registry = Registry();
    options.accept = accept;
    const auto nodes = OpenNodes(paths, options);
    return nodes.ok() ? "" : nodes.error().message;
  }
  // Returns the option, named by the refusal of a copy, that makes a mount accept the copy.
  static std::string AcceptWord(const std::string& refusal) {
    const size_t at = refusal.find("accept=");
    return at == std::string::npos ? "" : refusal.substr(at + 7, 16);
  }
  // Leaves the node as a volfs from before ids of mounts does.
  void DropLineages(const std::string& name) {
    auto directory = std::move(OpenPosixNode(dir_ / name).value());
    auto catalog = std::move(Catalog::Open(*directory).value());
    CatalogChange change;
    const CatalogContents contents = std::move(catalog->Load().value());
    for (const auto& [key, value] : contents.settings) {
      if (key.starts_with("lineage")) change.emplace_back(DeleteSetting{key});
    }
    ASSERT_TRUE(catalog->Commit(change).ok());
  }
  void Copy(const std::string& from, const std::string& to) {
    fs::copy(dir_ / from, dir_ / to, fs::copy_options::recursive);
    fs::permissions(dir_ / to, fs::perms::owner_all);
  }
  [[nodiscard]] std::string Registry() const { return dir_ / "nodes"; }

  TempDir dir_;
};

// An older copy lacks at least one mount. Accepting it would lose the writes of that mount.
TEST_F(NodeOpenerTest, ACopyThatIsOneMountOldIsRefused) {
  ASSERT_EQ(Mount({"a", "b"}), "");
  Copy("b", "older");
  ASSERT_EQ(Mount({"a", "b"}), "");
  Copy("b", "newest");
  const std::string refusal = Mount({"a", "older"});
  EXPECT_THAT(refusal, HasSubstr("older copy of node b"));
  EXPECT_THAT(refusal, HasSubstr(dir_ / "older"));
  EXPECT_EQ(Mount({"a", "newest"}), "") << "nothing happened to b since";
  EXPECT_THAT(Mount({"a", "b"}), HasSubstr("older copy of node b")) << "now this one is older";
}

// Mounting an older copy alone makes it no newer, and the newest stays the newest.
TEST_F(NodeOpenerTest, AnOlderCopyThatWasMountedAloneIsStillRefused) {
  ASSERT_EQ(Mount({"a", "b"}), "");
  Copy("b", "older");
  ASSERT_EQ(Mount({"a", "b"}), "");
  for (int i = 0; i < 3; ++i) ASSERT_EQ(Mount({"older"}), "");
  const std::string refusal = Mount({"a", "older"});
  EXPECT_THAT(refusal, AllOf(HasSubstr("two copies of node b"), HasSubstr("mounted 3 times"),
                             HasSubstr("(last at " + (dir_ / "b") + ") once")));
  EXPECT_EQ(Mount({"a", "b"}), "") << "the refused mount has changed nothing";
  ASSERT_EQ(Mount({"b"}), "");
  EXPECT_EQ(Mount({"a", "b"}), "") << "it has only gone on";
}

// Both copies were mounted alone. The one that is then mounted with the peer first is the newest;
// the other is refused, and the refusal names both.
TEST_F(NodeOpenerTest, OfTwoCopiesThatBothWentOnOneIsRefused) {
  ASSERT_EQ(Mount({"a", "b"}), "");
  Copy("b", "fork");
  ASSERT_EQ(Mount({"b"}), "");
  ASSERT_EQ(Mount({"fork"}), "");
  ASSERT_EQ(Mount({"a", "b"}), "");
  const std::string refusal = Mount({"a", "fork"});
  EXPECT_THAT(refusal, AllOf(HasSubstr(dir_ / "fork"), HasSubstr("two copies of node b"),
                             HasSubstr(dir_ / "b")));
}

// The refusal says how to accept an older copy, for when a backup is all that is left. The
// acceptance holds for this copy in its present state only.
TEST_F(NodeOpenerTest, AnOlderCopyIsTakenDeliberately) {
  ASSERT_EQ(Mount({"a", "b"}), "");
  Copy("b", "older");
  ASSERT_EQ(Mount({"a", "b"}), "");
  const std::string word = AcceptWord(Mount({"a", "older"}));
  EXPECT_NE(Mount({"a", "older"}, {"0123456789abcdef"}), "");
  EXPECT_EQ(Mount({"a", "older"}, {word}), "");
  EXPECT_EQ(Mount({"a", "older"}), "") << "now it is the one that node a knows";
  EXPECT_THAT(Mount({"a", "b"}), HasSubstr("two copies of node b"));
  EXPECT_NE(Mount({"a", "b"}, {word}), "") << "a word that is left in fstab means nothing more";
}

// Nodes from before ids of mounts are accepted, and are told from their copies from then on.
TEST_F(NodeOpenerTest, NodesWithoutLineagesAreTakenOver) {
  ASSERT_EQ(Mount({"a", "b"}), "");
  ASSERT_EQ(Mount({"a", "b"}), "");
  DropLineages("a");
  DropLineages("b");
  Copy("b", "older");
  EXPECT_EQ(Mount({"a", "b"}), "");
  EXPECT_THAT(Mount({"a", "older"}), HasSubstr("older copy of node b"));
  ASSERT_EQ(Mount({"older"}), "");
  EXPECT_THAT(Mount({"a", "older"}), HasSubstr("copy of node b"));
  EXPECT_EQ(Mount({"a", "b"}), "");
}

// A copy of a node that is mounted on this machine is refused. The refusal names the mounted
// directory.
TEST_F(NodeOpenerTest, ATwinOfAMountedNodeIsRefused) {
  ASSERT_EQ(Mount({"a"}), "");
  Copy("a", "twin");
  NodeOpenOptions options;
  options.registry = Registry();
  options.locks = dir_ / "locks";
  {
    const auto mounted = OpenNodes({dir_ / "a"}, options);
    ASSERT_TRUE(mounted.ok());
    const auto twin = OpenNodes({dir_ / "twin"}, options);
    ASSERT_FALSE(twin.ok());
    EXPECT_EQ(twin.error().code, Errc::kLocked);
    EXPECT_THAT(twin.error().message, AllOf(HasSubstr(dir_ / "twin"), HasSubstr(dir_ / "a"),
                                            HasSubstr(std::to_string(::getpid()))));
  }
  EXPECT_TRUE(fs::is_empty(dir_ / "locks")) << "nothing is left of it";
  EXPECT_TRUE(OpenNodes({dir_ / "twin"}, options).ok());
}

TEST_F(NodeOpenerTest, ACopyBesideItsOriginalIsRefused) {
  ASSERT_EQ(Mount({"a", "b"}), "");
  Copy("b", "twin");
  EXPECT_THAT(Mount({"b", "twin"}), HasSubstr("copies of one node"));
}

// A node whose disk answers with errors is not gone, so its line must stay. Without the line, an
// empty directory in its place would become a new node.
TEST_F(NodeOpenerTest, TheRegistryForgetsOnlyWhatIsGone) {
  std::ofstream(dir_ / "file") << "x";
  fs::create_symlink("loop", dir_ / "loop");
  const std::string gone = dir_ / "gone";
  const std::string below_a_file = dir_ / "file/node";  // ENOTDIR: it does not exist
  const std::string unknown = dir_ / "loop/node";       // ELOOP: unknown
  std::ofstream(Registry()) << "u1 " << gone << "\nu2 " << below_a_file << "\nu3 " << unknown
                            << "\n";
  ASSERT_EQ(Mount({"a"}), "");
  std::vector<std::string> paths;
  for (const auto& [uuid, path] : ReadNodeRegistry(Registry())) paths.push_back(path);
  EXPECT_THAT(paths, testing::UnorderedElementsAre(unknown, fs::canonical(dir_ / "a").string()));
}

TEST_F(NodeOpenerTest, TheRegistryKeepsThoseThatWereMountedLast) {
  std::ofstream known(Registry());
  for (size_t i = 0; i < 2 * kMaxKnownNodes; ++i) known << "u" << i << " /nosuch/n" << i << "\n";
  known.close();
  const auto nodes = OpenNodes(
      {dir_ / "a"}, {.registry = Registry(), .is_gone = [](const auto&) { return false; }});
  ASSERT_TRUE(nodes.ok());
  const auto lines = ReadNodeRegistry(Registry());
  ASSERT_EQ(lines.size(), kMaxKnownNodes);
  EXPECT_EQ(lines.back().second, fs::canonical(dir_ / "a"));
  EXPECT_EQ(lines.front().first, "u" + std::to_string(kMaxKnownNodes + 1));
}

// The third user could exchange the catalog, or a layer, for one with other contents.
TEST_F(NodeOpenerTest, WhatAThirdUserCouldChangeIsRefused) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can give files away";
  constexpr uid_t kOther = 65'533;
  ASSERT_EQ(Mount({"a"}), "");
  for (const char* const name : {"a", "a/catalog.db", "a/layers"}) {
    ASSERT_EQ(::chown((dir_ / name).c_str(), kOther, 0), 0);
    EXPECT_THAT(Mount({"a"}),
                testing::AllOf(HasSubstr("belongs to user 65533"), HasSubstr("chown -R 0 ")))
        << name;
    ASSERT_EQ(::chown((dir_ / name).c_str(), 0, 0), 0);
  }
  fs::permissions(dir_ / "a/layers", fs::perms::group_write, fs::perm_options::add);
  EXPECT_THAT(Mount({"a"}), HasSubstr("chmod go-w " + dir_ / "a/layers"));
  fs::permissions(dir_ / "a/layers", fs::perms::owner_all);
  EXPECT_EQ(Mount({"a"}), "");
  ASSERT_EQ(::chown((dir_ / "b").c_str(), kOther, 0), 0);
  EXPECT_THAT(Mount({"b"}), HasSubstr("belongs to user 65533")) << "an empty one";
  EXPECT_TRUE(fs::is_empty(dir_ / "b"));
}

// Values that the format allows, with right checksums, but that this program cannot serve.
TEST_F(NodeOpenerTest, WhatCannotBeServedIsRefused) {
  ASSERT_EQ(Mount({"a"}), "");
  const auto refusal = [&](uint32_t block_size, uint64_t generation) {
    const auto directory = std::move(OpenPosixNode(dir_ / "a").value());
    auto catalog = std::move(Catalog::Open(*directory).value());
    const NodeRecord before = std::move(catalog->Load().value()).node;
    NodeRecord changed = before;
    changed.block_size = block_size;
    changed.generation = generation;
    EXPECT_TRUE(catalog->Commit({PutNode{changed}}).ok());
    catalog.reset();
    std::string message = Mount({"a"});
    catalog = std::move(Catalog::Open(*directory).value());
    EXPECT_TRUE(catalog->Commit({PutNode{before}}).ok());
    return message;
  };
  EXPECT_THAT(refusal(8192, 1), HasSubstr("has blocks of 8192 bytes"));
  EXPECT_THAT(refusal(1 << 20, 1), HasSubstr("has blocks of 1048576 bytes"));
  EXPECT_THAT(refusal(4096, (uint64_t{1} << 63) - 1), HasSubstr("its generation is"));
  EXPECT_EQ(Mount({"a"}), "");
}

}  // namespace
}  // namespace volfs
