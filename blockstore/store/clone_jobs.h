#pragma once

#include <memory>

#include "blockstore/base/error.h"
#include "blockstore/clone/clone_job.h"
#include "blockstore/store/parts.h"

namespace volfs {

// The copying of clones, from its start to the end of a clone's dependence on its source: link cut
// on the clone's node, hold released on the source's, job forgotten. Recovery finishes what a crash
// leaves between any two of these commits.
//
// Thread-safety: all functions from any thread, no lock held.

// What all jobs of one store share.
[[nodiscard]] CloneJob::Context CopyContext(StoreParts& parts);
// Starts to copy the clones that the last mount left dependent.
void StartJobs(StoreParts& parts) VOLFS_EXCLUDES(parts.tables.mu);
// Makes a job for one of these and queues it. If its source cannot be read the entry says why.
void StartJob(StoreParts& parts, Id clone) VOLFS_EXCLUDES(parts.tables.mu);
// The hydrator's callback: completes a clone that is whole, tells of one that failed.
void OnJobOver(StoreParts& parts, const std::shared_ptr<CloneJob>& job)
    VOLFS_EXCLUDES(parts.tables.mu);

}  // namespace volfs
