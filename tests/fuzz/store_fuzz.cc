// A store that was changed while it was closed is mounted, twice. After any change the process goes
// on, and a volume outside the change reads right. A node whose rows contradict each other frees
// nothing, and the second mount equals the first. If a mount refuses something, the check finds
// damage.
//
// Changes: rows, with corrected checksums; bits and pages of a catalog; files of layers and
// catalogs that are cut, grown, removed, or replaced by links, pipes and directories.
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <limits>
#include <set>

#include "blockstore/base/str_cat.h"
#include "blockstore/check/check.h"
#include "blockstore/io/posix_node.h"
#include "blockstore/node/opener.h"
#include "tests/fuzz/fuzz_targets.h"
#include "tests/fuzz/store_template.h"

namespace volfs::fuzz {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kKiB = 1024;
constexpr size_t kMaxRead = 256 * kKiB;  // of each end of an image
const Caller kRoot;

// --- the store -----------------------------------------------------------------------------------

void WriteSome(Volume& volume, uint64_t offset, size_t length, uint8_t seed) {
  std::vector<std::byte> bytes(length);
  for (size_t i = 0; i < length; ++i) bytes[i] = static_cast<std::byte>((i * 7 / 5 + seed) | 1);
  Require(volume.WriteAt(bytes, offset).ok() && volume.Sync().ok(), "the template is written");
}

std::shared_ptr<Volume> Make(Store& store, const std::string& name, uint64_t bytes, int node = 0) {
  CreateRequest request;
  request.name = name;
  request.size_bytes = bytes;
  request.node = node == 0 ? "a" : "b";
  auto made = store.Create(request, kRoot);
  Require(made.ok(), "the template has room");
  return made.value();
}

void Fill(Store& store) {
  const auto done = [](const auto& result) { Require(result.ok(), "the template is made"); };
  WriteSome(*Make(store, "plain", 40 * kKiB), 0, 40 * kKiB, 1);
  const auto db = Make(store, "db", 64 * kKiB);
  WriteSome(*db, 0, 50 * kKiB, 2);
  done(store.TakeSnapshot("db", "monday", kRoot));
  WriteSome(*db, 10 * kKiB, 20 * kKiB, 3);
  done(store.TakeSnapshot("db", "tuesday", kRoot));
  WriteSome(*db, 3 * kKiB, 30 * kKiB, 4);
  done(
      store.Clone({.source = "db", .snapshot = "monday", .name = "linked", .linked = true}, kRoot));
  WriteSome(*store.Find("linked"), 8 * kKiB, 4 * kKiB, 5);
  const auto huge = Make(store, "huge", uint64_t{1} << 40);
  WriteSome(*huge, 20 * kKiB, 8 * kKiB, 6);
  done(store.TakeSnapshot("huge", "empty", kRoot));
  done(huge->Discard({0, uint64_t{1} << 39}));
  done(huge->Sync());
  WriteSome(*Make(store, "gone", 16 * kKiB), 0, 16 * kKiB, 7);
  done(store.TakeSnapshot("gone", "kept", kRoot));
  done(store.Delete("gone", kRoot));
  CreateRequest native;
  native.name = "native";
  native.size_bytes = 12 * kKiB;
  native.native = true;
  const auto raw = store.Create(native, kRoot);
  done(raw);
  WriteSome(*raw.value(), 0, 12 * kKiB, 8);
  WriteSome(*Make(store, "whole", 20 * kKiB, 1), 0, 20 * kKiB, 9);
  done(store.Clone({.source = "plain", .name = "half", .node = "b", .verify = true}, kRoot));
  WriteSome(*store.Find("half"), 5 * kKiB, 9 * kKiB, 10);
  done(store.Clone({.source = "whole", .name = "own", .node = "b"}, kRoot));
}

StoreTemplate& Template() {
  static StoreTemplate made(Fill);
  return made;
}

// --- changing it ---------------------------------------------------------------------------------

// Ids of the changed rows, before and after the change. The contents of a volume without any of
// these are known.
struct Touched {
  bool everything = false;
  std::set<uint64_t> ids;
  std::set<uint64_t> files;  // the layers whose files were changed
};

class Changer {
 public:
  explicit Changer(Decisions& decisions) : in_(decisions) {
    for (const int node : {0, 1}) {
      tables_[node] = Template().tables(node);
      for (const auto& [name, table] : tables_[node]) {
        for (const auto& row : table.rows) Collect(row);
      }
    }
  }

