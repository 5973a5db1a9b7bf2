// Goal: the maintainer's look fences a node whose directory is gone or whose filesystem has become
// read-only, and says why.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>

#include "blockstore/io/posix_node.h"
#include "blockstore/node/node.h"
#include "tests/support/forwarding_node.h"
#include "tests/support/temp_dir.h"

namespace volfs {
namespace {

using testing::HasSubstr;

class LosableNode final : public ForwardingNode {
 public:
  using ForwardingNode::ForwardingNode;
  Status CheckPresent() override {
    if (!gone) return OkStatus();
    return Error{Errc::kIo, "node directory x is gone: moved away"};
  }
  Result<SpaceInfo> Space() override { return SpaceInfo{1 << 30, 1 << 29, read_only}; }
  bool gone = false;
  bool read_only = false;
};

class LookForLossTest : public testing::Test {
 protected:
  void Open(bool read_only) {
    NodeRecord record;
    record.name = "x";
    record.types = {{.name = "standard"}};
    const auto made = std::move(OpenPosixNode(dir_.path()).value());
    ASSERT_TRUE(Node::Init(*made, record).ok());
    auto directory = std::make_unique<LosableNode>(std::move(OpenPosixNode(dir_.path()).value()));
    directory_ = directory.get();
    directory_->read_only = read_only;
    node_ = std::move(Node::Open(std::move(directory)).value());
    node_->LookForLoss();
    EXPECT_EQ(node_->State(), "ok");
  }

  TempDir dir_;
  LosableNode* directory_ = nullptr;
  std::unique_ptr<Node> node_;
};

TEST_F(LookForLossTest, ANodeThatIsGoneIsFenced) {
  Open(false);
  directory_->gone = true;
  node_->LookForLoss();
  EXPECT_THAT(node_->State(), HasSubstr("fenced"));
  EXPECT_THAT(node_->State(), HasSubstr("is gone: moved away"));
  EXPECT_TRUE(node_->catalog().lost());
  directory_->gone = false;
  node_->LookForLoss();
  EXPECT_THAT(node_->State(), HasSubstr("fenced")) << "what comes back may be another copy";
}

TEST_F(LookForLossTest, ACommitLooksByItself) {
  Open(false);
  directory_->gone = true;
  EXPECT_FALSE(node_->catalog().Commit({PutSetting{"key", "value"}}).ok());
  EXPECT_THAT(node_->State(), HasSubstr("is gone: moved away"));
}

TEST_F(LookForLossTest, AFilesystemThatBecomesReadOnlyIsALoss) {
  Open(false);
  directory_->read_only = true;
  node_->LookForLoss();
  EXPECT_THAT(node_->State(), HasSubstr("has become read-only"));
}

TEST_F(LookForLossTest, OneThatWasReadOnlyFromTheBeginningIsNone) {
  Open(true);
  node_->LookForLoss();
  EXPECT_EQ(node_->State(), "ok");
}

}  // namespace
}  // namespace volfs
