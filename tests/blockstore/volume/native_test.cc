// Goal: the store handles a volume whose file the kernel writes by itself (io=native), in cases
// that a real kernel reaches too seldom (tests/mount/native_test.cc has the rest).
#include <gtest/gtest.h>

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "blockstore/check/check.h"
#include "blockstore/io/posix_node.h"
#include "tests/support/forwarding_node.h"
#include "tests/support/store_fixture.h"

namespace volfs {
namespace {

using Hook = std::function<void()>;

// A file that can share blocks with no other, and says so after `before`. It can be looked at
// unless `look_fails`.
class UnsharingFile final : public ForwardingFile {
 public:
  UnsharingFile(std::unique_ptr<NodeFile> file, Hook& before, const bool& look_fails)
      : ForwardingFile(std::move(file)), before_(before), look_fails_(look_fails) {}
  Result<bool> CloneFrom(NodeFile& /*source*/) override {
    if (before_) before_();
    return false;
  }
  Result<State> Stat() override {
    if (!look_fails_) return file_->Stat();
    return Error{Errc::kIo, "the file cannot be looked at (simulated)"};
  }
  Descriptor Duplicate() override { return file_->Duplicate(); }

 private:
  Hook& before_;
  const bool& look_fails_;
};

class UnsharingNode final : public ForwardingNode {
 public:
  UnsharingNode(std::unique_ptr<NodeDirectory> node, Hook& before, const bool& look_fails)
      : ForwardingNode(std::move(node)), before_(before), look_fails_(look_fails) {}
  Result<std::unique_ptr<NodeFile>> Open(const std::string& name, OpenMode mode) override {
    ASSIGN_OR_RETURN(auto file, node_->Open(name, mode));
    return std::unique_ptr<NodeFile>(
        std::make_unique<UnsharingFile>(std::move(file), before_, look_fails_));
  }

 private:
  Hook& before_;
  const bool& look_fails_;
};

class VolumeNativeTest : public ::testing::Test {
 protected:
  VolumeNativeTest() {
    fixture_.MakeVolume("v", kMiB, kMiB / 2);
    EXPECT_TRUE(fixture_.store().settings().SetNative(*fixture_.store().Find("v"), true).ok());
    fixture_.Close();
  }

  std::unique_ptr<Store> Open() {
    auto directory = OpenPosixNode(fixture_.NodePath("a"));
    auto node = Node::Open(
        std::make_unique<UnsharingNode>(std::move(directory.value()), before_, look_fails_));
    std::vector<std::unique_ptr<Node>> nodes;
    nodes.push_back(std::move(node.value()));
    return std::move(Store::Open(std::move(nodes), StoreOptions{}).value());
  }
  // Returns the path of the volume's only file.
  [[nodiscard]] std::string File() const {
    return std::filesystem::directory_iterator(fixture_.NodePath("a") + "/layers")->path();
  }

  StoreFixture fixture_;
  Hook before_;
  bool look_fails_ = false;
};

// The host is asked to share the file, which it cannot, and meanwhile the last close comes. The
// result is a complete snapshot or a refusal, never an unfrozen file with a snapshot's name.
TEST_F(VolumeNativeTest, AnInstantThatMeetsTheLastCloseIsTakenOrRefused) {
  const auto store = Open();
  const auto volume = store->Find("v");
  ASSERT_TRUE(volume->native().Begin().value().ok());
  before_ = [&] {
    if (volume->native().active()) volume->native().End();
  };
  const auto taken = store->TakeSnapshot("v", "s", Caller{});
  ASSERT_TRUE(taken.ok()) << "it was closed in the first second";
  EXPECT_EQ(taken.value().size_bytes, kMiB);
  const auto open = store->OpenSnapshotImage(taken.value().id);
  ASSERT_TRUE(open.ok());
  std::vector<std::byte> bytes(kMiB / 2);
  ASSERT_TRUE(open.value()->image().ReadAt(bytes, 0).ok());
  EXPECT_EQ(bytes, Pattern(kMiB / 2));
}

TEST_F(VolumeNativeTest, AnInstantOfAnOpenOneIsRefused) {
  const auto store = Open();
  const auto volume = store->Find("v");
  ASSERT_TRUE(volume->native().Begin().value().ok());
  const auto taken = store->TakeSnapshot("v", "s", Caller{});
  ASSERT_FALSE(taken.ok());
  EXPECT_EQ(taken.error().code, Errc::kBusy);
  EXPECT_TRUE(store->Snapshots(volume->id()).empty());
  volume->native().End();
}

// The store cannot know which writes the kernel has acknowledged, so it accepts no more. Nothing in
// the store is unsaved, so an unmount is not held up.
TEST_F(VolumeNativeTest, OneWhoseFileCannotBeLookedAtAtTheMountIsReadOnly) {
  look_fails_ = true;
  const auto store = Open();
  const auto volume = store->Find("v");
  EXPECT_FALSE(volume->state().failure().empty());
  EXPECT_FALSE(volume->WriteAt(Pattern(4096), 0).ok());
  EXPECT_FALSE(volume->Sync().ok());
  EXPECT_TRUE(store->Close().ok());
}

// The kernel acknowledges an O_SYNC write past the end by itself, so the file may be longer than
// its record.
TEST_F(VolumeNativeTest, WhatIsPastTheEndIsNeitherAFindingNorCutByARepair) {
  std::filesystem::resize_file(File(), 2 * kMiB);
  fixture_.Reopen();
  const auto volume = fixture_.store().Find("v");
  EXPECT_EQ(volume->size_bytes(), 2 * kMiB);
  fixture_.Close();
  std::filesystem::resize_file(File(), 3 * kMiB);
  std::vector<std::unique_ptr<Node>> nodes;
  auto node = Node::Open(std::move(OpenPosixNode(fixture_.NodePath("a")).value()));
  ASSERT_TRUE(node.ok());
  CheckOptions options;
  options.repair = true;
  const auto found = CheckNodes({node.value().get()}, options);
  ASSERT_TRUE(found.ok());
  EXPECT_EQ(std::filesystem::file_size(File()), 3 * kMiB);
}

// An error of the file is reported by the reads, not by a failing open.
TEST_F(VolumeNativeTest, AFailedOneIsServedByUs) {
  const auto store = Open();
  const auto volume = store->Find("v");
  volume->head()->Fail();
  const auto file = volume->native().Begin();
  ASSERT_TRUE(file.ok());
  EXPECT_FALSE(file.value().ok());
}

}  // namespace
}  // namespace volfs
