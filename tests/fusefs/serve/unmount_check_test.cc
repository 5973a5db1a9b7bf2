// Goal: `volfs umount` learns within seconds that a node hangs. It waits for a node whose disk is
// still working.
#include "fusefs/serve/unmount_check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "blockstore/io/posix_node.h"
#include "tests/support/forwarding_node.h"
#include "tests/support/temp_dir.h"

namespace volfs {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

constexpr Nanoseconds kStep = std::chrono::milliseconds(10);

struct Disk {
  std::atomic<bool> holds_syncs{false};
  std::atomic<bool> works{false};
  std::atomic<uint64_t> completed{0};
};

class SlowFile final : public ForwardingFile {
 public:
  SlowFile(std::unique_ptr<NodeFile> file, Disk& disk, NodeCalls& calls)
      : ForwardingFile(std::move(file)), disk_(disk), calls_(calls) {}
  Status SyncData() override {
    const NodeCalls::Call call(calls_, NodeCalls::Kind::kSync);
    while (disk_.holds_syncs) SleepFor(kStep);
    return file_->SyncData();
  }

 private:
  Disk& disk_;
  NodeCalls& calls_;
};

class SlowNode final : public ForwardingNode {
 public:
  SlowNode(std::unique_ptr<NodeDirectory> node, Disk& disk)
      : ForwardingNode(std::move(node)), disk_(disk) {}
  Result<std::unique_ptr<NodeFile>> Open(const std::string& name, OpenMode mode) override {
    Result<std::unique_ptr<NodeFile>> file = node_->Open(name, mode);
    if (!file.ok()) return file;
    return std::unique_ptr<NodeFile>(
        std::make_unique<SlowFile>(std::move(file.value()), disk_, *calls()));
  }
  uint64_t Pulse() override { return disk_.completed; }

 private:
  Disk& disk_;
};

class UnmountCheckTest : public testing::Test {
 protected:
  void SetUp() override {
    NodeRecord record;
    record.name = "x";
    record.types = {{.name = "standard"}};
    ASSERT_TRUE(Node::Init(*OpenPosixNode(dir_.path()).value(), record).ok());
    auto slow = std::make_unique<SlowNode>(std::move(OpenPosixNode(dir_.path()).value()), disk_);
    calls_ = slow->calls();
    std::vector<std::unique_ptr<Node>> nodes;
    nodes.push_back(std::move(Node::Open(std::move(slow)).value()));
    store_ = std::move(Store::Open(std::move(nodes), {}).value());
    clock_ = Thread("clock", [this] {
      while (!ended_) {
        calls_->Look(MonotonicNow(), std::chrono::seconds(60));
        if (disk_.works) ++disk_.completed;
        SleepFor(kStep);
      }
    });
    CreateRequest request;
    request.name = "v";
    request.size_bytes = 1 << 20;
    const auto volume = store_->Create(request, {}).value();
    const std::vector<std::byte> data(4096, std::byte{'x'});
    ASSERT_TRUE(volume->WriteAt(data, 0).ok());
  }
  void TearDown() override {
    disk_.holds_syncs = false;
    pool_.Stop();
    ended_ = true;
    clock_.Join();
  }

  // Asks until the answer is not "pending", for at most `most`.
  std::string AskFor(Nanoseconds most) {
    const Nanoseconds end = MonotonicNow() + most;
    std::string answer;
    do {
      answer = check_->Ask();
    } while (answer == "pending" && MonotonicNow() < end);
    return answer;
  }

  TempDir dir_;
  Disk disk_;
  std::shared_ptr<NodeCalls> calls_;
  std::unique_ptr<Store> store_;
  RequestPool pool_{"test", 4, 8};
  std::unique_ptr<UnmountCheck> check_;
  std::atomic<bool> ended_{false};
  Thread clock_;
};

TEST_F(UnmountCheckTest, ANodeWhoseDiskDoesNothingIsSilent) {
  check_ = std::make_unique<UnmountCheck>(*store_, pool_);
  disk_.holds_syncs = true;
  const Nanoseconds begin = MonotonicNow();
  const std::string answer = AskFor(std::chrono::seconds(60));
  EXPECT_GE(MonotonicNow() - begin, UnmountCheck::kSilent);
  EXPECT_THAT(answer, StartsWith("unsaved\nnode x: does not answer"));
  EXPECT_THAT(answer, HasSubstr("a sync has not returned for"));
  disk_.holds_syncs = false;
  EXPECT_EQ(AskFor(std::chrono::seconds(30)), "saved");
}

TEST_F(UnmountCheckTest, ANodeWhoseDiskIsAtWorkIsWaitedFor) {
  check_ = std::make_unique<UnmountCheck>(*store_, pool_);
  disk_.holds_syncs = disk_.works = true;
  EXPECT_EQ(AskFor(2 * UnmountCheck::kSilent), "pending");
  disk_.holds_syncs = false;
  EXPECT_EQ(AskFor(std::chrono::seconds(30)), "saved");
}

TEST_F(UnmountCheckTest, WithoutTroubleAllIsSavedAtOnce) {
  check_ = std::make_unique<UnmountCheck>(*store_, pool_);
  EXPECT_EQ(AskFor(std::chrono::seconds(30)), "saved");
}

// A stopped pool runs each task at once, on the thread that submits it.
TEST_F(UnmountCheckTest, APoolThatHasStoppedIsNoDeadlock) {
  check_ = std::make_unique<UnmountCheck>(*store_, pool_);
  pool_.Stop();
  EXPECT_EQ(check_->Ask(), "saved");
}

}  // namespace
}  // namespace volfs