  Touched Change() {
    for (int i = 0; i < 5 && !in_.empty(); ++i) {
      if (in_.Below(8) == 0) {
        file_changes_.push_back({in_.Byte(), in_.Byte(), in_.Byte(), in_.Byte()});
      } else {
        ChangeRow();
      }
    }
    for (const int node : {0, 1}) {
      if (!changed_[node]) continue;
      for (const auto& [name, table] : SaveTables(Template().CatalogPath(node), tables_[node])) {
        for (const Row& row : table.rows) Touch(name, row);
      }
    }
    for (const auto& what : file_changes_) ChangeFile(what);
    return touched_;
  }

 private:
  using Row = std::vector<Cell>;

  void Collect(const Row& row) {
    for (const Cell& cell : row) {
      if (const int64_t* const value = std::get_if<int64_t>(&cell)) {
        numbers_.insert(*value);
      } else if (const auto* const text = std::get_if<std::string>(&cell)) {
        texts_.insert(*text);
      }
    }
  }

  void Touch(const std::string& table, const Row& row) {
    static const std::set<std::string> kOfAll{"node", "meta", "peers", "volume_types", "settings"};
    if (kOfAll.contains(table)) touched_.everything = true;
    for (const Cell& cell : row) {
      const int64_t* const value = std::get_if<int64_t>(&cell);
      if (value != nullptr && *value > 0 && (*value & 0xff) == 0) {
        touched_.ids.insert(static_cast<uint64_t>(*value));
      }
    }
  }

  void ChangeRow() {
    static constexpr const char* kTables[] = {"layers",   "volumes",  "snapshots",    "clones",
                                              "holds",    "presence", "settings",     "layers",
                                              "volumes",  "clones",   "peers",        "node",
                                              "presence", "layers",   "volume_types", "meta"};
    const int node = static_cast<int>(in_.Below(2));
    const std::string name = kTables[in_.Below(std::size(kTables))];
    RowTable& table = tables_[node][name];
    if (table.rows.empty()) return;
    changed_[node] = true;
    const size_t at = in_.Below(table.rows.size());
    Touch(name, table.rows[at]);
    switch (in_.Below(8)) {
      case 0:
        table.rows.erase(table.rows.begin() + static_cast<std::ptrdiff_t>(at));
        return;
      case 1: {
        Row copy = table.rows[at];
        ChangeCell(copy.front());
        table.rows.push_back(copy);
        Touch(name, copy);
        return;
      }
      case 2: {  // a row of the other node
        const RowTable& other = Template().tables(1 - node).at(name);
        if (other.rows.empty()) return;
        table.rows.push_back(other.rows[in_.Below(other.rows.size())]);
        Touch(name, table.rows.back());
        return;
      }
      default:
        ChangeCell(table.rows[at][in_.Below(table.rows[at].size())]);
        Touch(name, table.rows[at]);
    }
  }

  void ChangeCell(Cell& cell) {
    if (int64_t* const value = std::get_if<int64_t>(&cell)) {
      *value = NewNumber(*value);
    } else if (auto* const text = std::get_if<std::string>(&cell)) {
      *text = NewText(*text);
    } else {
      ChangeBits(std::get<std::vector<uint8_t>>(cell));
    }
  }

  int64_t NewNumber(int64_t old) {
    static constexpr int64_t kSpecial[] = {0,
                                           1,
                                           2,
                                           3,
                                           4,
                                           -1,
                                           4095,
                                           4096,
                                           256,
                                           int64_t{1} << 31,
                                           int64_t{1} << 32,
                                           int64_t{1} << 40,
                                           int64_t{1} << 42,
                                           int64_t{1} << 62,
                                           static_cast<int64_t>(kMaxVolumeBytes),
                                           std::numeric_limits<int64_t>::max(),
                                           std::numeric_limits<int64_t>::min()};
    switch (in_.Below(6)) {
      case 0:
        return kSpecial[in_.Below(std::size(kSpecial))];
      case 1: {
        const auto by = static_cast<uint64_t>(kSpecial[in_.Below(std::size(kSpecial))]);
        return static_cast<int64_t>(static_cast<uint64_t>(old) + by);
      }
      case 2:
        return static_cast<int64_t>(static_cast<uint64_t>(old) ^ uint64_t{1} << in_.Below(64));
      case 3:
        return static_cast<int64_t>(in_.Number());
      default: {  // a number that has a meaning elsewhere
        auto number = numbers_.begin();
        std::advance(number, in_.Below(numbers_.size()));
        return *number;
      }
    }
  }

