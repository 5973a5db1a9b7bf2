#pragma once

#include <gtest/gtest.h>
#include <sqlite3.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "blockstore/catalog/catalog.h"
#include "blockstore/io/node_directory.h"
#include "blockstore/io/posix_node.h"
#include "tests/support/temp_dir.h"

namespace volfs {

inline constexpr Id kLayerId = 0x0123456789abcd00;
inline Id TestId(uint64_t n) { return n << kIdFacetBits; }

inline NodeRecord TestNode() {
  return {.uuid = "5b8a4f6c-0f0e-4c39-9a55-0d2f8f6f3a11",
          .name = "alpha",
          .region = "eu-1",
          .types = {{"ssd", 4096, uint64_t{1} << 40}, {"archive", 0, kMaxVolumeBytes}},
          .block_size = 4096,
          .generation = 1};
}
inline VolumeRecord TestVolume(uint64_t n, const std::string& name) {
  return {.id = TestId(n),
          .name = name,
          .head = TestId(n + 1),
          .size_bytes = 4096 * n,
          .type = "ssd",
          .created_ns = 1'700'000'000'000'000'000,
          .attributes = {},
          .token = "t-1",
          .request = "clone db.img"};
}
inline LayerRecord TestLayer(Id id) {
  return {.id = id,
          .parent = TestId(77),
          .parent_node = "",
          .size_bytes = uint64_t{1} << 40,
          .parent_bytes = 4096,
          .has_file = true};
}

// Returns "ok" or the word of the error, so that a failed EXPECT_EQ shows the error.
inline std::string Outcome(const Status& status) {
  return status.ok() ? "ok" : std::to_string(static_cast<int>(status.error().code));
}
inline std::string Word(Errc code) { return std::to_string(static_cast<int>(code)); }

// A node directory with a catalog in it.
class CatalogFixture : public testing::Test {
 protected:
  CatalogFixture() : node_(std::move(OpenPosixNode(dir_.path()).value())) {}

  void Create() {
    auto made = Catalog::Create(*node_, TestNode());
    ASSERT_TRUE(made.ok()) << made.error().message;
    catalog_ = std::move(made.value());
  }
  void Reopen() {
    catalog_.reset();
    auto opened = Catalog::Open(*node_);
    ASSERT_TRUE(opened.ok()) << opened.error().message;
    catalog_ = std::move(opened.value());
  }
  void Commit(CatalogChange change) {
    const Status status = catalog_->Commit(std::move(change));
    ASSERT_TRUE(status.ok()) << status.error().message;
  }
  CatalogContents Load() {
    auto contents = catalog_->Load();
    EXPECT_TRUE(contents.ok()) << contents.error().message;
    return contents.ok() ? std::move(contents.value()) : CatalogContents{};
  }
  // Returns the first failure of Open, Load, the presence of kLayerId and Verify.
  Status OpenAndLoad() {
    ASSIGN_OR_RETURN(const auto opened, Catalog::Open(*node_));
    RETURN_IF_ERROR(opened->Load());
    RETURN_IF_ERROR(opened->LoadPresence(kLayerId, [](const PresenceRun&) {}));
    return opened->Verify();
  }
  // Runs `sql` on the database, as any user can while the node is not mounted.
  void EditByHand(const std::string& sql) {
    catalog_.reset();
    sqlite3* db = nullptr;
    ASSERT_EQ(sqlite3_open(node_->catalog_path().c_str(), &db), SQLITE_OK);
    char* message = nullptr;
    const int code = sqlite3_exec(db, sql.c_str(), nullptr, nullptr, &message);
    EXPECT_EQ(code, SQLITE_OK) << sql << ": " << message;
    sqlite3_free(message);
    sqlite3_close(db);
    OpenNodeAgain();
  }
  // The other connection has recreated the log, which an open node takes for a loss of its files.
  void OpenNodeAgain() { node_ = std::move(OpenPosixNode(dir_.path()).value()); }

  TempDir dir_;
  std::unique_ptr<NodeDirectory> node_;
  std::unique_ptr<Catalog> catalog_;
};

}  // namespace volfs
