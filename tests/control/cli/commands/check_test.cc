// Goal: `volfs check` exits as fsck(8) does, prints for people and programs, changes nothing unless
// asked to, and never reads a node that a daemon serves (contract.md 3, traps T45, T46, T47).
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sqlite3.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "blockstore/io/node_lock.h"
#include "blockstore/io/posix_node.h"
#include "tests/control/cli/commands/command_run.h"
#include "tests/support/store_fixture.h"

namespace volfs {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

class CheckCommandTest : public testing::Test {
 protected:
  void SetUp() override {
    const auto db = fixture_.MakeVolume("db", 1 << 20, 100'000);
    ASSERT_TRUE(fixture_.store().TakeSnapshot("db", "monday", Caller{}).ok());
    ASSERT_TRUE(db->WriteAt(Pattern(10'000), 0).ok());
    head_ = db->head()->FileName();
    fixture_.Close();
  }
  [[nodiscard]] std::string A() const { return fixture_.NodePath("a"); }
  [[nodiscard]] std::string B() const { return fixture_.NodePath("b"); }
  [[nodiscard]] std::string HeadFile() const { return A() + "/" + head_; }

  static CommandRun Run(std::vector<std::string> words) {
    words.insert(words.begin(), "check");
    return RunVolfsCommand(words);
  }

  // Returns the files in layers/, the catalog and its WAL of both nodes.
  [[nodiscard]] std::map<std::string, std::string> Bytes() const {
    std::map<std::string, std::string> files;
    for (const std::string& node : {A(), B()}) {
      for (const auto& entry : fs::recursive_directory_iterator(node)) {
        const std::string name = entry.path().filename();
        if (!entry.is_regular_file() || name == "ballast" || name == "lock") continue;
        std::string& bytes = files[entry.path()];
        bytes.resize(entry.file_size());
        std::ifstream(entry.path(), std::ios::binary)
            .read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
      }
    }
    return files;
  }

  StoreFixture fixture_;
  std::string head_;
};

TEST_F(CheckCommandTest, ACleanStore) {
  const auto before = Bytes();
  const CommandRun clean = Run({A(), B()});
  EXPECT_EQ(clean.exit_code, 0);
  EXPECT_EQ(clean.output, "a, b: nothing is wrong\n");
  EXPECT_EQ(Run({A() + ":" + B()}).output, clean.output);
  EXPECT_EQ(Run({A(), B(), "--repair"}).output, clean.output);
  EXPECT_EQ(Run({A(), B(), "--json"}).output, "[]\n");
  EXPECT_TRUE(Bytes() == before) << "also the generation, and when it was looked at";
}

// Leftovers of a crash are reported as notes, not as errors.
TEST_F(CheckCommandTest, NotesAreNoErrors) {
  std::ofstream(A() + "/layers/0000000000000100") << "left over";
  const CommandRun found = Run({A(), B()});
  EXPECT_EQ(found.exit_code, 0);
  EXPECT_THAT(found.output, AllOf(StartsWith("note      node a: "), HasSubstr("0000000000000100"),
                                  HasSubstr("a, b: nothing is wrong\n")));
  EXPECT_TRUE(fs::exists(A() + "/layers/0000000000000100"));
  const CommandRun repaired = Run({A(), B(), "--repair"});
  EXPECT_EQ(repaired.exit_code, 0);
  EXPECT_THAT(repaired.output, StartsWith("repaired  node a: "));
  EXPECT_FALSE(fs::exists(A() + "/layers/0000000000000100"));
}

TEST_F(CheckCommandTest, ErrorsThatAreLeftOrCorrected) {
  fs::rename(HeadFile(), HeadFile() + ".away");
  const auto before = Bytes();
  for (const auto& words :
       {std::vector{A(), B()}, std::vector{A(), B(), std::string("--repair")}}) {
    const CommandRun left = Run(words);
    EXPECT_EQ(left.exit_code, 4);
    EXPECT_THAT(left.output, AllOf(HasSubstr("problem   node a: the file layers/"),
                                   HasSubstr("a, b: 1 problem, 0 repaired")));
    EXPECT_EQ(left.output.find("--repair") == std::string::npos, words.size() == 3);
  }
  EXPECT_TRUE(Bytes() == before);
  fs::rename(HeadFile() + ".away", HeadFile());

  auto node = Node::Open(std::move(OpenPosixNode(A()).value()));
  ASSERT_TRUE(node.ok());
  VolumeRecord volume = node.value()->contents().volumes.at(0);
  volume.size_bytes += 1;
  ASSERT_TRUE(node.value()->catalog().Commit({PutVolume{volume}}).ok());
  node.value().reset();
  EXPECT_EQ(Run({A(), B()}).exit_code, 4);
  const CommandRun corrected = Run({A(), B(), "--repair"});
  EXPECT_EQ(corrected.exit_code, 1);
  EXPECT_THAT(corrected.output, AllOf(StartsWith("repaired  volume db has 1048577 bytes"),
                                      HasSubstr("a, b: 0 problems, 1 repaired\n")));
  EXPECT_EQ(Run({A(), B()}).exit_code, 0);
}

TEST_F(CheckCommandTest, SomeCorrectedAndSomeLeft) {
  auto node = Node::Open(std::move(OpenPosixNode(A()).value()));
  VolumeRecord volume = node.value()->contents().volumes.at(0);
  volume.size_bytes += 1;
  SnapshotRecord snapshot = node.value()->contents().snapshots.at(0);
  snapshot.size_bytes += 1;
  ASSERT_TRUE(node.value()->catalog().Commit({PutVolume{volume}, PutSnapshot{snapshot}}).ok());
  node.value().reset();
  EXPECT_EQ(Run({A(), B(), "--repair"}).exit_code, 5);
}

TEST_F(CheckCommandTest, Json) {
  fs::resize_file(HeadFile(), 100);
  const CommandRun found = Run({A(), B(), "-J"});
  EXPECT_EQ(found.exit_code, 4);
  EXPECT_THAT(found.output,
              StartsWith("[\n{\"weight\":\"damage\",\"kind\":\"file-short\",\"node\":\"a\","
                         "\"says\":\"node a: layers/"));
  EXPECT_THAT(found.output, AllOf(HasSubstr("\"state\":\"left\"}\n]\n"), Not(HasSubstr("a, b:"))));
}

// The daemon of a mounted store holds the lock. The refusal names the daemon.
TEST_F(CheckCommandTest, ALockedNodeIsRefused) {
  const auto before = Bytes();
  const auto lock = NodeLock::Take(B());
  ASSERT_TRUE(lock.ok());
  for (const auto& words :
       {std::vector{A(), B()}, std::vector{A(), B(), std::string("--repair")}}) {
    const CommandRun refused = Run(words);
    EXPECT_EQ(refused.exit_code, 8);
    EXPECT_THAT(refused.output, AllOf(StartsWith("volfs check: "), HasSubstr(B()),
                                      HasSubstr("process " + std::to_string(::getpid()))));
  }
  EXPECT_TRUE(Bytes() == before);
}

TEST_F(CheckCommandTest, WhatCannotBeChecked) {
  EXPECT_EQ(Run({A(), B() + "/nothing"}).exit_code, 8);
  EXPECT_EQ(Run({A() + "/layers"}).exit_code, 8) << "is not a node";
  fs::create_directory(fixture_.NodePath("new"));
  const CommandRun empty = Run({fixture_.NodePath("new")});
  EXPECT_EQ(empty.exit_code, 8);
  EXPECT_THAT(empty.output, HasSubstr("mount the node's disk"));
  EXPECT_TRUE(fs::is_empty(fixture_.NodePath("new")));
}

TEST_F(CheckCommandTest, Usage) {
  EXPECT_EQ(Run({}).exit_code, 16);
  EXPECT_EQ(Run({A(), "--mend"}).exit_code, 16);
  EXPECT_EQ(Run({A(), A()}).exit_code, 16);
  EXPECT_EQ(Run({"--help"}).exit_code, 0);
}

// T46: for an unreadable catalog the check reports how to save data, and goes on with the other
// node.
TEST_F(CheckCommandTest, ADamagedCatalog) {
  sqlite3* db = nullptr;
  ASSERT_EQ(sqlite3_open((B() + "/catalog.db").c_str(), &db), SQLITE_OK);
  EXPECT_EQ(sqlite3_exec(db, "UPDATE node SET generation = 77", nullptr, nullptr, nullptr),
            SQLITE_OK);
  sqlite3_close(db);
  std::ofstream(A() + "/layers/0000000000000100") << "left over";
  const CommandRun found = Run({A(), B(), "--repair"});
  EXPECT_EQ(found.exit_code, 4);
  EXPECT_THAT(found.output, AllOf(HasSubstr("problem   "), HasSubstr("table node, row one=1"),
                                  HasSubstr("raw images"), HasSubstr("note      node a: "),
                                  HasSubstr("a, " + B() + ": 1 problem, 0 repaired")));
  EXPECT_TRUE(fs::exists(A() + "/layers/0000000000000100"));
}

}  // namespace
}  // namespace volfs
