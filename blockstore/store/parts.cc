#include "blockstore/store/parts.h"

#include <utility>

namespace volfs {

StoreParts::StoreParts(std::vector<std::unique_ptr<Node>> of_nodes, const StoreOptions& with,
                       Hydrator::Callback on_job_over)
    : nodes(std::move(of_nodes)),
      options(with),
      block_size(nodes.front()->block_size()),
      layers(with.open_files),
      reclaimer(layers, tree, nodes, block_size),
      hydrator(with.hydrate ? Hydrator::kMaxJobs : 0, std::move(on_job_over)),
      garbage(reclaimer),
      settings(*nodes.front(), tables) {
  hydrator.throttle().SetRate(with.copy_rate);
}

}  // namespace volfs
