#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "blockstore/base/error.h"
#include "blockstore/store/store.h"
#include "control/request/request.h"

namespace volfs {

// The counters of control/ itself. Thread-safety: all methods from any thread, no lock.
class ControlCounters {
 public:
  enum class Outcome { kOk, kRefused };
  void CountRequest(RequestKind kind, Outcome outcome);
  void CountRefusal(Errc code);  // of a request or a file operation
  [[nodiscard]] uint64_t requests(RequestKind kind, Outcome outcome) const;
  [[nodiscard]] uint64_t refusals(Errc code) const;

 private:
  std::array<std::array<std::atomic<uint64_t>, 2>, kRequestKinds> requests_{};
  std::array<std::atomic<uint64_t>, kErrcs> refusals_{};
};

struct MetricsInput {
  const std::vector<VolumeInfo>& volumes;
  const std::vector<SnapshotInfo>& snapshots;  // by their volume's name
  const std::vector<NodeInfo>& nodes;
  const ControlCounters& counters;
  uint64_t events = 0;
  uint64_t copy_rate = 0;  // Throttle::kUnlimited: +Inf
  uint64_t copy_jobs = 0;
  int64_t started_ns = 0;
};

// Returns control/metrics in Prometheus' text format 0.0.4. Base units; counters end in _total.
// Pure.
std::string MetricsText(const MetricsInput& input);

}  // namespace volfs
