#include "blockstore/node/node.h"

#include <algorithm>
#include <cassert>
#include <limits>

#include "blockstore/base/log.h"
#include "blockstore/base/runtime.h"
#include "blockstore/base/sabotage.h"
#include "blockstore/base/str_cat.h"

namespace volfs {
namespace {

// FNV-1a over the UUID's text (http://www.isthe.com/chongo/tech/comp/fnv): stable, and 55 bits of
// it are as good as a random id.
Id IdFromUuid(const std::string& uuid) {
  uint64_t hash = 14695981039346656037ULL;
  for (const char c : uuid) hash = (hash ^ static_cast<uint8_t>(c)) * 1099511628211ULL;
  const Id id = (hash << kIdFacetBits) & ~(uint64_t{1} << 63);
  return id == kNoId ? Id{1} << kIdFacetBits : id;
}

MountId NewMountId() {
  for (;;) {
    if (const MountId mount = Random64(); mount != 0) return mount;
  }
}

void KeepLast(std::vector<MountId>& mounts, size_t count) {
  if (mounts.size() <= count) return;
  mounts.erase(mounts.begin(), mounts.end() - static_cast<std::ptrdiff_t>(count));
}

}  // namespace

Id NewId() {
  for (;;) {
    // The upper bit stays clear: SQLite's integers and off_t are signed.
    const Id id = (Random64() << kIdFacetBits) & ~(uint64_t{1} << 63);
    if (id != kNoId) return id;
  }
}

Node::Node(std::unique_ptr<NodeDirectory> directory, std::unique_ptr<NodeLock> lock)
    : lock_(std::move(lock)), directory_(std::move(directory)) {}

Status Node::Init(NodeDirectory& directory, NodeRecord record) {
  assert(record.block_size >= 1024 && (record.block_size & (record.block_size - 1)) == 0);
  if (record.uuid.empty()) record.uuid = NewUuid();
  RETURN_IF_ERROR(Catalog::Create(directory, record));
  return OkStatus();
}

namespace {

// The format allows two things that this program cannot serve: larger blocks, of which one is
// merged on the stack, and a generation that cannot grow.
Status CheckCanServe(const NodeRecord& record, const std::string& path) {
  if (record.block_size > kDefaultBlockSize) {
    return Error{Errc::kNotSupported,
                 StrCat("node directory ", path, " has blocks of ", record.block_size,
                        " bytes; this volfs can serve blocks of at most ", kDefaultBlockSize)};
  }
  if (record.generation < std::numeric_limits<int64_t>::max()) return OkStatus();
  return Error{Errc::kCorrupt,
               StrCat("node directory ", path, ": its generation is ", record.generation,
                      ", to which no number of mounts leads; restore its catalog from a backup")};
}

}  // namespace

Result<std::unique_ptr<Node>> Node::Open(std::unique_ptr<NodeDirectory> directory,
                                         std::unique_ptr<NodeLock> lock) {
  std::unique_ptr<Node> node(new Node(std::move(directory), std::move(lock)));
  ASSIGN_OR_RETURN(node->catalog_, Catalog::Open(*node->directory_));
  ASSIGN_OR_RETURN(node->contents_, node->catalog_->Load());
  RETURN_IF_ERROR(CheckCanServe(node->record(), node->path()));
  ASSIGN_OR_RETURN(node->lineage_, ReadLineage(node->contents_));
  DropLineage(node->contents_);
  node->id_ = IdFromUuid(node->uuid());
  RETURN_IF_ERROR(node->directory_->CheckPresent());
  ASSIGN_OR_RETURN(const SpaceInfo space, node->directory_->Space());
  node->was_read_only_ = space.read_only;
  return node;
}

const VolumeType* Node::FindType(const std::string& name) const {
  for (const VolumeType& type : record().types) {
    if (type.name == name) return &type;
  }
  return nullptr;
}

Status Node::GrowGeneration() {
  NodeRecord record = contents_.node;
  ++record.generation;
  Lineage grown = lineage_;
  if (!Sabotaged(Sabotage::kSameMount) || grown.mounts.empty())
    grown.mounts.push_back(NewMountId());
  KeepLast(grown.mounts, Lineage::kKept);
  RETURN_IF_ERROR(
      catalog_->Commit({PutNode{record}, LineageSetting(grown), NoteLineage{}}, Room::kFree));
  contents_.node = record;
  lineage_ = std::move(grown);
  return OkStatus();
}

Status Node::RecordPeers(const std::vector<const Node*>& others) {
  CatalogChange change;
  for (const Node* const other : others) {
    const NodeRecord& r = other->record();
    KnownLineage known{lineage_.newest(), other->lineage_.mounts};
    KeepLast(known.mounts, Lineage::kKeptOfPeers);
    change.emplace_back(PutPeer{{r.uuid, r.name, other->path(), r.generation}});
    change.emplace_back(KnownSetting(r.uuid, known));
    lineage_.known[r.uuid] = std::move(known);
  }
  return catalog_->Commit(change, Room::kFree);
}

Status Node::CheckAnswers() const {
  const NodeCalls& calls = *directory_->calls();
  if (!calls.hung()) return OkStatus();
  return Error{Errc::kNodeDown,
               StrCat("node ", name(), " (", path(), ") does not answer: ", calls.Trouble(),
                      "; its volumes can be used again when it has")};
}

Status Node::CheckChanges() const {
  if (!catalog_->read_only()) return OkStatus();
  return Error{
      Errc::kReadOnly,
      directory_->read_only()
          ? StrCat("node ", name(), " (", path(),
                   ") is mounted for reading only; mount it without `ro` to change anything")
          : StrCat("node ", name(), " (", path(),
                   ") has a feature with which this volfs may only read it")};
}

Result<SpaceInfo> Node::Space() {
  ASSIGN_OR_RETURN(SpaceInfo space, directory_->Space());
  space.free_bytes -= std::min(space.free_bytes, catalog_->missing_reserve_bytes());
  return space;
}

Fullness Node::LookAtRoom() {
  constexpr uint64_t kFullBytes = uint64_t{1} << 20;
  constexpr uint64_t kMinLowBytes = uint64_t{16} << 20;
  constexpr uint64_t kMaxLowBytes = uint64_t{1} << 30;
  const Result<SpaceInfo> space = Space();
  if (!space.ok()) return fullness();
  const uint64_t size_bytes = space.value().size_bytes;
  const uint64_t free_bytes = space.value().free_bytes;
  const uint64_t low_bytes = std::clamp(size_bytes / 20, kMinLowBytes, kMaxLowBytes);
  const bool full = free_bytes < kFullBytes || catalog_->missing_reserve_bytes() != 0;
  const Fullness now = full                     ? Fullness::kFull
                       : free_bytes < low_bytes ? Fullness::kLow
                                                : Fullness::kRoomy;
  fullness_ = now;
  return now;
}

bool Node::Works() const { return !directory_->calls()->hung() && !catalog_->fenced(); }

void Node::LookForLoss() {
  if (catalog_->fenced() || Sabotaged(Sabotage::kIgnoreLoss)) return;
  const Status present = catalog_->CheckPresent();
  const Result<SpaceInfo> space = directory_->Space();
  if (present.ok() && space.ok() && space.value().read_only && !was_read_only_) {
    catalog_->Fence(StrCat("the filesystem of node directory ", path(),
                           " has become read-only, as after an error of its disk"),
                    true);
  }
  if (!catalog_->fenced()) return;
  LogError(
      StrCat("node ", name(), " is fenced until it is mounted again: ", catalog_->fence_reason()));
}

std::string Node::State() const {
  if (directory_->calls()->hung())
    return StrCat("does not answer: ", directory_->calls()->Trouble());
  if (catalog_->fenced()) {
    return StrCat("fenced: nothing more is written to it until the next mount, since ",
                  catalog_->fence_reason());
  }
  if (!trusted()) {
    MutexLock lock(doubt_mu_);
    return doubt_;
  }
  switch (fullness()) {
    case Fullness::kFull:
      return "full: nothing new is made there; delete volumes or snapshots, or make its filesystem "
             "larger";
    case Fullness::kLow:
      return "nearly full: delete volumes or snapshots, or make its filesystem larger";
    case Fullness::kRoomy:
      break;
  }
  return "ok";
}

void Node::Distrust(const std::string& why) {
  {
    MutexLock lock(doubt_mu_);
    if (!doubt_.empty()) return;
    doubt_ = StrCat("doubtful: its catalog contradicts itself (", why,
                    "), so nothing of it is freed; unmount, then run `volfs check`");
  }
  trusted_.store(false, std::memory_order_release);
  LogError(StrCat("node ", name(), " is doubtful: its catalog contradicts itself (", why, ")"));
}

}  // namespace volfs
