// Runs any sequence of operations on small volumes of two nodes, and compares the results with the
// required ones: the bytes of every volume and snapshot, now and after a remount, and the findings
// of the check.
#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "blockstore/check/check.h"
#include "tests/fuzz/fuzz_targets.h"
#include "tests/fuzz/store_template.h"

namespace volfs::fuzz {
namespace {

constexpr uint64_t kMaxBytes = 100'000;
const Caller kRoot;
using Bytes = std::vector<uint8_t>;

StoreTemplate& Template() {
  static StoreTemplate made([](Store&) {});
  return made;
}

class Sequence {
 public:
  explicit Sequence(Input input) : in_(input) {
    hydrate_ = in_.Below(4) == 0;
    merge_ = in_.Below(2) == 0;
    Template().Restore();
    Open();
  }

  void Run() {
    for (int steps = 0; steps < 60 && !in_.empty(); ++steps) Step();
    CompareAll();
    Reopen();
    CompareAll();
    CheckStore();
  }

 private:
  void Open() {
    auto opened = Template().Open(merge_, hydrate_);
    Require(opened.ok(), "the store can be opened");
    store_ = std::move(opened.value());
  }
  void Reopen() {
    store_.reset();
    Open();
  }

  std::string AnyVolume() { return "v" + std::to_string(in_.Below(4)); }
  std::string AnySnapshot() { return "s" + std::to_string(in_.Below(3)); }
  uint64_t AnyOffset() {  // often at a block's or a volume's edge
    const uint64_t block = in_.Below(25) * 4096;
    return in_.Below(3) == 0 ? block + in_.Below(4096) : block;
  }

  // Accepts only an error that says that the request is impossible, and only if it changed nothing.
  static bool Done(const Status& status) {
    if (status.ok()) return true;
    const Errc code = status.error().code;
    Require(code != Errc::kIo && code != Errc::kCorrupt && code != Errc::kReadOnly,
            status.error().message);
    return false;
  }
  template <typename T>
  static bool Done(const Result<T>& result) {
    return result.ok() || Done(Status(result.error()));
  }

  void Step() {
    switch (in_.Below(16)) {
      case 0:
        return Create();
      case 1:
      case 2:
      case 3:
      case 4:
        return Write();
      case 5:
        return Discard();
      case 6:
        return Resize();
      case 7:
      case 8:
        return Snapshot();
      case 9:
      case 10:
        return Clone();
      case 11:
        return Revert();
      case 12:
        return Delete();
      case 13:
        return DeleteSnapshot();
      case 14:
        return Share();
      default:
        if (in_.Below(4) == 0) return CompareAll();
        if (in_.Below(2) == 0) return Reopen();
        for (const auto& volume : store_->Volumes())
          Require(volume->Sync().ok(), "a sync succeeds");
    }
  }

  void Create() {
    CreateRequest request;
    request.name = AnyVolume();
    request.size_bytes = AnyOffset();
    request.node = in_.Below(2) == 0 ? "a" : "b";
    if (Done(store_->Create(request, kRoot))) volumes_[request.name].resize(*request.size_bytes);
  }

