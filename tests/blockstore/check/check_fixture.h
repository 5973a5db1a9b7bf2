#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sqlite3.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "blockstore/check/check.h"
#include "blockstore/io/posix_node.h"
#include "tests/support/store_fixture.h"

namespace volfs {

// A closed store of nodes "a" and "b", into which a test plants damage.
class CheckFixture : public testing::Test {
 protected:
  static Id PlantedId(uint64_t n) { return n << kIdFacetBits; }  // never the id of a real row

  // Returns a layer of 1 MiB in which all of its parent shows through.
  static LayerRecord PlantedLayer(uint64_t n, Id parent, bool has_file) {
    LayerRecord layer;
    layer.id = PlantedId(n);
    layer.parent = parent;
    layer.size_bytes = kMiB;
    layer.parent_bytes = parent == kNoId ? 0 : kMiB;
    layer.has_file = has_file;
    return layer;
  }

  std::unique_ptr<Node> Open(const std::string& name) {
    auto directory = OpenPosixNode(fixture_.NodePath(name));
    EXPECT_TRUE(directory.ok()) << directory.error().message;
    auto node = Node::Open(std::move(directory.value()));
    EXPECT_TRUE(node.ok()) << node.error().message;
    return std::move(node.value());
  }
  CatalogContents Contents(const std::string& node) { return Open(node)->contents(); }
  void Plant(const std::string& node, CatalogChange change) {
    const Status done = Open(node)->catalog().Commit(change);
    ASSERT_TRUE(done.ok()) << done.error().message;
  }
  // Runs `sql` as a user can with the sqlite3 program.
  void EditByHand(const std::string& node, const std::string& sql) {
    sqlite3* db = nullptr;
    ASSERT_EQ(sqlite3_open((fixture_.NodePath(node) + "/catalog.db").c_str(), &db), SQLITE_OK);
    EXPECT_EQ(sqlite3_exec(db, sql.c_str(), nullptr, nullptr, nullptr), SQLITE_OK) << sql;
    sqlite3_close(db);
  }

  VolumeRecord VolumeOf(const std::string& node, const std::string& name) {
    for (const VolumeRecord& volume : Contents(node).volumes) {
      if (volume.name == name) return volume;
    }
    ADD_FAILURE() << "no volume " << name;
    return {};
  }
  LayerRecord LayerOf(const std::string& node, Id id) {
    for (const LayerRecord& layer : Contents(node).layers) {
      if (layer.id == id) return layer;
    }
    ADD_FAILURE() << "no such layer";
    return {};
  }
  LayerRecord HeadOf(const std::string& node, const std::string& volume) {
    return LayerOf(node, VolumeOf(node, volume).head);
  }
  std::string FileOf(const std::string& node, Id layer) {
    constexpr char kHex[] = "0123456789abcdef";
    std::string name = fixture_.NodePath(node) + "/layers/";
    for (int shift = 60; shift >= 0; shift -= 4) name.push_back(kHex[(layer >> shift) & 15]);
    return name;
  }
  static void WriteFile(const std::string& path, const std::string& bytes, std::streamoff at = 0) {
    if (!std::filesystem::exists(path)) std::ofstream{path};
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(at).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    ASSERT_TRUE(file.good()) << path;
  }

  std::vector<Finding> Check(const std::vector<std::string>& names, const CheckOptions& options) {
    std::vector<std::unique_ptr<Node>> nodes;
    std::vector<Node*> pointers;
    for (const std::string& name : names) {
      nodes.push_back(Open(name));
      pointers.push_back(nodes.back().get());
    }
    auto found = CheckNodes(pointers, options);
    EXPECT_TRUE(found.ok()) << found.error().message;
    return found.ok() ? std::move(found.value()) : std::vector<Finding>{};
  }
  // Returns "damage head-missing", "repaired tidy orphan-file" and so on, sorted.
  static std::vector<std::string> Words(const std::vector<Finding>& findings) {
    std::vector<std::string> words;
    for (const Finding& finding : findings) {
      const bool damage = finding.weight == Finding::Weight::kDamage;
      words.push_back(std::string(finding.repaired ? "repaired " : "") +
                      (damage ? "damage " : "tidy ") + std::string(KindWord(finding.kind)));
      EXPECT_THAT(finding.text, testing::Not(testing::HasSubstr("\n")));
      EXPECT_FALSE(finding.node.empty());
    }
    std::sort(words.begin(), words.end());
    return words;
  }
  std::vector<std::string> Found(const std::vector<std::string>& nodes = {"a", "b"}) {
    return Words(Check(nodes, {}));
  }
  std::vector<std::string> Repaired(const std::vector<std::string>& nodes = {"a", "b"}) {
    return Words(Check(nodes, {.repair = true}));
  }

  // Returns every byte of both nodes except the ballast.
  std::map<std::string, std::string> Bytes() {
    std::map<std::string, std::string> files;
    for (const char* node : {"a", "b"}) {
      for (const auto& entry :
           std::filesystem::recursive_directory_iterator(fixture_.NodePath(node))) {
        if (!entry.is_regular_file() || entry.path().filename() == "ballast") continue;
        std::string& bytes = files[entry.path()];
        bytes.resize(entry.file_size());
        std::ifstream file(entry.path(), std::ios::binary);
        file.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
      }
    }
    return files;
  }

  // The check finds exactly this and changes nothing. A repair mends it, and a second check finds
  // nothing.
  void ExpectMended(const std::string& word) {
    const auto before = Bytes();
    EXPECT_THAT(Found(), testing::ElementsAre(word));
    EXPECT_TRUE(Bytes() == before) << "changed by looking";
    EXPECT_THAT(Repaired(), testing::ElementsAre("repaired " + word));
    EXPECT_THAT(Found(), testing::IsEmpty());
  }
  // The check finds exactly these, and a repair changes no byte.
  void ExpectLeft(const std::vector<std::string>& words) {
    const auto before = Bytes();
    EXPECT_THAT(Found(), testing::ElementsAreArray(words));
    EXPECT_THAT(Repaired(), testing::ElementsAreArray(words));
    EXPECT_TRUE(Bytes() == before) << "changed by a repair that repairs nothing";
  }

  // Makes two volumes on a: "plain" is flat, "db" was written to after its snapshot db@monday.
  void MakeVolumes() {
    fixture_.MakeVolume("plain", kMiB, kMiB);
    const auto db = fixture_.MakeVolume("db", 2 * kMiB, kMiB);
    ASSERT_TRUE(fixture_.store().TakeSnapshot("db", "monday", Caller{}).ok());
    ASSERT_TRUE(db->WriteAt(Pattern(100'000), 50'000).ok());
    ASSERT_TRUE(db->Sync().ok());
  }
  // Makes "copy" on b, a clone of "src" on a of which nothing is copied yet.
  void MakeRunningClone() {
    fixture_.MakeVolume("src", kMiB, kMiB);
    fixture_.store().hydrator().throttle().SetRate(0);
    ASSERT_TRUE(fixture_.store().Clone({.source = "src", .name = "copy"}, Caller{}).ok());
  }
  CloneRecord JobOf(const std::string& clone) {
    const Id id = VolumeOf("b", clone).id;
    for (const CloneRecord& job : Contents("b").clones) {
      if (job.clone == id) return job;
    }
    ADD_FAILURE() << "no job for " << clone;
    return {};
  }
  std::string UuidOf(const std::string& node) { return Contents(node).node.uuid; }

  StoreFixture fixture_;
};

}  // namespace volfs
