#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "blockstore/catalog/catalog.h"

namespace volfs {

// The rows of one node that a mount is about to believe, and their presence.
struct NodeRows {
  const CatalogContents* rows = nullptr;
  std::set<Id> with_presence;      // layers of which the table presence has rows
  std::set<Id> here_without_file;  // layers over others that have blocks here, but no file
};

// Rows that contradict each other, though each has its checksum and legal values.
// Every reason is a sentence without an end, "layers/… lies over …, which is not in the catalog".
struct Contradictions {
  std::map<Id, std::string> volumes;         // of these no byte is shown or written
  std::map<Id, std::string> snapshots;       // nor of these
  std::set<Id> layers;                       // of these no link to a parent is believed
  std::map<std::string, std::string> nodes;  // by UUID: where nothing may be freed, and the reason
};

// Checks the rows of all nodes of a mount against each other, as far as a mount uses them. A caller
// that builds a store from these rows may trust every row that the answer does not name. States
// that a crash, a lost node or `volfs node forget` leaves by the rules of ARCHITECTURE.md are no
// contradictions.
//
//   layer     its parent exists, on the node that the row names; no layer lies over itself; a flat
//             one shows nothing of a parent, has no presence, and has a file; the visible part of a
//             parent exists; a layer that is read depends on another node only as the head of a
//             clone that is being copied from there
//   volume    its layer exists, has its size, and belongs to nothing else
//   snapshot  its volume and layer exist on its node, and have its size
//   clone     job, volume, head and hold describe one copy; the figures are possible
//   hold      its layer exists
//
// A volume or snapshot is refused if a layer on its way down is. Its node may free nothing, as a
// wrong or missing row may be the only one that shows the need for a layer.
//
// Requires: ids are unique over all nodes (Recovery checks that). Pure. Cost: O(rows log rows),
// without a read of presence.
//
// CheckPass (check/pass.h) proves the same and more in another way and shares no code with this, so
// that each finds the oversights of the other (tests/fuzz/store_fuzz.cc compares them).
Contradictions FindContradictions(const std::vector<NodeRows>& nodes);

}  // namespace volfs
