#include "blockstore/node/forget.h"

#include "blockstore/node/lineage.h"

namespace volfs {
namespace {

// After a rename the job's record has the old name, so the name of its volume is returned.
std::string NameOfClone(const CatalogContents& contents, const CloneRecord& clone) {
  for (const VolumeRecord& volume : contents.volumes) {
    if (volume.id == clone.clone) return volume.name;
  }
  return clone.name;
}

}  // namespace

NodeTraces TracesOf(Node& node, const std::string& uuid) {
  const CatalogContents& contents = node.contents();
  NodeTraces traces;
  for (const CloneRecord& clone : contents.clones) {
    if (clone.source_node != uuid) continue;
    traces.known = true;
    traces.name = clone.source_node_name;
    if (clone.state == CloneState::kCopying) {
      traces.needing.push_back(NameOfClone(contents, clone));
    }
  }
  for (const HoldRecord& hold : contents.holds) {
    if (hold.clone_node != uuid) continue;
    traces.known = true;
    traces.held.push_back(hold.clone_name);
  }
  for (const PeerRecord& peer : contents.peers) {
    if (peer.uuid != uuid) continue;
    traces.known = true;
    traces.name = peer.name;
    traces.path = peer.path;
  }
  return traces;
}

Status ForgetNode(Node& node, const std::string& uuid) {
  CatalogChange change = {DeletePeer{uuid}, ForgetKnown(uuid)};
  for (const HoldRecord& hold : node.contents().holds) {
    if (hold.clone_node == uuid) change.emplace_back(DeleteHold{hold.clone});
  }
  for (const CloneRecord& clone : node.contents().clones) {
    if (clone.source_node != uuid || clone.state != CloneState::kReleasing) continue;
    change.emplace_back(DeleteClone{clone.clone});
  }
  return node.catalog().Commit(change, Room::kFree);
}

}  // namespace volfs