  std::string NewText(const std::string& old) {
    if (in_.Below(3) == 0) return in_.Text(40);
    if (in_.Below(8) == 0) return old + std::string(70'000, 'x');
    auto text = texts_.begin();
    std::advance(text, in_.Below(texts_.size()));
    return *text;
  }

  void ChangeBits(std::vector<uint8_t>& bits) {
    if (bits.empty() || in_.Below(8) == 0) {
      bits.resize(in_.Below(2048), in_.Byte());
      return;
    }
    for (size_t n = in_.Below(8) + 1; n > 0; --n) {
      bits[in_.Below(std::min<size_t>(bits.size(), 65536))] = in_.Byte();
    }
  }

  void ChangeFile(const std::array<uint8_t, 4>& what) {
    const int node = what[0] % 2;
    const fs::path top = Template().NodePath(node);
    std::vector<fs::path> files;
    for (const auto& entry : fs::directory_iterator(top / "layers")) files.push_back(entry.path());
    std::sort(files.begin(), files.end());
    const bool of_layer = what[0] / 2 % 4 != 0 && !files.empty();
    const fs::path path = of_layer ? files[what[1] % files.size()] : top / "catalog.db";
    if (of_layer) {
      const uint64_t layer = std::strtoull(path.filename().c_str(), nullptr, 16);
      touched_.ids.insert(layer);
      touched_.files.insert(layer);
    } else {
      touched_.everything = true;
    }
    std::error_code none;
    const uint64_t size =
        fs::is_regular_file(fs::symlink_status(path)) ? fs::file_size(path, none) : 0;
    switch (what[2] % 10) {
      case 0:
        fs::resize_file(path, size * what[3] / 256, none);
        break;
      case 1:
        fs::resize_file(path, size + (uint64_t{what[3]} << 8) + 1, none);
        break;
      case 2:
        fs::remove_all(path, none);
        break;
      case 3:
        fs::remove_all(path, none);
        fs::create_symlink(top / "lock", path, none);
        break;
      case 4:
        fs::remove_all(path, none);
        ::mkfifo(path.c_str(), 0600);
        break;
      case 5:
        fs::remove_all(path, none);
        fs::create_directories(path / "below", none);
        break;
      case 6:
        fs::create_hard_link(path, top / "second", none);
        break;
      case 7:
        std::ofstream(top / "layers" / (what[3] % 2 == 0 ? "notes" : "0000000000123400")) << "x";
        break;
      case 8:
        Overwrite(path, size * what[3] / 256, 1 + what[1] % 3 * 4095);
        break;
      default:
        fs::permissions(path, fs::perms::none, none);
    }
  }

  static void Overwrite(const fs::path& path, uint64_t at, size_t length) {
    if (!fs::is_regular_file(fs::symlink_status(path))) return;
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(static_cast<std::streamoff>(at));
    file << std::string(length, static_cast<char>(at * 37 + length));
  }

  Decisions& in_;
  RowTables tables_[2];
  bool changed_[2] = {false, false};
  std::set<int64_t> numbers_;
  std::set<std::string> texts_;
  std::vector<std::array<uint8_t, 4>> file_changes_;
  Touched touched_;
};

// --- looking at it -------------------------------------------------------------------------------

struct Shown {
  bool refused = false;  // because of its rows
  std::string error;     // empty, or why it could not be read
  uint64_t size_bytes = 0;
  std::string bytes;  // of its beginning and its end
  friend bool operator==(const Shown&, const Shown&) = default;
};

struct Seen {
  std::string error;  // why there was no store
  std::map<std::string, Shown> images;
  bool doubtful[2] = {false, false};  // from the beginning: presence is only read with its volume
  std::string why;                    // why the mount refuses something; empty if it does not
};

template <typename Read>
void ReadEnds(Shown& shown, const Read& read) {
  for (const uint64_t from :
       {uint64_t{0}, shown.size_bytes - std::min<uint64_t>(shown.size_bytes, kMaxRead)}) {
    std::vector<std::byte> bytes(std::min<uint64_t>(shown.size_bytes - from, kMaxRead));
    const auto done = read(std::span<std::byte>(bytes), from);
    if (!done.ok()) shown.error = done.error().message;
    if (!shown.error.empty()) return;
    shown.bytes.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }
}

Shown LookAt(Store& store, Volume& volume) {
  Shown shown;
  shown.size_bytes = volume.size_bytes();
  ReadEnds(shown, [&](std::span<std::byte> out, uint64_t at) { return volume.ReadAt(out, at); });
  const auto map = store.Map(volume);
  Require(!volume.state().refused() || !map.ok(), "a refused volume has no map");
  (void)volume.SeekData(0);
  shown.refused = volume.state().refused();
  const VolumeInfo info = store.Info(volume);
  Require(!shown.refused || info.status == "error", "a refused volume is in error");
  Require(!shown.refused || !info.error.empty(), "... and says why");
  Require(!shown.refused || !shown.error.empty(), "... and shows nothing");
  return shown;
}

// Rewrites some of the volume's first bytes unchanged: only the way they are stored changes.
void WriteTheSame(Volume& volume, const Shown& shown) {
  if (!shown.error.empty() || shown.size_bytes < 5000) return;
  const auto* const bytes = reinterpret_cast<const std::byte*>(shown.bytes.data());
  if (!volume.opens().Add(Volume::Access::kWrite).ok()) return;
  (void)volume.WriteAt({bytes + 100, 4800}, 100);
  (void)volume.Sync();
  volume.opens().Remove(Volume::Access::kWrite);
}

// Returns the ids on which the contents of each image of the template depend.
std::map<std::string, std::set<uint64_t>> Dependences();
bool IsTouched(const Touched& touched, const std::string& image);

Seen Mount(const Touched& touched, bool merge) {
  Seen seen;
  const auto opened = Template().Open(merge);
  if (!opened.ok()) {
    seen.error = opened.error().message;
    return seen;
  }
  Store& store = *opened.value();
  const auto is_doubtful = [&](int node) {
    return store.Nodes()[static_cast<size_t>(node)].state.starts_with("doubtful");
  };
  for (const int node : {0, 1}) seen.doubtful[node] = is_doubtful(node);
  for (const auto& volume : store.Volumes()) {
    const std::string name = volume->name();
    const Shown& shown = seen.images[name] = LookAt(store, *volume);
    if (!IsTouched(touched, name)) WriteTheSame(*volume, shown);
  }
  for (const auto& directory : store.SnapshotDirectories()) {
    for (const SnapshotInfo& info : store.Snapshots(directory.volume)) {
      Shown& shown = seen.images[directory.name + "@" + info.name];
      shown.size_bytes = info.size_bytes;
      const auto image = store.OpenSnapshotImage(info.id);
      if (!image.ok()) {
        shown.error = image.error().message;
        shown.refused = image.error().code == Errc::kCorrupt;
        continue;
      }
      ReadEnds(shown, [&](std::span<std::byte> out, uint64_t at) {
        return image.value()->image().ReadAt(out, at);
      });
    }
  }
  for (const int node : {0, 1}) {
    if (is_doubtful(node)) seen.why = store.Nodes()[static_cast<size_t>(node)].state;
  }
  for (const auto& [image, shown] : seen.images) {
    if (shown.refused) seen.why = StrCat(image, ": ", shown.error);
  }
  return seen;
}

const Seen& Expected() {
  static const Seen expected = [] {
    Template().Restore();
    return Mount({.everything = true, .ids = {}, .files = {}}, false);
  }();
  return expected;
}

std::map<std::string, std::set<uint64_t>> Dependences() {
  std::map<std::string, std::set<uint64_t>> of_image;
  std::map<uint64_t, uint64_t> parents;
  const auto id = [](const Cell& cell) { return static_cast<uint64_t>(std::get<int64_t>(cell)); };
  for (const int node : {0, 1}) {
    for (const auto& row : Template().tables(node).at("layers").rows) {
      parents[id(row[0])] = id(row[1]);
    }
  }
  std::map<uint64_t, std::string> names;
  const auto add = [&](const std::string& image, uint64_t own, uint64_t layer) {
    std::set<uint64_t>& ids = of_image[image];
    ids.insert(own);
    for (; layer != 0; layer = parents.at(layer)) ids.insert(layer);
  };
  for (const int node : {0, 1}) {
    for (const auto& row : Template().tables(node).at("volumes").rows) {
      names[id(row[0])] = std::get<std::string>(row[1]);
      add(names[id(row[0])], id(row[0]), id(row[2]));
    }
  }
  for (const int node : {0, 1}) {
    for (const auto& row : Template().tables(node).at("snapshots").rows) {
      const std::string image = names.at(id(row[1])) + "@" + std::get<std::string>(row[2]);
      add(image, id(row[0]), id(row[3]));
      of_image[image].insert(id(row[1]));
    }
  }
  return of_image;
}

bool IsTouched(const Touched& touched, const std::string& image) {
  static const auto dependences = Dependences();
  if (touched.everything) return true;
  const auto found = dependences.find(image);
  if (found == dependences.end()) return true;
  return std::any_of(found->second.begin(), found->second.end(),
                     [&](uint64_t id) { return touched.ids.contains(id); });
}

void CheckUntouched(const Seen& seen, const Touched& touched) {
  for (const auto& [image, expected] : Expected().images) {
    if (!seen.error.empty() || IsTouched(touched, image)) continue;
    const auto found = seen.images.find(image);
    Require(found != seen.images.end(), "what was not changed is listed: " + image);
    Require(found->second.refused || found->second == expected,
            StrCat("what was not changed reads right: ", image, " ", found->second.error));
  }
}

// Returns whether each block of `before`, except holes, has the same bytes in `now`.
bool Holds(const FileBytes& now, const FileBytes& before) {
  for (const auto& [from, data] : before.data) {
    for (size_t at = 0; at < data.size(); at += kDefaultBlockSize) {
      const std::string block = data.substr(at, kDefaultBlockSize);
      if (block.find_first_not_of('\0') == std::string::npos) continue;
      auto kept = now.data.upper_bound(from + at);
      if (kept == now.data.begin()) return false;
      --kept;
      const uint64_t within = from + at - kept->first;
      if (within >= kept->second.size()) return false;
      if (kept->second.compare(within, block.size(), block) != 0) return false;
    }
  }
  return true;
}

// Copying may write to a changed file, in blocks that its layer does not have.
void CheckNothingFreed(const Files& before, int node, const Touched& touched) {
  const Files after = FilesOf(Template().NodePath(node));
  for (const auto& [path, bytes] : before) {
    if (path.find("/layers/") == std::string::npos) continue;
    const auto found = after.find(path);
    Require(found != after.end(), "a file of a doubtful node is kept");
    const std::string file = path.substr(path.rfind("/") + 1);
    if (touched.files.contains(std::strtoull(file.c_str(), nullptr, 16))) continue;
    Require(Holds(found->second, bytes), "a block of a doubtful node is kept");
  }
}

bool CheckFindsDamage() {
  std::vector<std::unique_ptr<Node>> nodes;
  std::vector<Node*> pointers;
  for (const int node : {0, 1}) {
    auto directory = OpenPosixNode(Template().NodePath(node));
    if (!directory.ok()) return true;
    auto opened = Node::Open(std::move(directory.value()));
    if (!opened.ok()) return true;
    nodes.push_back(std::move(opened.value()));
    pointers.push_back(nodes.back().get());
  }
  const auto found = CheckNodes(pointers, {});
  return !found.ok() ||
         std::any_of(found.value().begin(), found.value().end(), [](const Finding& finding) {
           return finding.weight == Finding::Weight::kDamage;
         });
}

void CheckSecond(const Seen& first, const Seen& second) {
  Require(first.error.empty() == second.error.empty(),
          StrCat("the second mount ends as the first: ", first.error, second.error));
  for (const auto& [image, shown] : first.images) {
    const auto found = second.images.find(image);
    Require(found != second.images.end(), "the second mount lists the same: " + image);
    Require(found->second.refused == shown.refused,
            StrCat("the second mount refuses the same: ", image, " ", shown.error));
    if (shown.error.empty()) {
      Require(found->second == shown, "the second mount shows the same: " + image);
    }
  }
}

}  // namespace

void store(Input input) {
  (void)Expected();
  Template().Restore();
  Decisions decisions(input);
  const bool merge = decisions.Below(4) == 0;
  const Touched touched = Changer(decisions).Change();
  const Files before[] = {FilesOf(Template().NodePath(0)), FilesOf(Template().NodePath(1))};
  const Seen first = Mount(touched, merge);
  CheckUntouched(first, touched);
  for (const int node : {0, 1}) {
    if (first.doubtful[node]) CheckNothingFreed(before[node], node, touched);
  }
  if (!first.why.empty()) Require(CheckFindsDamage(), "the check finds " + first.why);
  const Seen second = Mount(touched, false);
  CheckUntouched(second, touched);
  CheckSecond(first, second);
  for (const int node : {0, 1}) {
    if (first.doubtful[node]) CheckNothingFreed(before[node], node, touched);
  }
  (void)CheckFindsDamage();  // must return after any change
}

}  // namespace volfs::fuzz
