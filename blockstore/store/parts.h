#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "blockstore/base/runtime.h"
#include "blockstore/catalog/catalog.h"
#include "blockstore/clone/hydrator.h"
#include "blockstore/layer/layer_table.h"
#include "blockstore/layer/layer_tree.h"
#include "blockstore/layer/reclaim.h"
#include "blockstore/node/node.h"
#include "blockstore/store/background/crash_garbage.h"
#include "blockstore/store/background/event_queue.h"
#include "blockstore/store/options.h"
#include "blockstore/store/settings.h"
#include "blockstore/store/tables/store_tables.h"

namespace volfs {

// The parts of one store, which Store owns, and on which requests, Recovery and LayerMerger work.
// Each part keeps its own invariants and has its own lock.
//
// Thread-safety: as each part says. Locks, in order: naming_mu or the settings' > tables.mu.
struct StoreParts {
  StoreParts(std::vector<std::unique_ptr<Node>> of_nodes, const StoreOptions& with,
             Hydrator::Callback on_job_over);

  // Constant after Store::Open.
  std::vector<std::unique_ptr<Node>> nodes;
  const StoreOptions options;
  const uint32_t block_size;
  std::vector<PeerRecord> absent;  // nodes that are known, but not mounted now

  LayerTable layers;
  LayerTree tree;
  Reclaimer reclaimer;
  Hydrator hydrator;
  CrashGarbage garbage;
  StoreTables tables;
  Settings settings;
  EventQueue events;

  Mutex naming_mu;  // held, also over I/O, by a rename or deletion of a volume
};

}  // namespace volfs
