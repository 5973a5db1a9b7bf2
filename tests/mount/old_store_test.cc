// Goal: this version mounts the store of every release, with all of its data, and goes on where
// that release stopped. The stores are in tests/mount/stores, made by scripts/keep_store.
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "tests/mount/mount_fixture.h"

namespace volfs {
namespace {

std::vector<std::string> KeptStores() {
  std::vector<std::string> paths;
  for (const auto& entry :
       std::filesystem::directory_iterator(VOLFS_SOURCE_DIR "/tests/mount/stores")) {
    paths.push_back(entry.path());
  }
  return paths;
}

class OldStoreTest : public MountTest, public testing::WithParamInterface<std::string> {
 protected:
  // Each line of the file `sums` is a checksum, and the file below the mount that has it.
  void ExpectContents() {
    const CommandResult result =
        RunShell("cd " + Mnt() + " && sha256sum --quiet -c " + directory() + "/sums");
    EXPECT_TRUE(result.ok()) << result.output;
  }
};

TEST_P(OldStoreTest, IsWholeAndGoesOn) {
  MustRun("tar --extract --no-same-owner --directory " + directory() + " --file " + GetParam());
  Mount({"a", "b"}, "ro");
  ExpectContents();
  Unmount();
  Mount();
  ExpectContents();
  EXPECT_EQ(Field("half.img", "status"), "creating");
  SetCopyRate("max");
  EXPECT_TRUE(WaitForStatus("half.img", "available"));
  ExpectContents();
  MustAsk("restore", "gone.img@last gone-again.img linked=1");
  MustAsk("snapshot", "plain.img now");
  Unmount();
  const CommandResult check = Volfs("check " + NodePath("a") + " " + NodePath("b"));
  EXPECT_EQ(check.exit_code, 0) << check.output;
}

std::string VersionOf(const testing::TestParamInfo<std::string>& store) {
  std::string name = std::filesystem::path(store.param).filename().string();
  name = name.substr(0, name.find(".tar"));
  for (char& c : name) c = c == '.' ? '_' : c;
  return name;
}

INSTANTIATE_TEST_SUITE_P(Of, OldStoreTest, testing::ValuesIn(KeptStores()), VersionOf);

}  // namespace
}  // namespace volfs
