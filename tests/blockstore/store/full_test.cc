// Goal: while a part of a node's reserve is missing, nothing takes room of the node, and everything
// that frees room or needs none works. The state is reported, and new room ends it.
// Method: a node without its ballast, on a filesystem that claims to be full.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>

#include "blockstore/io/posix_node.h"
#include "tests/support/forwarding_node.h"
#include "tests/support/store_fixture.h"

namespace volfs {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::Contains;
using testing::HasSubstr;
using testing::StartsWith;

class NodeThatMayBeFull final : public ForwardingNode {
 public:
  NodeThatMayBeFull(std::unique_ptr<NodeDirectory> node, const std::atomic<bool>& is_full)
      : ForwardingNode(std::move(node)), is_full_(is_full) {}
  Result<SpaceInfo> Space() override {
    ASSIGN_OR_RETURN(SpaceInfo space, node_->Space());
    if (is_full_) space.free_bytes = 0;
    return space;
  }

 private:
  const std::atomic<bool>& is_full_;
};

class StoreFullTest : public ::testing::Test {
 protected:
  // Makes a volume with 1 MiB of data and a hole of 1 MiB, and another with a snapshot.
  void SetUp() override {
    fixture_.MakeVolume("flat", 2 * kMiB, kMiB);
    fixture_.MakeVolume("db", kMiB, kMiB);
    ASSERT_TRUE(fixture_.store().TakeSnapshot("db", "s", {}).ok());
    fixture_.Close();
    fs::remove(Ballast());
    std::vector<std::unique_ptr<Node>> nodes;
    nodes.push_back(std::move(
        Node::Open(std::make_unique<NodeThatMayBeFull>(
                       std::move(OpenPosixNode(fixture_.NodePath("a")).value()), is_full_))
            .value()));
    store_ = std::move(Store::Open(std::move(nodes), {}).value());
  }
  void TearDown() override { store_.reset(); }

  fs::path Ballast() { return fs::path(fixture_.NodePath("a")) / "ballast"; }
  std::shared_ptr<Volume> Find(const std::string& name) { return store_->Find(name); }
  Status Write(const std::string& name, uint64_t offset_bytes, size_t bytes = 4096) {
    return Find(name)->WriteAt(std::vector<std::byte>(bytes, std::byte{7}), offset_bytes);
  }
  Status Create(const std::string& name) {
    CreateRequest request;
    request.name = name;
    request.size_bytes = 0;
    return StatusOf(store_->Create(request, {}));
  }
  static void ExpectNoSpace(const Status& status) {
    ASSERT_FALSE(status.ok());
    EXPECT_EQ(status.error().code, Errc::kNoSpace);
    EXPECT_THAT(status.error().message, AllOf(HasSubstr("no space"), HasSubstr("delete volumes")));
  }
  template <typename Value>
  static Status StatusOf(const Result<Value>& result) {
    return result.ok() ? OkStatus() : Status(result.error());
  }

  StoreFixture fixture_;
  std::atomic<bool> is_full_{true};
  std::unique_ptr<Store> store_;
};

TEST_F(StoreFullTest, NothingNewIsMade) {
  ExpectNoSpace(Create("new"));
  ExpectNoSpace(StatusOf(store_->TakeSnapshot("db", "t", {})));
  ExpectNoSpace(StatusOf(store_->Clone({.source = "db", .name = "linked", .linked = true}, {})));
  ExpectNoSpace(StatusOf(
      store_->Clone({.source = "db", .snapshot = "s", .name = "back", .linked = true}, {})));
  ExpectNoSpace(StatusOf(store_->PinSnapshotPoint(Find("db"))));
  ExpectNoSpace(store_->Resize("db", 2 * kMiB, {}));
  EXPECT_EQ(store_->Volumes().size(), 2U);
  EXPECT_EQ(store_->Snapshots(Find("db")->id()).size(), 1U);
}

TEST_F(StoreFullTest, WritesPassWhereTheyHaveTheirRoom) {
  EXPECT_TRUE(Write("flat", 4096).ok());
  EXPECT_TRUE(Write("flat", kMiB - 8192, 8192).ok());
  ExpectNoSpace(Write("flat", kMiB));               // a hole
  ExpectNoSpace(Write("flat", kMiB - 4096, 8192));  // half a hole
  ExpectNoSpace(Write("flat", 2 * kMiB));           // grows
  ExpectNoSpace(Write("db", 0));                    // the snapshot has the block
  ExpectNoSpace(Find("db")->Discard({0, 8192}));
  EXPECT_TRUE(Find("flat")->Discard({0, 8192}).ok()) << "it frees";
  EXPECT_TRUE(Find("flat")->Sync().ok());
}

TEST_F(StoreFullTest, WhatFreesWorksAndRoomMakesAllAsBefore) {
  EXPECT_TRUE(store_->Revert("db", "s", {}).ok());
  EXPECT_TRUE(store_->DeleteSnapshot("db", "s", {}).ok());
  EXPECT_TRUE(store_->Rename("db", "renamed").ok());
  EXPECT_TRUE(store_->Delete("renamed", {}).ok());
  EXPECT_FALSE(fs::exists(Ballast()));
  is_full_ = false;
  EXPECT_TRUE(Write("flat", kMiB).ok()) << "the reserve is made whole first";
  EXPECT_EQ(fs::file_size(Ballast()), 8 * kMiB);
  EXPECT_TRUE(Create("new").ok());
}

TEST_F(StoreFullTest, ItIsTold) {
  const NodeInfo info = store_->Nodes().front();
  EXPECT_THAT(info.state, StartsWith("full: "));
  EXPECT_TRUE(info.works);
  EXPECT_EQ(info.fullness, Fullness::kFull);
  EXPECT_EQ(info.missing_reserve_bytes, 8 * kMiB);
  Mutex mu;
  std::vector<std::string> events;
  store_->events().SetListener([&](const StoreEvent& event) {
    MutexLock lock(mu);
    events.push_back(event.event + " " + event.status);
  });
  is_full_ = false;
  for (int i = 0; i < 500 && store_->Nodes().front().state != "ok"; ++i) {
    SleepFor(std::chrono::milliseconds(20));
  }
  EXPECT_EQ(store_->Nodes().front().state, "ok");
  store_.reset();
  MutexLock lock(mu);
  EXPECT_THAT(events, Contains("node-has-room a"));
}

}  // namespace
}  // namespace volfs