  void Write() {
    const std::string name = AnyVolume();
    const auto volume = store_->Find(name);
    if (volume == nullptr) return;
    const uint64_t offset = AnyOffset();
    const size_t length = in_.Below(4) == 0 ? in_.Below(20'000) : (in_.Below(3) + 1) * 4096;
    if (offset + length > kMaxBytes) return;
    const uint8_t seed = in_.Byte();
    std::vector<std::byte> data(length);
    for (size_t i = 0; i < length; ++i) data[i] = static_cast<std::byte>(seed + i / 512);
    Require(volume->WriteAt(data, offset).ok(), "a write succeeds");
    if (length == 0) return;
    Bytes& model = volumes_.at(name);
    model.resize(std::max<size_t>(model.size(), offset + length));
    for (size_t i = 0; i < length; ++i) model[offset + i] = static_cast<uint8_t>(data[i]);
    Compare(name);
  }

  void Discard() {
    const std::string name = AnyVolume();
    const auto volume = store_->Find(name);
    if (volume == nullptr) return;
    const uint64_t offset = AnyOffset();
    const uint64_t length = AnyOffset();
    Require(volume->Discard({offset, length}).ok(), "a discard succeeds");
    Bytes& model = volumes_.at(name);
    const uint64_t end = std::min<uint64_t>(model.size(), offset + length);
    for (uint64_t i = offset; i < end; ++i) model[i] = 0;
    Compare(name);
  }

  void Resize() {
    const std::string name = AnyVolume();
    const uint64_t bytes = AnyOffset();
    if (Done(store_->Resize(name, bytes, kRoot))) volumes_.at(name).resize(bytes);
  }

  void Snapshot() {
    const std::string name = AnyVolume();
    const std::string snapshot = AnySnapshot();
    if (Done(store_->TakeSnapshot(name, snapshot, kRoot))) {
      snapshots_[name + "@" + snapshot] = volumes_.at(name);
    }
  }

  void Clone() {
    CloneRequest request;
    request.source = AnyVolume();
    if (in_.Below(2) == 0) request.snapshot = AnySnapshot();
    request.name = AnyVolume();
    request.linked = in_.Below(2) == 0;
    if (!request.linked) request.node = in_.Below(2) == 0 ? "a" : "b";
    request.verify = !request.linked && in_.Below(4) == 0;
    if (!Done(store_->Clone(request, kRoot))) return;
    volumes_[request.name] = request.snapshot.empty()
                                 ? volumes_.at(request.source)
                                 : snapshots_.at(request.source + "@" + request.snapshot);
    Compare(request.name);
  }

  void Revert() {
    const std::string name = AnyVolume();
    const std::string snapshot = AnySnapshot();
    if (!Done(store_->Revert(name, snapshot, kRoot))) return;
    volumes_.at(name) = snapshots_.at(name + "@" + snapshot);
    Compare(name);
  }

  void Delete() {
    const std::string name = AnyVolume();
    if (Done(store_->Delete(name, kRoot))) volumes_.erase(name);
  }

  void DeleteSnapshot() {
    const std::string name = AnyVolume();
    const std::string snapshot = AnySnapshot();
    if (Done(store_->DeleteSnapshot(name, snapshot, kRoot))) {
      snapshots_.erase(name + "@" + snapshot);
    }
  }

  void Share() {
    const std::string from = AnyVolume();
    const std::string to = AnyVolume();
    const auto source = store_->Find(from);
    const auto target = store_->Find(to);
    if (source == nullptr || target == nullptr || !store_->MayShare(*source, *target)) return;
    const Bytes shared = volumes_.at(from);
    const auto pin = store_->PinSnapshotPoint(source);
    if (!Done(pin)) return;
    for (size_t calls = in_.Below(3) + 1; calls > 0; --calls) {
      const uint64_t first = in_.Below(25) * 4096;
      const uint64_t end = std::min<uint64_t>(shared.size(), first + (in_.Below(6) + 1) * 4096);
      if (first >= end) return;
      if (!Done(store_->Share(pin.value(), target, {first, end - first}))) return;
      Bytes& model = volumes_.at(to);
      model.resize(std::max<size_t>(model.size(), end));
      std::copy(shared.begin() + static_cast<std::ptrdiff_t>(first),
                shared.begin() + static_cast<std::ptrdiff_t>(end),
                model.begin() + static_cast<std::ptrdiff_t>(first));
      Compare(to);
    }
  }

  template <typename Read>
  static void ExpectBytes(const Bytes& model, uint64_t size_bytes, const Read& read,
                          const std::string& name) {
    Require(size_bytes == model.size(), name + " has its size");
    Bytes bytes(model.size());
    const auto done = read(std::as_writable_bytes(std::span(bytes)));
    Require(done.ok(), name + " can be read");
    Require(bytes == model, name + " has its bytes");
  }

  void Compare(const std::string& name) {
    const auto volume = store_->Find(name);
    Require(volume != nullptr, name + " is there");
    ExpectBytes(
        volumes_.at(name), volume->size_bytes(),
        [&](std::span<std::byte> out) { return volume->ReadAt(out, 0); }, name);
  }

  void CompareAll() {
    Require(store_->Volumes().size() == volumes_.size(), "there is no other volume");
    for (const auto& [name, model] : volumes_) Compare(name);
    size_t snapshots = 0;
    for (const auto& directory : store_->SnapshotDirectories()) {
      for (const SnapshotInfo& info : store_->Snapshots(directory.volume)) {
        ++snapshots;
        const std::string name = directory.name + "@" + info.name;
        const auto image = store_->OpenSnapshotImage(info.id);
        Require(image.ok() && snapshots_.contains(name), name + " can be opened");
        ExpectBytes(
            snapshots_.at(name), info.size_bytes,
            [&](std::span<std::byte> out) { return image.value()->image().ReadAt(out, 0); }, name);
      }
    }
    Require(snapshots == snapshots_.size(), "all snapshots are there, and no other");
  }

  void CheckStore() {
    for (const auto& volume : store_->Volumes()) Require(volume->Sync().ok(), "a sync succeeds");
    std::vector<Node*> nodes;
    for (const auto& node : store_->nodes()) {
      nodes.push_back(node.get());
      Require(node->trusted(), "a store that was only used is trusted");
    }
    if (hydrate_ || merge_) return;  // background work stops between two commits
    const auto found = CheckNodes(nodes, {});
    Require(found.ok(), "the check can be done");
    for (const Finding& finding : found.value()) {
      Require(finding.weight == Finding::Weight::kTidy, finding.text);
    }
  }

  Decisions in_;
  bool hydrate_ = false;
  bool merge_ = false;
  std::unique_ptr<Store> store_;
  std::map<std::string, Bytes> volumes_;
  std::map<std::string, Bytes> snapshots_;  // by "volume@snapshot"
};

}  // namespace

void sequence(Input input) { Sequence(input).Run(); }

}  // namespace volfs::fuzz
