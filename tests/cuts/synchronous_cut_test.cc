// Goal: a change that a program asks to be durable when its call returns outlives a power cut, in
// each way of asking (contract.md 8).
// Method: all calls of the table, each on a volume of its own, flat and over a snapshot. The power
// of the node's filesystem is cut right after the last call, so bytes that only a page cache has
// are gone, too. tests/mount/synchronous_test.cc kills after each call.
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "tests/cuts/backing_disk.h"
#include "tests/mount/mount_fixture.h"
#include "tests/support/synchronous_calls.h"

namespace volfs {
namespace {

struct Case {
  std::string filesystem;
  std::string options;
};

class SynchronousCutTest : public MountTest, public testing::WithParamInterface<Case> {
 protected:
  void SetUp() override {
    MountTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    MustRun(std::string("truncate -s ") + BackingDisk::kSize + " " + NodePath("disk.img"));
    disk_ = std::make_unique<BackingDisk>(AttachLoop(NodePath("disk.img")), NodePath("a"));
    disk_->Make(GetParam().filesystem);
    MustRun("mkdir -p " + NodePath("a/a"));
  }

  void TearDown() override {
    if (pid() != 0) Unmount();
    if (disk_ != nullptr && disk_->mounted()) disk_->Unmount();
    MountTest::TearDown();
  }

  void MountNode() { Mount({"a/a"}, GetParam().options); }

  [[nodiscard]] std::vector<SynchronousCall> PrepareAll() const {
    std::vector<SynchronousCall> all;
    for (const bool snapshot : {false, true}) {
      for (SynchronousCall call : SynchronousCalls(GetParam().options.starts_with("sync"))) {
        call.name += snapshot ? "-over-a-snapshot" : "";
        if (snapshot && call.new_volume()) continue;
        call.Prepare(Path("volumes"));
        if (snapshot) MustAsk("snapshot", call.name + " before");
        all.push_back(call);
      }
    }
    return all;
  }

  std::unique_ptr<BackingDisk> disk_;
};

TEST_P(SynchronousCutTest, WhatWasAcknowledgedIsThere) {
  MountNode();
  const std::vector<SynchronousCall> calls = PrepareAll();
  SynchronousCall::Files open;
  for (const SynchronousCall& call : calls) {
    ASSERT_EQ(call.Make(Path("volumes"), open), 0) << call.name;
  }
  disk_->Cut();
  Kill();
  open.clear();
  MustRun("umount -l " + Quoted(Mnt()));  // the mount holds the files that the kernel serves
  disk_->Unmount();
  disk_->Mount();
  MountNode();
  for (const SynchronousCall& call : calls) EXPECT_EQ(call.Check(Path("volumes")), "");
}

INSTANTIATE_TEST_SUITE_P(, SynchronousCutTest,
                         testing::Values(Case{"ext4", ""}, Case{"xfs", ""}, Case{"ext4", "sync"},
                                         Case{"xfs", "sync,io=native"}, Case{"xfs", "io=native"},
                                         Case{"ext4", "io=native"}),
                         [](const auto& test) {
                           std::string name = test.param.filesystem + test.param.options;
                           std::erase_if(name, [](char c) { return !std::isalnum(c); });
                           return name;
                         });

}  // namespace
}  // namespace volfs
