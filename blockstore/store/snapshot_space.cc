// Counts the bytes that the deletion of a snapshot would free.
#include <algorithm>
#include <tuple>

#include "blockstore/store/store.h"

namespace volfs {
namespace {

// For how many times as long as a count took its result is told again.
constexpr int kRestFactor = 10;
// How long the readers of one text wait for nodes that are being reclaimed or merged.
constexpr Nanoseconds kCountPatience = std::chrono::milliseconds(100);
constexpr Nanoseconds kCountPoll = std::chrono::milliseconds(2);

Result<uint64_t> Count(StoreParts& parts, Id layer, Nanoseconds deadline) {
  for (;; SleepFor(kCountPoll)) {
    Result<uint64_t> bytes = parts.reclaimer.BytesFreedWithout(layer);
    const bool busy = !bytes.ok() && bytes.error().code == Errc::kBusy;
    if (!busy || MonotonicNow() >= deadline) return bytes;
  }
}

uint64_t FreedBytes(StoreParts& parts, Id id, Nanoseconds deadline) {
  SnapshotEntry entry;
  {
    MutexLock lock(parts.tables.mu);
    const SnapshotEntry* const found = parts.tables.snapshots.Find(id);
    if (found == nullptr || !found->refused.empty()) return 0;
    // It cannot be deleted now.
    if (parts.tables.clones.Needs(id)) return 0;
    entry = *found;
  }
  const Nanoseconds begin = MonotonicNow();
  if (begin < entry.freed.until || entry.node->directory().calls()->slow())
    return entry.freed.bytes;
  const Result<uint64_t> bytes = Count(parts, entry.record.layer, deadline);
  if (!bytes.ok()) return entry.freed.bytes;
  const Nanoseconds end = MonotonicNow();
  MutexLock lock(parts.tables.mu);
  parts.tables.snapshots.SetFreed(id, {bytes.value(), end + kRestFactor * (end - begin)});
  return bytes.value();
}

void Measure(StoreParts& parts, SnapshotInfo& info, Nanoseconds deadline) {
  info.exclusive_bytes = std::min(FreedBytes(parts, info.id, deadline), info.allocated_bytes);
}

}  // namespace

std::optional<SnapshotInfo> Store::MeasureSnapshot(Id id) {
  std::optional<SnapshotInfo> info = FindSnapshot(id);
  if (info) Measure(parts_, *info, MonotonicNow() + kCountPatience);
  return info;
}

std::vector<SnapshotInfo> Store::MeasureSnapshots() {
  std::vector<SnapshotInfo> infos;
  const Nanoseconds deadline = MonotonicNow() + kCountPatience;
  for (const Id id : SnapshotIds()) {
    std::optional<SnapshotInfo> info = FindSnapshot(id);
    if (!info) continue;
    Measure(parts_, *info, deadline);
    infos.push_back(std::move(*info));
  }
  std::sort(infos.begin(), infos.end(), [](const SnapshotInfo& a, const SnapshotInfo& b) {
    return std::tie(a.volume, a.created_ns, a.name) < std::tie(b.volume, b.created_ns, b.name);
  });
  return infos;
}

}  // namespace volfs
