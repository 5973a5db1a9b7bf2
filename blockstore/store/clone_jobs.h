#pragma once

#include <memory>

#include "blockstore/base/error.h"
#include "blockstore/clone/clone_job.h"
#include "blockstore/store/parts.h"

namespace volfs {

// The copying of clones, from its start to the end of a clone's dependence on its source. Three
// commits end it (ARCHITECTURE.md, section 4): the link is cut on the clone's node, the hold is
// released on the source's node, and the job is forgotten. After a crash between two of them
// Recovery makes the rest.
//
// Thread-safety: all functions from any thread, no lock held.

// Returns the context that all jobs of one store share.
[[nodiscard]] CloneJob::Context CopyContext(StoreParts& parts);
// Starts to copy the clones that the last mount left dependent.
void StartJobs(StoreParts& parts) VOLFS_EXCLUDES(parts.tables.mu);
// Makes a job for one such clone and queues it. If its source cannot be read the entry says why.
void StartJob(StoreParts& parts, Id clone) VOLFS_EXCLUDES(parts.tables.mu);
// Called by the hydrator: completes a clone that is whole, emits an event for one that failed.
void OnJobOver(StoreParts& parts, const std::shared_ptr<CloneJob>& job)
    VOLFS_EXCLUDES(parts.tables.mu);

}  // namespace volfs
