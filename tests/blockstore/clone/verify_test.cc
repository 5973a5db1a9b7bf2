// Goal: with verify=1 a clone never shows bytes that its disk returned differently from the copied
// ones. A remount remembers that everything was compared.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>

#include "blockstore/io/posix_node.h"
#include "blockstore/store/store.h"
#include "tests/support/forwarding_node.h"
#include "tests/support/store_fixture.h"
#include "tests/support/temp_dir.h"

namespace volfs {
namespace {

using testing::HasSubstr;

// A disk that, on demand, changes a bit of the copied data.
class LyingFile final : public ForwardingFile {
 public:
  LyingFile(std::unique_ptr<NodeFile> file, const std::atomic<bool>& lies)
      : ForwardingFile(std::move(file)), lies_(lies) {}
  Status WriteOnce(std::span<const std::byte> data, uint64_t offset_bytes) override {
    std::vector<std::byte> written(data.begin(), data.end());
    if (lies_) written.back() ^= std::byte{1};
    return file_->WriteOnce(written, offset_bytes);
  }

 private:
  const std::atomic<bool>& lies_;
};

class LyingNode final : public ForwardingNode {
 public:
  LyingNode(std::unique_ptr<NodeDirectory> node, const std::atomic<bool>& lies)
      : ForwardingNode(std::move(node)), lies_(lies) {}
  Result<std::unique_ptr<NodeFile>> Open(const std::string& name, OpenMode mode) override {
    ASSIGN_OR_RETURN(auto file, node_->Open(name, mode));
    return std::unique_ptr<NodeFile>(std::make_unique<LyingFile>(std::move(file), lies_));
  }

 private:
  const std::atomic<bool>& lies_;
};

class VerifyTest : public testing::Test {
 protected:
  VerifyTest() { fixture_.MakeVolume("db", 3 * kMiB + 777, 2 * kMiB); }

  // Opens the same nodes, with a disk that lies on b.
  std::unique_ptr<Store> OpenLying() {
    fixture_.Close();
    std::vector<std::unique_ptr<Node>> nodes;
    for (const char* name : {"a", "b"}) {
      auto directory = OpenPosixNode(fixture_.NodePath(name));
      auto node = Node::Open(std::make_unique<LyingNode>(std::move(directory.value()),
                                                         *name == 'b' ? lies_ : honest_));
      nodes.push_back(std::move(node.value()));
    }
    return std::move(Store::Open(std::move(nodes), {}).value());
  }
  static CloneRequest Request() {
    CloneRequest request{.source = "db", .name = "x"};
    request.verify = true;
    return request;
  }
  static bool WaitFor(Store& store, const std::string& status) {
    for (int tries = 0; tries < 2000; ++tries) {
      if (store.Info("x").value().status == status) return true;
      SleepFor(std::chrono::milliseconds(10));
    }
    return false;
  }

  StoreFixture fixture_;
  std::atomic<bool> lies_{false};
  const std::atomic<bool> honest_{false};
};

TEST_F(VerifyTest, WhatDiffersIsAnErrorThatNamesTheRangeAndIsNeverShown) {
  const std::vector<std::byte> expected = ReadBack(*fixture_.store().Find("db"));
  const auto store = OpenLying();
  lies_ = true;
  const auto clone = store->Clone(Request(), Caller{});
  ASSERT_TRUE(clone.ok()) << clone.error().message;
  ASSERT_TRUE(WaitFor(*store, "error"));
  const VolumeInfo info = store->Info("x").value();
  EXPECT_THAT(info.error, HasSubstr("bytes 0 to "));
  EXPECT_THAT(info.error, HasSubstr("of x on node b were read back as something else"));
  EXPECT_EQ(info.verification, Verification::kWanted);
  EXPECT_TRUE(ReadBack(*clone.value()) == expected) << "from the source still";
  lies_ = false;
  ASSERT_TRUE(store->Resume("x", Caller{}).ok());
  ASSERT_TRUE(WaitFor(*store, "available"));
  EXPECT_EQ(store->Info("x").value().verification, Verification::kDone);
  EXPECT_TRUE(ReadBack(*clone.value()) == expected);
}

TEST_F(VerifyTest, IsRememberedOverRemounts) {
  fixture_.store().hydrator().throttle().SetRate(0);
  ASSERT_TRUE(fixture_.store().Clone(Request(), Caller{}).ok());
  fixture_.Reopen({.copy_rate = 0});
  EXPECT_EQ(fixture_.store().Info("x").value().verification, Verification::kWanted);
  fixture_.store().hydrator().throttle().SetRate(Throttle::kUnlimited);
  ASSERT_TRUE(fixture_.WaitForStatus("x", "available"));
  EXPECT_EQ(fixture_.store().Info("x").value().verification, Verification::kDone);
  fixture_.Reopen();
  EXPECT_EQ(fixture_.store().Info("x").value().verification, Verification::kDone);
  EXPECT_EQ(fixture_.store().Info("db").value().verification, Verification::kNone);
}

TEST_F(VerifyTest, OfALinkedCloneIsRefused) {
  CloneRequest request = Request();
  request.linked = true;
  const auto clone = fixture_.store().Clone(request, Caller{});
  ASSERT_FALSE(clone.ok());
  EXPECT_EQ(clone.error().code, Errc::kInvalid);
  EXPECT_EQ(fixture_.store().Find("x"), nullptr);
}

}  // namespace
}  // namespace volfs
