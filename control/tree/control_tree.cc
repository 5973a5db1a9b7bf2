#include "control/tree/control_tree.h"

#include <algorithm>
#include <utility>
#include <variant>

#include "blockstore/base/memory.h"
#include "blockstore/base/str_cat.h"
#include "control/text/name.h"
#include "control/tree/control_file.h"
#include "control/tree/control_view.h"
#include "control/tree/diff_place.h"
#include "control/tree/fields.h"
#include "control/tree/fixed_entry.h"
#include "control/tree/place.h"

namespace volfs {
namespace {

Error NotFound(std::string_view what) {
  return Error{Errc::kNotFound, StrCat("control: there is no ", what)};
}

Result<Place> PlaceOf(Result<DiffPlace> diff) {
  if (!diff.ok()) return diff.error();
  return Place(std::move(diff.value()));
}

// As stat and a listing show it.
struct Describe {
  ControlView& view;

  ControlEntry operator()(const FixedEntry* entry) const { return DescribeFixed(*entry, view); }
  ControlEntry operator()(const DiffPlace& place) const {
    const ControlState& state = view.state();
    return DescribeDiff(place, state.store, state.config, state.started_ns);
  }
  template <typename PlaceT>
  ControlEntry operator()(const PlaceT& place) const {
    const ControlConfig& config = view.state().config;
    const bool directory = IsDirectoryFacet(place.facet);
    ControlEntry entry;
    entry.ino = InoOf(place);
    entry.name = NameOf(place);
    entry.directory = directory;
    entry.mode = directory ? 0555 : IsWritable(place) ? 0644 : 0444;
    entry.uid = config.uid;
    entry.gid = config.gid;
    entry.size_bytes = TextOf(place, view).size();
    entry.mtime_ns = view.state().started_ns;
    return entry;
  }
};

}  // namespace

class ControlTree::Impl {
 public:
  Impl(Store& store, ControlConfig config) : state_(store, std::move(config)) {
    store.events().SetListener(
        [feed = state_.feed](const StoreEvent& event) { feed->Deliver(event); });
  }
  ~Impl() {
    state_.feed->SetEventCallback(nullptr);
    state_.feed->SetActivityCallback(nullptr);
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  ControlState& state() { return state_; }

  Result<Place> Find(uint64_t ino);
  Result<Place> FindIn(uint64_t parent, std::string_view name);
  Result<std::shared_ptr<OpenDiff>> OpenDiffImage(uint64_t ino);
  std::vector<Place> Children(const Place& directory);
  Result<std::unique_ptr<ControlFile>> Open(const Place& place, const Caller& caller);
  static bool Writable(const Place& place);
  static bool IsDirectory(const Place& place);

 private:
  Node* FindNode(Id id);
  Node* FindNode(std::string_view name);
  // As Store::FindSnapshotDirectory.
  template <typename IdOrName>
  std::optional<Place> FindSnapshots(const IdOrName& volume);
  Result<Place> FindInFixed(uint64_t parent, std::string_view name);
  static Result<Place> FindInVolume(const VolumePlace& directory, std::string_view name);
  Result<Place> FindSnapshotIn(const SnapshotsPlace& directory, std::string_view name);
  static Result<Place> FindInSnapshot(const SnapshotPlace& directory, std::string_view name);
  static Result<Place> FindInNode(const NodePlace& directory, std::string_view name);
  std::vector<Place> ChildrenOfFixed(const FixedEntry& directory);
  static std::vector<Place> ChildrenOfVolume(const VolumePlace& directory);
  std::vector<Place> SnapshotsIn(const SnapshotsPlace& directory);
  static std::vector<Place> ChildrenOfSnapshot(const SnapshotPlace& directory);
  static std::vector<Place> ChildrenOfNode(const NodePlace& directory);
  Result<std::unique_ptr<ControlFile>> OpenVolumeFile(const VolumePlace& place,
                                                      HeldTexts::Text text);
  Result<std::unique_ptr<ControlFile>> OpenFixed(const FixedEntry& entry, const Caller& caller);

  ControlState state_;
};

// ---- finding

Node* ControlTree::Impl::FindNode(Id id) {
  for (const std::unique_ptr<Node>& node : state_.store.nodes()) {
    if (node->id() == id) return node.get();
  }
  return nullptr;
}

Node* ControlTree::Impl::FindNode(std::string_view name) {
  for (const std::unique_ptr<Node>& node : state_.store.nodes()) {
    if (node->name() == name) return node.get();
  }
  return nullptr;
}

template <typename IdOrName>
std::optional<Place> ControlTree::Impl::FindSnapshots(const IdOrName& volume) {
  std::optional<SnapshotDirectory> found = state_.store.FindSnapshotDirectory(volume);
  if (!found) return std::nullopt;
  return Place(SnapshotsPlace{*std::move(found)});
}

Result<Place> ControlTree::Impl::Find(uint64_t ino) {
  if (const FixedEntry* entry = FindFixed(ino)) return Place(entry);
  if (IsDiffIno(ino)) return PlaceOf(FindDiff(state_.store, ino));
  const Id id = inode::IdOf(ino);
  const uint64_t facet = inode::FacetOf(ino);
  if (id == kNoId) return NotFound("such file");
  if (Node* node = FindNode(id); node != nullptr && KnowsNodeFacet(facet)) {
    return Place(NodePlace{node, facet});
  }
  if (facet == kSnapshotsOf) {
    if (std::optional<Place> directory = FindSnapshots(id)) return *std::move(directory);
  }
  if (std::optional<SnapshotInfo> snapshot = state_.store.FindSnapshot(id);
      snapshot && KnowsSnapshotFacet(facet)) {
    return Place(SnapshotPlace{*std::move(snapshot), facet});
  }
  std::shared_ptr<Volume> volume = state_.store.Find(id);
  if (volume == nullptr || !KnowsVolumeFacet(facet)) return NotFound("such volume any more");
  return Place(VolumePlace{std::move(volume), facet});
}

Result<Place> ControlTree::Impl::FindIn(uint64_t parent, std::string_view name) {
  ASSIGN_OR_RETURN(const Place directory, Find(parent));
  if (const auto* volume = std::get_if<VolumePlace>(&directory)) return FindInVolume(*volume, name);
  if (const auto* snapshots = std::get_if<SnapshotsPlace>(&directory)) {
    return FindSnapshotIn(*snapshots, name);
  }
  if (const auto* snapshot = std::get_if<SnapshotPlace>(&directory)) {
    return FindInSnapshot(*snapshot, name);
  }
  if (const auto* node = std::get_if<NodePlace>(&directory)) return FindInNode(*node, name);
  if (const auto* diff = std::get_if<DiffPlace>(&directory)) {
    return PlaceOf(FindInDiff(state_.store, *diff, name));
  }
  return FindInFixed(parent, name);
}

Result<Place> ControlTree::Impl::FindInFixed(uint64_t parent, std::string_view name) {
  if (const FixedEntry* entry = FindFixed(parent, name)) return Place(entry);
  if (parent == inode::kControlNodes) {
    if (Node* node = FindNode(name)) return Place(NodePlace{node, inode::kControlDirectory});
  } else if (parent == inode::kControlDiff) {
    return PlaceOf(FindDiffVolume(state_.store, name));
  } else if (parent == inode::kControlSnapshots) {
    if (std::optional<Place> directory = FindSnapshots(name)) return *std::move(directory);
  } else if (parent == inode::kControlVolumes || parent == inode::kWatchVolumes) {
    const bool watch = parent == inode::kWatchVolumes;
    if (std::shared_ptr<Volume> volume = state_.store.Find(std::string(name))) {
      return Place(VolumePlace{std::move(volume), watch ? kVolumeWatch : inode::kControlDirectory});
    }
  }
  return NotFound(Printable(name));
}

Result<Place> ControlTree::Impl::FindInVolume(const VolumePlace& directory, std::string_view name) {
  if (directory.facet != inode::kControlDirectory) return NotFound(Printable(name));
  if (name == kInfoJsonName) return Place(VolumePlace{directory.volume, kInfoJson});
  if (name == kMapName) return Place(VolumePlace{directory.volume, kMap});
  const VolumeField* field = FindField(VolumeFields(), name);
  if (field == nullptr) return NotFound(Printable(name));
  return Place(VolumePlace{directory.volume, field->facet});
}

Result<Place> ControlTree::Impl::FindSnapshotIn(const SnapshotsPlace& directory,
                                                std::string_view name) {
  const Id id = state_.store.SnapshotId(directory.directory.name, std::string(name));
  std::optional<SnapshotInfo> snapshot = state_.store.FindSnapshot(id);
  if (!snapshot) return NotFound(Printable(name));
  return Place(SnapshotPlace{*std::move(snapshot), inode::kControlDirectory});
}

Result<Place> ControlTree::Impl::FindInSnapshot(const SnapshotPlace& directory,
                                                std::string_view name) {
  if (directory.facet != inode::kControlDirectory) return NotFound(Printable(name));
  if (name == kInfoJsonName) return Place(SnapshotPlace{directory.snapshot, kInfoJson});
  if (name == kMapName) return Place(SnapshotPlace{directory.snapshot, kMap});
  const SnapshotField* field = FindField(SnapshotFields(), name);
  if (field == nullptr) return NotFound(Printable(name));
  return Place(SnapshotPlace{directory.snapshot, field->facet});
}

Result<Place> ControlTree::Impl::FindInNode(const NodePlace& directory, std::string_view name) {
  const NodeField* field =
      directory.facet == inode::kControlDirectory ? FindField(NodeFields(), name) : nullptr;
  if (field == nullptr) return NotFound(Printable(name));
  return Place(NodePlace{directory.node, field->facet});
}

// ---- listing

bool ControlTree::Impl::IsDirectory(const Place& place) {
  if (const auto* fixed = std::get_if<const FixedEntry*>(&place)) {
    return (*fixed)->kind == FixedKind::kDirectory;
  }
  if (const auto* diff = std::get_if<DiffPlace>(&place)) return diff->directory();
  return std::visit(
      [](const auto& of) {
        if constexpr (requires { of.facet; }) return IsDirectoryFacet(of.facet);
        return false;
      },
      place);
}

std::vector<Place> ControlTree::Impl::Children(const Place& directory) {
  if (const auto* volume = std::get_if<VolumePlace>(&directory)) return ChildrenOfVolume(*volume);
  if (const auto* of = std::get_if<SnapshotsPlace>(&directory)) return SnapshotsIn(*of);
  if (const auto* of = std::get_if<SnapshotPlace>(&directory)) return ChildrenOfSnapshot(*of);
  if (const auto* node = std::get_if<NodePlace>(&directory)) return ChildrenOfNode(*node);
  if (std::holds_alternative<DiffPlace>(directory)) return {};  // they are looked up by name
  return ChildrenOfFixed(*std::get<const FixedEntry*>(directory));
}

// The volumes below watch/ are not listed, as nothing that blocks is.
std::vector<Place> ControlTree::Impl::ChildrenOfFixed(const FixedEntry& directory) {
  std::vector<Place> places;
  for (const FixedEntry& entry : FixedEntries()) {
    if (entry.parent == directory.ino && entry.listing == Listing::kShown)
      places.emplace_back(&entry);
  }
  if (directory.ino == inode::kControlNodes) {
    for (const std::unique_ptr<Node>& node : state_.store.nodes()) {
      places.emplace_back(NodePlace{node.get(), inode::kControlDirectory});
    }
  } else if (directory.ino == inode::kControlSnapshots) {
    for (SnapshotDirectory& of : state_.store.SnapshotDirectories()) {
      places.emplace_back(SnapshotsPlace{std::move(of)});
    }
  } else if (directory.ino == inode::kControlVolumes) {
    for (std::shared_ptr<Volume>& volume : state_.store.Volumes()) {
      places.emplace_back(VolumePlace{std::move(volume), inode::kControlDirectory});
    }
  }
  return places;
}

std::vector<Place> ControlTree::Impl::ChildrenOfVolume(const VolumePlace& directory) {
  std::vector<Place> places;
  for (const VolumeField& field : VolumeFields()) {
    places.emplace_back(VolumePlace{directory.volume, field.facet});
  }
  places.emplace_back(VolumePlace{directory.volume, kInfoJson});
  places.emplace_back(VolumePlace{directory.volume, kMap});
  return places;
}

std::vector<Place> ControlTree::Impl::SnapshotsIn(const SnapshotsPlace& directory) {
  std::vector<SnapshotInfo> snapshots = state_.store.Snapshots(directory.directory.volume);
  std::stable_sort(snapshots.begin(), snapshots.end(),
                   [](const SnapshotInfo& one, const SnapshotInfo& other) {
                     return one.created_ns < other.created_ns;
                   });
  std::vector<Place> places;
  places.reserve(snapshots.size());
  for (SnapshotInfo& snapshot : snapshots) {
    places.emplace_back(SnapshotPlace{std::move(snapshot), inode::kControlDirectory});
  }
  return places;
}

std::vector<Place> ControlTree::Impl::ChildrenOfSnapshot(const SnapshotPlace& directory) {
  std::vector<Place> places;
  for (const SnapshotField& field : SnapshotFields()) {
    places.emplace_back(SnapshotPlace{directory.snapshot, field.facet});
  }
  places.emplace_back(SnapshotPlace{directory.snapshot, kInfoJson});
  places.emplace_back(SnapshotPlace{directory.snapshot, kMap});
  return places;
}

std::vector<Place> ControlTree::Impl::ChildrenOfNode(const NodePlace& directory) {
  std::vector<Place> places;
  for (const NodeField& field : NodeFields()) {
    places.emplace_back(NodePlace{directory.node, field.facet});
  }
  return places;
}

// ---- opening

bool ControlTree::Impl::Writable(const Place& place) {
  if (const auto* volume = std::get_if<VolumePlace>(&place)) return IsWritable(*volume);
  const auto* fixed = std::get_if<const FixedEntry*>(&place);
  if (fixed == nullptr) return false;
  const FixedKind kind = (*fixed)->kind;
  return kind == FixedKind::kRequest || kind == FixedKind::kCopyRate ||
         kind == FixedKind::kCopyJobs;
}

Result<std::unique_ptr<ControlFile>> ControlTree::Impl::Open(const Place& place,
                                                             const Caller& caller) {
  ControlView view(state_);
  const uint32_t user = caller.uid;
  if (const auto* node = std::get_if<NodePlace>(&place)) {
    ASSIGN_OR_RETURN(HeldTexts::Text text,
                     state_.texts.Hold(user, InoOf(*node), TextOf(*node, view)));
    return OpenTextFile(std::move(text));
  }
  if (const auto* diff = std::get_if<DiffPlace>(&place)) {
    if (IsDiffImageIno(diff->ino())) return Error{Errc::kInvalid, "control: this is an image"};
    ASSIGN_OR_RETURN(std::shared_ptr<OpenDiff> open, state_.diff_slots.Open(state_.store, *diff));
    return OpenDiffText(std::move(open), diff->kind);
  }
  if (const auto* snapshot = std::get_if<SnapshotPlace>(&place)) {
    ASSIGN_OR_RETURN(HeldTexts::Text text,
                     state_.texts.Hold(user, InoOf(*snapshot), TextOf(*snapshot, view)));
    return OpenTextFile(std::move(text));
  }
  if (const auto* volume = std::get_if<VolumePlace>(&place)) {
    if (volume->facet == kVolumeWatch) return OpenVolumeWatch(state_, volume->volume->id());
    ASSIGN_OR_RETURN(HeldTexts::Text text,
                     state_.texts.Hold(user, InoOf(*volume), TextOf(*volume, view)));
    return OpenVolumeFile(*volume, std::move(text));
  }
  return OpenFixed(*std::get<const FixedEntry*>(place), caller);
}

Result<std::shared_ptr<OpenDiff>> ControlTree::Impl::OpenDiffImage(uint64_t ino) {
  ASSIGN_OR_RETURN(const DiffPlace place, FindDiff(state_.store, ino));
  return state_.diff_slots.Open(state_.store, place);
}

Result<std::unique_ptr<ControlFile>> ControlTree::Impl::OpenVolumeFile(const VolumePlace& place,
                                                                       HeldTexts::Text text) {
  if (!IsWritable(place)) return OpenTextFile(std::move(text));
  if (NameOf(place) == "io") return OpenIoFile(state_, place.volume, std::move(text));
  return OpenCopyRateFile(state_, place.volume, std::move(text));
}

Result<std::unique_ptr<ControlFile>> ControlTree::Impl::OpenFixed(const FixedEntry& entry,
                                                                  const Caller& caller) {
  if (entry.kind == FixedKind::kRequest) {
    return OpenRequestFile(state_, *RequestKindOf(entry.name));
  }
  if (entry.kind == FixedKind::kEvents) return OpenEventsFile(state_);
  ControlView view(state_, &caller);
  ASSIGN_OR_RETURN(HeldTexts::Text text,
                   state_.texts.Hold(caller.uid, entry.ino, FixedText(entry, view)));
  switch (entry.kind) {
    case FixedKind::kCopyRate:
      return OpenLimitFile(state_, Limit::kCopyRate, std::move(text));
    case FixedKind::kCopyJobs:
      return OpenLimitFile(state_, Limit::kCopyJobs, std::move(text));
    default:
      return OpenTextFile(std::move(text));
  }
}

// ---- the tree

bool Administers(const Caller& caller, uint32_t mount_uid, std::optional<uint32_t> control_gid) {
  if (caller.uid == 0 || caller.uid == mount_uid) return true;
  if (!control_gid) return false;
  const auto& groups = caller.groups;
  return caller.gid == *control_gid ||
         std::find(groups.begin(), groups.end(), *control_gid) != groups.end();
}

ControlTree::ControlTree(Store& store, ControlConfig config)
    : impl_(std::make_unique<Impl>(store, std::move(config))) {}

ControlTree::~ControlTree() = default;

HeldTexts& ControlTree::texts() { return impl_->state().texts; }

Result<ControlEntry> ControlTree::Lookup(uint64_t parent, std::string_view name) {
  return OrNoMemory([&]() -> Result<ControlEntry> {
    ASSIGN_OR_RETURN(const Place place, impl_->FindIn(parent, name));
    ControlView view(impl_->state());
    return std::visit(Describe{view}, place);
  });
}

Result<ControlEntry> ControlTree::Stat(uint64_t ino) {
  return OrNoMemory([&]() -> Result<ControlEntry> {
    ASSIGN_OR_RETURN(const Place place, impl_->Find(ino));
    ControlView view(impl_->state());
    return std::visit(Describe{view}, place);
  });
}

Result<std::vector<ControlEntry>> ControlTree::List(uint64_t ino) {
  return OrNoMemory([&]() -> Result<std::vector<ControlEntry>> {
    ASSIGN_OR_RETURN(const Place directory, impl_->Find(ino));
    if (!Impl::IsDirectory(directory))
      return Error{Errc::kInvalid, "control: this is no directory"};
    ControlView view(impl_->state());
    std::vector<ControlEntry> entries;
    for (const Place& place : impl_->Children(directory)) {
      entries.push_back(std::visit(Describe{view}, place));
    }
    return entries;
  });
}

bool ControlTree::Owns(uint64_t ino) const {
  if (FindFixed(ino) != nullptr) return true;
  return inode::IdOf(ino) != kNoId && inode::FacetOf(ino) >= inode::kControlDirectory;
}

Result<std::unique_ptr<ControlFile>> ControlTree::Open(uint64_t ino, bool for_write,
                                                       const Caller& caller) {
  ASSIGN_OR_RETURN(const Place place, impl_->Find(ino));
  if (Impl::IsDirectory(place)) return Error{Errc::kInvalid, "control: this is a directory"};
  if (for_write && !Impl::Writable(place)) {
    const Error error{Errc::kProtected,
                      "this control file is only read; control/help tells which take requests"};
    RecordRefusal(caller, "open", error);
    return error;
  }
  return OrNoMemory([&] { return impl_->Open(place, caller); });
}

Result<std::shared_ptr<OpenDiff>> ControlTree::OpenDiffImage(uint64_t ino) {
  return OrNoMemory([&] { return impl_->OpenDiffImage(ino); });
}

void ControlTree::RecordRefusal(const Caller& caller, std::string_view operation,
                                const Error& error) {
  const size_t blank = operation.find(' ');
  const std::string_view object =
      blank == std::string_view::npos ? std::string_view() : operation.substr(blank + 1);
  impl_->state().RecordRefusal(caller.uid, operation.substr(0, blank), Printable(object), error);
}

void ControlTree::SetActivityCallback(std::function<void()> callback) {
  impl_->state().feed->SetActivityCallback(std::move(callback));
}

void ControlTree::SetEventCallback(std::function<void(const StoreEvent&)> callback) {
  impl_->state().feed->SetEventCallback(std::move(callback));
}

}  // namespace volfs
