// Goal: the files under control/ exist, have true lengths, give one consistent text per open, and
// take requests. No file that a walk over the tree finds blocks (traps T2, T4, T59, T67, T68).
#include "control/tree/control_tree.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "blockstore/base/str_cat.h"
#include "tests/support/store_fixture.h"

namespace volfs {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

constexpr size_t kWholeFile = size_t{1} << 20;
constexpr size_t kDataBytes = size_t{256} << 10;

class ControlTreeTest : public testing::Test {
 protected:
  ControlTreeTest() { Mount({}); }

  void Mount(ControlConfig config) { tree = std::make_unique<ControlTree>(store(), config); }
  Store& store() { return fixture.store(); }

  // Looks up a path below control/, such as "volumes/db/size".
  Result<ControlEntry> Find(std::string_view path) {
    ASSIGN_OR_RETURN(ControlEntry entry, tree->Stat(inode::kControl));
    while (!path.empty()) {
      const size_t slash = path.find('/');
      ASSIGN_OR_RETURN(entry, tree->Lookup(entry.ino, path.substr(0, slash)));
      path.remove_prefix(slash == path.npos ? path.size() : slash + 1);
    }
    return entry;
  }
  bool Exists(std::string_view path) { return Find(path).ok(); }

  std::unique_ptr<ControlFile> Open(std::string_view path, bool for_write = false) {
    const Result<ControlEntry> entry = Find(path);
    EXPECT_TRUE(entry.ok()) << path;
    if (!entry.ok()) return nullptr;
    auto file = tree->Open(entry.value().ino, for_write, caller);
    EXPECT_TRUE(file.ok()) << path << ": " << (file.ok() ? "" : file.error().message);
    return file.ok() ? std::move(file.value()) : nullptr;
  }
  // Returns the contents of a file that does not block, in reads of `max` bytes.
  std::string Cat(std::string_view path, size_t max = kWholeFile) {
    const auto file = Open(path);
    std::string text;
    for (;;) {
      const auto part = file->Read(max, text.size());
      if (!part.ok() || !part.value()) return "blocks or fails";
      if (part.value()->empty()) return text;
      text += *part.value();
    }
  }
  Result<size_t> Echo(std::string_view line, std::string_view path) {
    return Open(path, true)->Write(std::string(line) + "\n", caller);
  }
  Errc Refusal(std::string_view line, std::string_view path) {
    const Result<size_t> wrote = Echo(line, path);
    EXPECT_FALSE(wrote.ok()) << line;
    return wrote.ok() ? Errc::kIo : wrote.error().code;
  }

  std::vector<std::string> Names(std::string_view path) {
    const auto entries = tree->List(Find(path).value().ino);
    std::vector<std::string> names;
    if (!entries.ok()) return names;
    for (const ControlEntry& entry : entries.value()) names.push_back(entry.name);
    return names;
  }
  // Visits each entry that a walk from `path` finds, with its path.
  void Walk(const std::string& path, const std::function<void(std::string, ControlEntry)>& visit) {
    const Result<std::vector<ControlEntry>> entries = tree->List(Find(path).value().ino);
    ASSERT_TRUE(entries.ok()) << path;
    for (const ControlEntry& entry : entries.value()) {
      const std::string below = path.empty() ? entry.name : StrCat(path, "/", entry.name);
      visit(below, entry);
      if (entry.directory) Walk(below, visit);
    }
  }
  static bool WaitFor(const std::function<bool()>& condition) {
    const Nanoseconds deadline = MonotonicNow() + std::chrono::seconds(10);
    while (!condition()) {
      if (MonotonicNow() > deadline) return false;
      SleepFor(std::chrono::milliseconds(5));
    }
    return true;
  }

