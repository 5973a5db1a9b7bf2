// Goal: a node that is open for reading shows exactly what the next mount will show, after any
// crash, and none of its bytes changes.
#include "blockstore/node/read_only_node.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <unordered_set>

#include "blockstore/io/posix_node.h"
#include "blockstore/node/node.h"
#include "blockstore/node/open_directory.h"
#include "blockstore/store/store.h"
#include "tests/support/store_fixture.h"

namespace volfs {
namespace {

namespace fs = std::filesystem;

// Returns the contents and the time of every file.
std::map<std::string, std::string> FilesOf(const std::string& directory) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(directory)) {
    std::ostringstream text;
    text << entry.last_write_time().time_since_epoch().count() << " ";
    if (entry.is_regular_file()) text << std::ifstream(entry.path()).rdbuf();
    files[entry.path().string()] = text.str();
  }
  return files;
}

class ReadOnlyNodeTest : public testing::Test {
 protected:
  // Copies the directories in their present state, which is that after a kill.
  void CopyNodes() {
    for (const char* const name : {"a", "b"}) {
      fs::copy(fixture_.NodePath(name), copies_ / name, fs::copy_options::recursive);
    }
  }
  Result<std::unique_ptr<Store>> OpenCopies(NodeAccess access) {
    std::vector<std::unique_ptr<Node>> nodes;
    for (const char* const name : {"a", "b"}) {
      ASSIGN_OR_RETURN(auto directory, OpenNodeDirectory(copies_ / name, access));
      ASSIGN_OR_RETURN(auto node, Node::Open(std::move(directory)));
      nodes.push_back(std::move(node));
    }
    return Store::Open(std::move(nodes), {.read_only = access == NodeAccess::kReadOnly});
  }

  static Result<std::shared_ptr<Volume>> Make(Store& store, const std::string& name) {
    CreateRequest request;
    request.name = name;
    request.size_bytes = kMiB;
    return store.Create(request, {});
  }

  StoreFixture fixture_;
  TempDir copies_;
};

TEST_F(ReadOnlyNodeTest, RecoversAsTheNextMountWouldAndWritesNothing) {
  const auto volume = fixture_.MakeVolume("v", 4 * kMiB, 2 * kMiB);
  ASSERT_TRUE(fixture_.store().TakeSnapshot("v", "s", {}).ok());
  ASSERT_TRUE(volume->WriteAt(std::vector<std::byte>(8192, std::byte{7}), 4096).ok());
  ASSERT_TRUE(volume->Sync().ok());
  ASSERT_TRUE(Make(fixture_.store(), "deleted").ok());
  ASSERT_TRUE(fixture_.store().Delete("deleted", {}).ok());
  ASSERT_TRUE(volume->WriteAt(std::vector<std::byte>(4096, std::byte{9}), 0).ok());  // not synced
  CopyNodes();
  std::ofstream(copies_ / "a/layers/00000000000000ff") << "a file that no record knows";
  const auto before = FilesOf(copies_.path());
  std::vector<std::byte> shown;
  {
    const auto store = OpenCopies(NodeAccess::kReadOnly);
    ASSERT_TRUE(store.ok()) << store.error().message;
    ASSERT_EQ(store.value()->Volumes().size(), 1U);
    shown = ReadBack(*store.value()->Find("v"));
    EXPECT_EQ(store.value()->Snapshots(store.value()->Find("v")->id()).size(), 1U);
  }
  EXPECT_EQ(FilesOf(copies_.path()), before);
  const auto store = OpenCopies(NodeAccess::kReadWrite);
  ASSERT_TRUE(store.ok()) << store.error().message;
  EXPECT_EQ(ReadBack(*store.value()->Find("v")), shown);
  EXPECT_EQ(shown[4096], std::byte{7}) << "acknowledged, and in the log only";
}

TEST_F(ReadOnlyNodeTest, RefusesEveryChange) {
  (void)fixture_.MakeVolume("v", kMiB, 4096);
  fixture_.Close();
  CopyNodes();
  const auto before = FilesOf(copies_.path());
  {
    const auto opened = OpenCopies(NodeAccess::kReadOnly);
    ASSERT_TRUE(opened.ok());
    Store& store = *opened.value();
    const auto volume = store.Find("v");
    const auto refused = [](const auto& result) {
      return !result.ok() && result.error().code == Errc::kReadOnly;
    };
    EXPECT_TRUE(refused(volume->opens().Add(Volume::Access::kWrite)));
    EXPECT_TRUE(refused(volume->WriteAt(std::vector<std::byte>(4096), 0)));
    EXPECT_TRUE(refused(volume->Grow(2 * kMiB)));
    EXPECT_TRUE(refused(Make(store, "w")));
    EXPECT_TRUE(refused(store.TakeSnapshot("v", "s", {})));
    EXPECT_TRUE(refused(store.Clone({.source = "v", .name = "c"}, {})));
    EXPECT_TRUE(refused(store.Rename("v", "w")));
    EXPECT_TRUE(refused(store.Resize("v", 2 * kMiB, {})));
    EXPECT_TRUE(refused(store.Delete("v", {})));
    EXPECT_TRUE(refused(store.settings().Set("copy_rate", "1")));
    EXPECT_TRUE(volume->Sync().ok()) << "nothing was written, so nothing is lost";
    EXPECT_EQ(store.Volumes().size(), 1U);
  }
  EXPECT_EQ(FilesOf(copies_.path()), before);
}

TEST_F(ReadOnlyNodeTest, NoticesALayerFileThatIsMovedAway) {
  (void)fixture_.MakeVolume("v", kMiB, 4096);
  fixture_.Close();
  CopyNodes();
  const auto store = OpenCopies(NodeAccess::kReadOnly);
  ASSERT_TRUE(store.ok()) << store.error().message;
  const auto volume = store.value()->Find("v");
  (void)ReadBack(*volume);  // which opens the file
  fs::rename(fs::directory_iterator(copies_ / "a/layers")->path(), copies_ / "elsewhere");
  std::unordered_set<Id> seen;
  volume->LookForDamageUnder(seen);
  EXPECT_THAT(volume->DamageUnder(), testing::HasSubstr("moved away"));
}

TEST_F(ReadOnlyNodeTest, RefusesAtTheNodeItself) {
  const auto node =
      std::move(OpenNodeDirectory(fixture_.NodePath("a"), NodeAccess::kReadOnly).value());
  EXPECT_TRUE(node->read_only());
  EXPECT_EQ(node->Open("layers/0000000000000001", OpenMode::kCreateNew).error().code,
            Errc::kReadOnly);
  EXPECT_EQ(node->Remove("catalog.db").error().code, Errc::kReadOnly);
  const auto file = std::move(node->Open("catalog.db", OpenMode::kReadWrite).value());
  EXPECT_EQ(file->WriteAt(std::vector<std::byte>(1), 0).error().code, Errc::kReadOnly);
  EXPECT_EQ(file->SetSize(0).error().code, Errc::kReadOnly);
  EXPECT_EQ(file->Punch({0, 4096}).error().code, Errc::kReadOnly);
  EXPECT_TRUE(file->SyncData().ok());
}

}  // namespace
}  // namespace volfs
