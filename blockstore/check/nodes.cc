// Loads the claims of the nodes of a check, and compares the nodes themselves.
#include <algorithm>

#include "blockstore/base/str_cat.h"
#include "blockstore/check/pass.h"

namespace volfs {

Status CheckPass::Run(const std::vector<Node*>& nodes) {
  RETURN_IF_ERROR(LoadMembers(nodes));
  if (!CheckIdentities()) return OkStatus();
  CheckGenerations();
  LinkLayers();
  AddReferences();
  MarkReached();
  CheckIds();
  CheckCycles();
  RETURN_IF_ERROR(CheckLayers());
  CheckVolumes();
  CheckSnapshots();
  CheckClones();
  RETURN_IF_ERROR(CheckSpace());
  ReportAbsent();
  return OkStatus();
}

void CheckPass::Report(Finding::Kind kind, Finding::Weight weight, const std::string& node,
                       std::string text, Repair repair) {
  items_.push_back({{kind, weight, node, std::move(text), false}, std::move(repair)});
}

Status CheckPass::LoadMembers(const std::vector<Node*>& nodes) {
  for (Node* const node : nodes) RETURN_IF_ERROR(LoadMember(*node));
  return OkStatus();
}

Status CheckPass::LoadMember(Node& node) {
  const auto corrupt = [&](const Error& error) {
    Report(Finding::Kind::kCatalog, Finding::Weight::kDamage, node.name(),
           StrCat(error.message,
                  "; restore the node's directory from a backup. Some data can be saved: ",
                  "the files in layers/ of volumes without snapshots are raw images"),
           {});
  };
  Member member;
  member.node = &node;
  member.place = members_.size();
  if (options_.verify_catalogs) {
    const Status verified = node.catalog().Verify();
    if (!verified.ok() && verified.error().code != Errc::kCorrupt) return verified;
    if (!verified.ok()) corrupt(verified.error());
    member.verified = verified.ok();
  }
  Result<CatalogContents> contents = node.catalog().Load();
  if (!contents.ok()) {
    if (contents.error().code != Errc::kCorrupt) return contents.error();
    if (member.verified) corrupt(contents.error());
    return OkStatus();  // for the others it is as if it were not there
  }
  member.contents = std::move(contents.value());
  Result<Lineage> lineage = ReadLineage(member.contents);
  if (!lineage.ok()) {
    corrupt(lineage.error());
    return OkStatus();
  }
  member.lineage = std::move(lineage.value());
  ASSIGN_OR_RETURN(const std::vector<std::string> files, node.directory().ListLayers());
  member.files.insert(files.begin(), files.end());
  for (const auto& [key, value] : member.contents.settings) {
    if (key == kCleanKey) member.clean = value == "1";
  }
  Member& kept = members_.emplace_back(std::move(member));
  for (const auto& record : kept.contents.volumes) kept.volumes[record.id] = &record;
  for (const auto& record : kept.contents.snapshots) kept.snapshots[record.id] = &record;
  for (const auto& record : kept.contents.clones) kept.clones[record.clone] = &record;
  for (const auto& record : kept.contents.holds) kept.holds[record.clone] = &record;
  return OkStatus();
}

CheckPass::Member* CheckPass::FindMember(const std::string& uuid) {
  for (Member& member : members_) {
    if (member.uuid() == uuid) return &member;
  }
  return nullptr;
}

CheckPass::Absent& CheckPass::AbsentNode(const std::string& uuid) { return absent_[uuid]; }

// As a mount does, which refuses all of these (node/opener.cc, recovery.cc).
bool CheckPass::CheckIdentities() {
  for (size_t i = 0; i < members_.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      const Member& one = members_[j];
      const Member& other = members_[i];
      if (one.uuid() == other.uuid()) {
        Damage(Finding::Kind::kSameNode, other,
               StrCat("the directories ", one.node->path(), " and ", other.node->path(),
                      " are copies of one node (UUID ", one.uuid(),
                      "); check and mount only the newer one"));
        return false;
      }
      if (one.name() == other.name()) {
        Damage(Finding::Kind::kNodeName, other,
               StrCat("the nodes ", one.node->path(), " and ", other.node->path(),
                      " have one name, ", one.name(), "; give one of them another"));
      }
      if (j == 0 && one.block_size() != other.block_size()) {
        Damage(Finding::Kind::kBlockSize, other,
               StrCat("node ", other.name(), " has blocks of ", other.block_size(), " bytes, node ",
                      one.name(), " of ", one.block_size(), "; they cannot be mounted together"));
      }
    }
  }
  return true;
}

void CheckPass::CheckGenerations() {
  for (const Member& member : members_) {
    for (const PeerRecord& peer : member.contents.peers) {
      const Member* const there = FindMember(peer.uuid);
      if (there == nullptr) {
        Absent& absent = AbsentNode(peer.uuid);
        absent.name = peer.name;
        absent.path = peer.path;
      } else if (!CheckKinship(member, peer, *there) &&
                 there->contents.node.generation < peer.generation) {
        Damage(
            Finding::Kind::kOlderCopy, *there,
            StrCat("node ", there->name(), " is an older copy: node ", member.name(),
                   " was mounted with generation ", peer.generation, " of it, this is generation ",
                   there->contents.node.generation, "; use the newest copy"));
      }
    }
  }
}

// Returns true if the node is not the one that `member` knows, and has reported that.
bool CheckPass::CheckKinship(const Member& member, const PeerRecord& peer, const Member& there) {
  const auto known = member.lineage.known.find(there.uuid());
  if (known == member.lineage.known.end()) return false;
  const auto mine = there.lineage.known.find(member.uuid());
  const MountId told = mine == there.lineage.known.end() ? 0 : mine->second.told;
  const Kinship kinship = Compare(there.lineage.mounts, told, known->second.mounts);
  const std::string trouble =
      KinshipTrouble(kinship, there.name(), there.lineage.newest(), member.name(), peer.path);
  if (trouble.empty()) return false;
  const bool older = kinship.kind == Kinship::Kind::kOlder;
  Damage(older ? Finding::Kind::kOlderCopy : Finding::Kind::kForkedCopy, there,
         StrCat("node directory ", there.node->path(), " is ", trouble));
  return true;
}

void CheckPass::ReportAbsent() {
  if (members_.empty()) return;
  for (const auto& [uuid, absent] : absent_) {
    std::string text = absent.name.empty()
                           ? StrCat("a node with the UUID ", uuid)
                           : StrCat("node ", absent.name, " (last at ", absent.path, ")");
    text += " is not among those that are checked; nothing that it may need is released";
    for (size_t i = 0; i < absent.users.size(); ++i) {
      text += StrCat(i == 0 ? "; needed by: " : ", ", absent.users[i]);
    }
    Tidy(Finding::Kind::kNodeAbsent, members_.front(), std::move(text));
  }
}

}  // namespace volfs