  StoreFixture fixture{StoreOptions{.hydrate = false}};
  Caller caller;
  std::unique_ptr<ControlTree> tree;
};

// ---- the tree

TEST_F(ControlTreeTest, ListsWhatTheContractNames) {
  EXPECT_THAT(Names(""), ElementsAre("help", "clone", "snapshot", "restore", "revert", "create",
                                     "resize", "delete", "cancel", "status", "status.json",
                                     "last_error", "metrics", "config", "types", "limits", "nodes",
                                     "volumes", "snapshots", "watch", "diff"));
  EXPECT_THAT(Names("limits"), ElementsAre("copy_rate", "copy_jobs"));
  EXPECT_THAT(Names("nodes"), ElementsAre("a", "b"));
  EXPECT_THAT(Names("nodes/a"), ElementsAre("uuid", "path", "region", "types", "state",
                                            "size_bytes", "free_bytes", "filesystem"));
}

TEST_F(ControlTreeTest, AWalkAgreesWithItselfAndNothingBlocks) {
  fixture.MakeVolume("db", 1 << 20, kDataBytes);
  ASSERT_TRUE(Echo("db keep", "snapshot").ok());
  ASSERT_TRUE(Echo("db", "clone").ok());
  std::set<uint64_t> inodes{inode::kControl};
  Walk("", [&](const std::string& path, const ControlEntry& entry) {
    EXPECT_TRUE(inodes.insert(entry.ino).second) << path << ": an inode number twice";
    EXPECT_TRUE(tree->Owns(entry.ino)) << path;
    EXPECT_EQ(Find(path).value().ino, entry.ino) << path;
    EXPECT_EQ(tree->Stat(entry.ino).value().name, entry.name) << path;
    if (entry.directory) return;
    if (path == "metrics" || entry.name == "free_bytes") return;  // may change meanwhile
    EXPECT_EQ(Cat(path, 7).size(), tree->Stat(entry.ino).value().size_bytes) << path;
  });
}

TEST_F(ControlTreeTest, OwnsItsNumbersOnly) {
  EXPECT_TRUE(tree->Owns(inode::kControl));
  for (const uint64_t ino : {inode::kRoot, inode::kVolumes, inode::kSnapshots, inode::kNodes}) {
    EXPECT_FALSE(tree->Owns(ino));
  }
  const auto volume = fixture.MakeVolume("db", 4096);
  EXPECT_FALSE(tree->Owns(volume->id()));
  EXPECT_FALSE(tree->Owns(volume->id() | inode::kSnapshotDirectory));
  EXPECT_TRUE(tree->Owns(volume->id() | inode::kControlDirectory));
}

// A snapshot has a directory with one value per file, also when its volume is gone.
TEST_F(ControlTreeTest, TellsAboutSnapshots) {
  const auto db = fixture.MakeVolume("db", 1 << 20, kDataBytes);
  EXPECT_THAT(Names("snapshots"), IsEmpty());
  ASSERT_TRUE(Echo("db monday", "snapshot").ok());
  ASSERT_TRUE(db->WriteAt(Pattern(4096), 0).ok());
  ASSERT_TRUE(db->Sync().ok());
  EXPECT_THAT(Names("snapshots"), ElementsAre("db"));
  EXPECT_THAT(Names("snapshots/db"), ElementsAre("monday"));
  EXPECT_THAT(Names("snapshots/db/monday"),
              ElementsAre("id", "created", "size_bytes", "exclusive_bytes", "shared_bytes",
                          "info.json", "map"));
  EXPECT_EQ(Cat("snapshots/db/monday/size_bytes"), "1048576\n");
  EXPECT_EQ(Cat("snapshots/db/monday/exclusive_bytes"), "4096\n");
  EXPECT_THAT(Cat("snapshots/db/monday/map"), StartsWith("0 1048576 data a layers/"));
  EXPECT_THAT(Cat("snapshots/db/monday/info.json"),
              StartsWith(R"({"name":"monday","volume":"db","id":")"));
  EXPECT_THAT(Cat("status.json"), HasSubstr(R"("snapshots":[{"name":"monday","id":")"));
  const std::string id = Cat("snapshots/db/monday/id");
  ASSERT_TRUE(Echo("db", "delete").ok());
  EXPECT_EQ(Cat("snapshots/db/monday/id"), id);
  EXPECT_EQ(Cat("status.json"), "[]\n");
  ASSERT_TRUE(Echo("db@monday", "delete").ok());
  EXPECT_THAT(Names("snapshots"), IsEmpty());
  EXPECT_FALSE(Exists("snapshots/db"));
}

TEST_F(ControlTreeTest, InodeNumbersOutliveTheTree) {
  fixture.MakeVolume("db", 4096);
  const uint64_t size = Find("volumes/db/size").value().ino;
  const uint64_t uuid = Find("nodes/b/uuid").value().ino;
  tree.reset();
  fixture.Reopen();
  Mount({});
  EXPECT_EQ(Find("volumes/db/size").value().ino, size);
  EXPECT_EQ(Find("nodes/b/uuid").value().ino, uuid);
}

TEST_F(ControlTreeTest, WhatIsNotThereIsNotFound) {
  for (const char* path : {"nothing", "volumes/db", "nodes/c", "nodes/a/nothing", "status/x",
                           "watch/volumes/db", "volumes/..", "limits/"}) {
    const Result<ControlEntry> entry = Find(path);
    if (std::string_view(path).ends_with('/')) continue;
    ASSERT_FALSE(entry.ok()) << path;
    EXPECT_EQ(entry.error().code, Errc::kNotFound) << path;
  }
  for (const uint64_t ino : {uint64_t{255}, uint64_t{0xabcdef0000000010}, ~uint64_t{0}}) {
    EXPECT_EQ(tree->Stat(ino).error().code, Errc::kNotFound);
    EXPECT_EQ(tree->Open(ino, false, caller).error().code, Errc::kNotFound);
  }
  EXPECT_EQ(tree->List(Find("status").value().ino).error().code, Errc::kInvalid);
  EXPECT_EQ(tree->Open(inode::kControl, false, caller).error().code, Errc::kInvalid);
}

TEST_F(ControlTreeTest, ModesAndOwners) {
  Mount({.options = {}, .uid = 5, .gid = 6, .control_gid = std::nullopt});
  EXPECT_EQ(Find("clone").value().mode, 0600U);
  EXPECT_EQ(Find("status").value().mode, 0444U);
  EXPECT_EQ(Find("limits/copy_rate").value().mode, 0644U);
  EXPECT_EQ(Find("volumes").value().mode, 0555U);
  EXPECT_EQ(Find("clone").value().uid, 5U);
  EXPECT_EQ(Find("clone").value().gid, 6U);
  tree.reset();
  Mount({.options = {}, .uid = 5, .gid = 6, .control_gid = 7});
  EXPECT_EQ(Find("clone").value().mode, 0660U);
  EXPECT_EQ(Find("clone").value().gid, 7U);
  EXPECT_EQ(Find("status").value().gid, 6U);
}

TEST_F(ControlTreeTest, AChangeShowsAtOnce) {
  EXPECT_FALSE(Exists("volumes/db"));
  ASSERT_TRUE(Echo("db 1M", "create").ok());
  EXPECT_TRUE(Exists("volumes/db"));
  const uint64_t size = Find("volumes/db/size").value().ino;
  ASSERT_TRUE(store().Rename("db", "web").ok());
  EXPECT_FALSE(Exists("volumes/db"));
  EXPECT_EQ(Find("volumes/web/size").value().ino, size);
  ASSERT_TRUE(Echo("web", "delete").ok());
  EXPECT_THAT(Names("volumes"), ElementsAre());
  EXPECT_EQ(tree->Stat(size).error().code, Errc::kNotFound);
}

// ---- texts

TEST_F(ControlTreeTest, TellsAboutVolumesAndNodes) {
  fixture.MakeVolume("db", 1 << 20, kDataBytes);
  ASSERT_TRUE(Echo("db", "clone").ok());
  EXPECT_EQ(Cat("status"),
            "db available 1048576 a standard 100.00 -\n"
            "db-clone creating 1048576 b standard 0.00 db\n");
  EXPECT_EQ(Cat("volumes/db/size"), "1048576\n");
  EXPECT_EQ(Cat("volumes/db-clone/source"), "db\n");
  EXPECT_EQ(Cat("volumes/db-clone/eta_seconds"), "unknown\n");
  EXPECT_EQ(Cat("volumes/db/exclusive_bytes"), "0\n") << "its data is held for the clone";
  EXPECT_EQ(Cat("volumes/db/shared_bytes"), Cat("volumes/db/allocated_bytes"));
  EXPECT_THAT(Cat("volumes/db/info.json"), StartsWith(R"({"name":"db","id":)"));
  EXPECT_EQ(Cat("nodes/b/types"), "standard ssd sata\n");
  EXPECT_EQ(Cat("nodes/a/path"), fixture.NodePath("a") + "\n");
  EXPECT_EQ(Cat("nodes/a/state"), "ok\n");
  EXPECT_THAT(Cat("types"), HasSubstr("sata b 1048576 1073741824\n"));
  EXPECT_THAT(Cat("metrics"), HasSubstr("\nvolfs_volume_size_bytes{volume=\"db\"} 1048576\n"));
  EXPECT_THAT(Cat("help"), HasSubstr("clone: SRC"));
}

TEST_F(ControlTreeTest, ConfigShowsTheOptions) {
  Mount({.options = {{"allow_shrink", "0"}, {"nodes", "a\nb"}},
         .uid = 0,
         .gid = 0,
         .control_gid = std::nullopt});
  EXPECT_EQ(Cat("config"), "allow_shrink=0\nnodes=a\\x0ab\n");
}

TEST_F(ControlTreeTest, OneOpenFileSeesOneText) {
  const auto status = Open("status");
  ASSERT_TRUE(Echo("db 1M", "create").ok());
  EXPECT_EQ(status->Read(kWholeFile, 0).value(), "");
  EXPECT_NE(Cat("status"), "");
}

TEST_F(ControlTreeTest, ReadsPastTheEndAreEmpty) {
  const auto help = Open("help");
  EXPECT_EQ(help->Read(10, UINT64_MAX).value(), "");
  EXPECT_EQ(help->Read(0, 0).value(), "");
  EXPECT_TRUE(help->Readable());
}

TEST_F(ControlTreeTest, TextsAreNotWritable) {
  const uint64_t ino = Find("status").value().ino;
  EXPECT_EQ(tree->Open(ino, true, caller).error().code, Errc::kProtected);
  EXPECT_EQ(Open("status")->Write("x", caller).error().code, Errc::kProtected);
}

// ---- requests

TEST_F(ControlTreeTest, ARequestIsAnsweredOnTheSameOpenFile) {
  const auto create = Open("create", true);
  ASSERT_TRUE(create->Write("db 1M\n", caller).ok());
  EXPECT_EQ(create->Read(kWholeFile, 6).value(),
            "ok volume=db status=available size=1048576 node=a\n");
  EXPECT_EQ(create->Read(kWholeFile, 6).value(), "");
  EXPECT_EQ(Cat("create"), StrCat("create: NAME SIZE [type=TYPE] [node=NODE] [io=native|daemon]\n"))
      << "somebody else's open file";
}

TEST_F(ControlTreeTest, ARefusalIsToldInLastErrorAndCounted) {
  caller.uid = 1000;
  EXPECT_EQ(Refusal("nobody", "clone"), Errc::kNotFound);
  EXPECT_EQ(Refusal("x y z", "create"), Errc::kInvalid);
  EXPECT_THAT(Cat("last_error"), HasSubstr(" 1000 clone:nobody ENOENT "));
  EXPECT_THAT(Cat("last_error"), HasSubstr(" 1000 create:\"x y z\" EINVAL "));
  tree->RecordRefusal(caller, "unlink a b\n", {Errc::kBusy, "it is open"});
  EXPECT_THAT(Cat("last_error"), HasSubstr(" 1000 unlink:\"a b\\x0a\" EBUSY it is open\n"));
  tree->RecordRefusal(caller, "setattr", {Errc::kProtected, "no"});
  EXPECT_THAT(Cat("last_error"), HasSubstr(" 1000 setattr EPERM no\n"));
  EXPECT_THAT(Cat("metrics"),
              HasSubstr("volfs_requests_total{request=\"clone\",result=\"refused\"} 1\n"));
  EXPECT_THAT(Cat("metrics"), HasSubstr("volfs_refusals_total{errno=\"EBUSY\"} 1\n"));
}

TEST_F(ControlTreeTest, LimitsAreReadAndWritten) {
  EXPECT_EQ(Cat("limits/copy_rate"), "max\n");
  ASSERT_EQ(Echo("10M", "limits/copy_rate").value(), 4U);
  EXPECT_EQ(Cat("limits/copy_rate"), "10485760\n");
  EXPECT_EQ(Refusal("fast", "limits/copy_rate"), Errc::kInvalid);
  EXPECT_THAT(Cat("last_error"), HasSubstr(" 0 copy_rate EINVAL copy_rate: fast is no rate"));
  const auto jobs = Open("limits/copy_jobs", true);
  EXPECT_EQ(jobs->Write("2", caller).value(), 1U);
  EXPECT_EQ(jobs->Write("\n", caller).value(), 1U) << "the LF that was owed (trap T3)";
  EXPECT_EQ(jobs->Write("\n", caller).error().code, Errc::kInvalid);
  EXPECT_EQ(Cat("limits/copy_jobs"), "2\n");
}

// The store is opened without copying, so the clone is never whole.
TEST_F(ControlTreeTest, ACloneHasALimitOfItsOwn) {
  fixture.MakeVolume("db", 1 << 20, kDataBytes);
  ASSERT_TRUE(Echo("db", "clone").ok());
  const std::string file = "volumes/db-clone/copy_rate";
  EXPECT_EQ(Find(file).value().mode, 0644U);
  EXPECT_EQ(Find("volumes/db-clone/size").value().mode, 0444U);
  EXPECT_EQ(Cat(file), "max\n");
  ASSERT_EQ(Echo("10M", file).value(), 4U);
  EXPECT_EQ(Cat(file), "10485760\n");
  EXPECT_THAT(Cat("volumes/db-clone/info.json"), HasSubstr("\"copy_rate\":10485760,"));
  EXPECT_EQ(Refusal("fast", file), Errc::kInvalid);
  EXPECT_EQ(Cat(file), "10485760\n");
  EXPECT_THAT(Cat("last_error"),
              HasSubstr(" 0 copy_rate:db-clone EINVAL copy_rate: fast is no rate"));
  ASSERT_TRUE(Echo("max", file).ok());
  EXPECT_EQ(Cat(file), "max\n");
  EXPECT_EQ(Cat("volumes/db/copy_rate"), "max\n");
  EXPECT_EQ(Refusal("1M", "volumes/db/copy_rate"), Errc::kInvalid);
  EXPECT_THAT(Cat("last_error"), HasSubstr(" 0 copy_rate:db EINVAL db: it is not a clone"));
}

// ---- watch

TEST_F(ControlTreeTest, WhatBlocksIsFoundByNameOnly) {
  fixture.MakeVolume("db", 4096);
  EXPECT_THAT(Names("watch"), ElementsAre("volumes", "help"));
  EXPECT_THAT(Names("watch/volumes"), ElementsAre());
  EXPECT_TRUE(Exists("watch/events"));
  EXPECT_TRUE(Exists("watch/volumes/db"));
  EXPECT_GT(Find("watch/events").value().size_bytes, 0U);
}

TEST_F(ControlTreeTest, EventsComeAsLinesAndWakeTheReader) {
  std::atomic<int> activity{0};
  std::atomic<int> events{0};
  tree->SetActivityCallback([&] { ++activity; });
  tree->SetEventCallback([&](const StoreEvent&) { ++events; });
  const auto file = Open("watch/events");
  EXPECT_FALSE(file->Readable());
  EXPECT_EQ(file->Read(kWholeFile, 0).value(), std::nullopt);
  ASSERT_TRUE(Echo("db 1M", "create").ok());
  ASSERT_TRUE(WaitFor([&] { return activity > 0; }));
  EXPECT_TRUE(file->Readable());
  const auto lines = file->Read(kWholeFile, 12345).value();
  ASSERT_TRUE(lines.has_value());
  EXPECT_THAT(*lines, StartsWith(R"({"seq":)"));
  EXPECT_THAT(*lines, HasSubstr(R"("volume":"db")"));
  EXPECT_EQ(lines->back(), '\n');
  EXPECT_GE(events, 1);
}

TEST_F(ControlTreeTest, AWatchedVolumeThatIsWholeReadsAtOnce) {
  fixture.MakeVolume("db", 4096);
  EXPECT_EQ(Cat("watch/volumes/db", 3), "available\n");
}

TEST_F(ControlTreeTest, AWatchedCloneIsWaitedFor) {
  tree.reset();
  fixture.Reopen();
  Mount({.options = {{"copy_rate", "0"}}, .uid = 0, .gid = 0, .control_gid = std::nullopt});
  fixture.MakeVolume("db", 1 << 20, kDataBytes);
  ASSERT_TRUE(Echo("db", "clone").ok());
  std::atomic<bool> woken{false};
  const auto file = Open("watch/volumes/db-clone");
  tree->SetActivityCallback([&] { woken = woken || file->Readable(); });
  EXPECT_FALSE(file->Readable()) << "copying is paused";
  EXPECT_EQ(file->Read(kWholeFile, 0).value(), std::nullopt);
  ASSERT_TRUE(Echo("max", "limits/copy_rate").ok());
  EXPECT_TRUE(WaitFor([&] { return woken.load(); })) << "an event told that it is whole";
  EXPECT_EQ(file->Read(5, 0).value(), "avail");
  EXPECT_EQ(file->Read(kWholeFile, 5).value(), "able\n");
  EXPECT_EQ(file->Read(kWholeFile, 10).value(), "");
  tree->SetActivityCallback(nullptr);
}

TEST_F(ControlTreeTest, AWatchedCloneThatIsDeletedEndsTheWait) {
  fixture.MakeVolume("db", 1 << 20, kDataBytes);
  ASSERT_TRUE(Echo("db", "clone").ok());
  const auto file = Open("watch/volumes/db-clone");
  EXPECT_FALSE(file->Readable());
  std::atomic<int> activity{0};
  tree->SetActivityCallback([&] { ++activity; });
  ASSERT_TRUE(Echo("db-clone", "cancel").ok());
  EXPECT_TRUE(WaitFor([&] { return activity > 0 && file->Readable(); }));
  EXPECT_EQ(file->Read(kWholeFile, 0).value(), "deleted\n");
}

}  // namespace
}  // namespace volfs
