#pragma once

#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "blockstore/check/blocks.h"
#include "blockstore/check/check.h"

namespace volfs {

// One pass over all nodes of a check (check.h). It loads their claims, links them, and compares
// them with each other. It changes nothing; each item carries its repair, for CheckNodes to run.
//
// The parts: check/nodes.cc loads and compares nodes; check/tree.cc links layers and finds those
// that are reached; check/layers.cc layers and files; check/volumes.cc names, ids, volumes,
// snapshots; check/clones.cc jobs and holds; check/space.cc unreachable space.
//
// All tables are ordered by keys, never by addresses: a simulation must find the same twice.
// Thread-safety: none.
class CheckPass {
 public:
  using Repair = std::function<Status()>;
  struct Item {
    Finding finding;
    Repair repair;  // empty: there is none
  };

  explicit CheckPass(const CheckOptions& options) : options_(options) {}
  Status Run(const std::vector<Node*>& nodes);
  std::vector<Item>& items() { return items_; }

 private:
  struct Member {  // a node that is there
    Node* node = nullptr;
    size_t place = 0;  // in members_
    CatalogContents contents;
    Lineage lineage;
    std::set<std::string> files;  // names below layers/
    bool clean = true;            // its last mount ended in order
    bool verified = true;         // false: its catalog's damage is told already
    std::map<Id, const VolumeRecord*> volumes;
    std::map<Id, const SnapshotRecord*> snapshots;
    std::map<Id, const CloneRecord*> clones;
    std::map<Id, const HoldRecord*> holds;  // by clone
    [[nodiscard]] const std::string& name() const { return contents.node.name; }
    [[nodiscard]] const std::string& uuid() const { return contents.node.uuid; }
    [[nodiscard]] uint32_t block_size() const { return contents.node.block_size; }
    [[nodiscard]] Catalog& catalog() const { return node->catalog(); }
    [[nodiscard]] NodeDirectory& directory() const { return node->directory(); }
  };
  struct LayerView {
    Member* member = nullptr;
    LayerRecord record;
    std::string name;                     // "layers/0123456789abcd00"
    LayerView* parent = nullptr;          // if it has one that is there
    std::vector<LayerView*> children;     // of its own node, that are reached
    bool foreign_child = false;           // a reached layer of another node reads it
    std::vector<std::string> references;  // by what: "volume db"
    std::vector<std::string> writers;     // those of `references` that are volumes
    bool reached = false;                 // it has a reference, or a child that is reached
    bool presence_known = false;
    BlockSet here;     // of a layer over another
    BlockSet covered;  // here or zero
    [[nodiscard]] bool flat() const { return record.parent == kNoId; }
    [[nodiscard]] bool unreferenced() const { return references.empty() && !foreign_child; }
    [[nodiscard]] uint64_t blocks() const {
      return BlocksFor(record.size_bytes, member->block_size());
    }
    // Whether bytes are, or must be, in its file.
    [[nodiscard]] bool HasData() const { return flat() ? record.size_bytes > 0 : !here.empty(); }
  };
  struct Absent {
    std::string name;
    std::string path;
    std::vector<std::string> users;  // clones that need it, holds for its clones
  };

  // check/nodes.cc
  Status LoadMembers(const std::vector<Node*>& nodes);
  Status LoadMember(Node& node);
  bool CheckIdentities();  // false: nothing can be said about the rest
  void CheckGenerations();
  bool CheckKinship(const Member& member, const PeerRecord& peer, const Member& there);
  void ReportAbsent();
  [[nodiscard]] Member* FindMember(const std::string& uuid);
  // Returns the entry of a node that is not mounted, made at its first mention.
  Absent& AbsentNode(const std::string& uuid);

  // check/tree.cc
  void LinkLayers();
  void AddReferences();
  void MarkReached();
  void CheckCycles();
  [[nodiscard]] LayerView* FindLayer(const Member* member, Id id);
  // UUID of the node that the parent is on.
  [[nodiscard]] static const std::string& ParentNodeOf(const LayerView& layer);

  // check/layers.cc
  Status CheckLayers();
  Status LoadPresence(LayerView& layer);
  static bool IsBeingCancelled(const LayerView& head);
  void CheckParent(const LayerView& layer);
  // Returns whether the layer is the head of a volume with io=native. The kernel may have
  // acknowledged bytes past the size in its record, and the next mount takes them over
  // (NativeServing).
  static bool MayOutgrow(const Member& member, const LayerRecord& layer);
  Status CheckFile(LayerView& layer);
  void CheckUnrecordedFile(LayerView& layer);
  void CheckMissingFile(LayerView& layer);
  void CheckOrphans(Member& member);
  // Removes a file that no record needs.
  static Repair RemoveFile(const Member& member, const std::string& name);

  // check/volumes.cc
  void CheckIds();
  void CheckVolumes();
  void CheckVolume(Member& member, const VolumeRecord& volume);
  void CheckSnapshots();
  [[nodiscard]] static std::string SnapshotName(const Member& member,
                                                const SnapshotRecord& snapshot);

  // check/clones.cc
  void CheckClones();
  void CheckCopying(Member& b, const CloneRecord& clone);
  void CheckHoldOf(Member& b, Member& a, const CloneRecord& clone);
  void CheckHold(Member& a, const HoldRecord& hold);
  void CheckDependence(const LayerView& layer);
  // Releases the hold on `a`, then removes the job, and the volume if it is to go, from `b`.
  static Repair EndJob(Member& b, Member* a, const CloneRecord& clone);

  // check/space.cc
  Status CheckSpace();
  void CheckUnreachedLayers();
  Status CheckUnreachedBlocks();
  // Returns the whole blocks of data in the layer's file, as the backing filesystem reports them.
  static Result<BlockSet> DataOf(NodeFile& file, const LayerView& layer);
  void CheckGarbage(const LayerView& layer, const BlockSet& data);
  static Repair PunchBlocks(const LayerView& layer, BlockSet blocks, CatalogChange first);

  void Report(Finding::Kind kind, Finding::Weight weight, const std::string& node, std::string text,
              Repair repair);
  void Damage(Finding::Kind kind, const Member& member, std::string text, Repair repair = {}) {
    Report(kind, Finding::Weight::kDamage, member.name(), std::move(text), std::move(repair));
  }
  void Tidy(Finding::Kind kind, const Member& member, std::string text, Repair repair = {}) {
    Report(kind, Finding::Weight::kTidy, member.name(), std::move(text), std::move(repair));
  }

  const CheckOptions options_;
  std::deque<Member> members_;  // in the order given; a deque, as it is pointed into
  // By place of the node and id: a copied directory may have the ids of another.
  std::map<std::pair<size_t, Id>, LayerView> layers_;
  std::map<std::string, Absent> absent_;  // by UUID
  bool cyclic_ = false;
  std::vector<Item> items_;
};

}  // namespace volfs
