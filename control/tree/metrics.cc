#include "control/tree/metrics.h"

#include <cassert>
#include <map>
#include <string_view>
#include <utility>

#include "blockstore/base/str_cat.h"
#include "blockstore/sync/throttle.h"
#include "control/tree/fields.h"

namespace volfs {
namespace {

std::string LabelValue(std::string_view value) {
  std::string text;
  for (const char c : value) {
    if (c == '\n') {
      text += "\\n";
    } else {
      if (c == '\\' || c == '"') text += '\\';
      text += c;
    }
  }
  return text;
}

using Labels = std::vector<std::pair<std::string_view, std::string_view>>;

// Appends metrics to a text: Begin once a metric, then a Sample for each of its values.
class Writer {
 public:
  void Begin(std::string_view name, std::string_view type, std::string_view help) {
    name_ = name;
    text_ += StrCat("# HELP ", name, ' ', help, "\n# TYPE ", name, ' ', type, '\n');
  }
  void Sample(const Labels& labels, std::string_view value) {
    text_ += name_;
    for (size_t i = 0; i < labels.size(); ++i) {
      text_ +=
          StrCat(i == 0 ? "{" : ",", labels[i].first, "=\"", LabelValue(labels[i].second), '"');
    }
    text_ += StrCat(labels.empty() ? " " : "} ", value, '\n');
  }
  void Sample(const Labels& labels, uint64_t value) { Sample(labels, std::to_string(value)); }
  std::string Take() { return std::move(text_); }

 private:
  std::string_view name_;
  std::string text_;
};

// A share of 1, to the hundredth of a per cent.
std::string Ratio(Hundredths percent) {
  const std::string digits = std::to_string(10'000 + percent.count % 10'000).substr(1);
  return StrCat(percent.count / 10'000, '.', digits);
}

template <typename Info>
struct Gauge {
  std::string_view name;
  std::string_view help;
  std::string (*value)(const Info&);
};

using V = VolumeInfo;
constexpr std::array kVolumeGauges = {
    Gauge<V>{"volfs_volume_size_bytes", "Size of the volume.",
             [](const V& v) { return std::to_string(v.size_bytes); }},
    Gauge<V>{"volfs_volume_allocated_bytes", "Data that the volume uses, in all its layers.",
             [](const V& v) { return std::to_string(v.allocated_bytes); }},
    Gauge<V>{"volfs_volume_attachments", "How many have the volume open.",
             [](const V& v) { return std::to_string(v.attachments); }},
    Gauge<V>{"volfs_volume_created_timestamp_seconds", "When the volume was made, since 1970.",
             [](const V& v) { return std::to_string(v.created_ns / 1'000'000'000); }},
    Gauge<V>{"volfs_volume_hydrated_ratio", "Share of a clone that is on its own node; 1: whole.",
             [](const V& v) { return Ratio(HydratedPercent(v.progress)); }},
};

// Of clones that are not whole.
constexpr std::array kCloneGauges = {
    Gauge<V>{"volfs_clone_copied_bytes", "Data of the source that was copied and committed.",
             [](const V& v) { return std::to_string(v.progress.copied_bytes); }},
    Gauge<V>{"volfs_clone_source_bytes", "Data of the source; 0 until it is counted.",
             [](const V& v) { return std::to_string(v.progress.total_bytes); }},
    Gauge<V>{"volfs_clone_copy_bytes_per_second", "How fast the clone is copied just now.",
             [](const V& v) { return std::to_string(v.progress.rate_bytes); }},
};

using S = SnapshotInfo;
constexpr std::array kSnapshotGauges = {
    Gauge<S>{"volfs_snapshot_size_bytes", "Size of the snapshot.",
             [](const S& s) { return std::to_string(s.size_bytes); }},
    Gauge<S>{"volfs_snapshot_exclusive_bytes", "Bytes that deleting it alone would free.",
             [](const S& s) { return std::to_string(s.exclusive_bytes); }},
    Gauge<S>{"volfs_snapshot_created_timestamp_seconds", "When it was taken, since 1970.",
             [](const S& s) { return std::to_string(s.created_ns / 1'000'000'000); }},
};

using N = NodeInfo;
constexpr std::array kNodeGauges = {
    Gauge<N>{"volfs_node_size_bytes", "Size of the node's filesystem.",
             [](const N& n) { return std::to_string(n.space.size_bytes); }},
    Gauge<N>{"volfs_node_free_bytes", "Bytes that may still be allocated on the node.",
             [](const N& n) { return std::to_string(n.space.free_bytes); }},
    Gauge<N>{"volfs_node_up", "1 if the node can be read and written.",
             [](const N& n) { return std::string(n.works ? "1" : "0"); }},
    Gauge<N>{"volfs_node_waiting_seconds",
             "For how long a read, write or look has not returned; 0: all return at once.",
             [](const N& n) { return std::to_string(n.waiting_seconds); }},
    Gauge<N>{"volfs_node_nearly_full", "1 if the node is nearly full, or full.",
             [](const N& n) { return std::string(n.fullness == Fullness::kRoomy ? "0" : "1"); }},
    Gauge<N>{"volfs_node_full", "1 if nothing new can be made on the node, as it is full.",
             [](const N& n) { return std::string(n.fullness == Fullness::kFull ? "1" : "0"); }},
    Gauge<N>{"volfs_node_reserve_missing_bytes", "Bytes missing of the room kept for deleting.",
             [](const N& n) { return std::to_string(n.missing_reserve_bytes); }},
};

void WriteVolumes(Writer& out, const MetricsInput& input) {
  for (const Gauge<V>& gauge : kVolumeGauges) {
    out.Begin(gauge.name, "gauge", gauge.help);
    for (const V& v : input.volumes) out.Sample({{"volume", v.name}}, gauge.value(v));
  }
  for (const Gauge<V>& gauge : kCloneGauges) {
    out.Begin(gauge.name, "gauge", gauge.help);
    for (const V& v : input.volumes) {
      if (v.progress.creating) out.Sample({{"volume", v.name}}, gauge.value(v));
    }
  }
  out.Begin("volfs_volume_info", "gauge", "Always 1; the labels tell about the volume.");
  for (const V& v : input.volumes) {
    out.Sample({{"volume", v.name}, {"node", v.node}, {"type", v.type}, {"status", v.status}}, 1);
  }
}

void WriteVolumeCounts(Writer& out, const MetricsInput& input) {
  std::map<std::string_view, uint64_t> by_status = {
      {"creating", 0}, {"available", 0}, {"in-use", 0}, {"deleting", 0}, {"error", 0}};
  for (const V& v : input.volumes) ++by_status[v.status];
  out.Begin("volfs_volumes", "gauge", "Volumes by status.");
  for (const auto& [status, count] : by_status) out.Sample({{"status", status}}, count);
}

void WriteSnapshots(Writer& out, const MetricsInput& input) {
  std::map<std::string_view, uint64_t> counts;
  for (const V& v : input.volumes) counts[v.name] = 0;
  for (const S& s : input.snapshots) ++counts[s.volume];
  out.Begin("volfs_volume_snapshots", "gauge", "Snapshots of the volume, also if it is deleted.");
  for (const auto& [volume, count] : counts) out.Sample({{"volume", volume}}, count);
  for (const Gauge<S>& gauge : kSnapshotGauges) {
    out.Begin(gauge.name, "gauge", gauge.help);
    for (const S& s : input.snapshots) {
      out.Sample({{"volume", s.volume}, {"snapshot", s.name}}, gauge.value(s));
    }
  }
}

void WriteNodes(Writer& out, const MetricsInput& input) {
  for (const Gauge<N>& gauge : kNodeGauges) {
    out.Begin(gauge.name, "gauge", gauge.help);
    for (const N& n : input.nodes) out.Sample({{"node", n.name}}, gauge.value(n));
  }
  const SpaceInfo all = SpaceOfAll(input.nodes);
  out.Begin("volfs_size_bytes", "gauge", "Size of all nodes' filesystems, each counted once.");
  out.Sample({}, all.size_bytes);
  out.Begin("volfs_free_bytes", "gauge",
            "Bytes that may still be allocated on all of them together.");
  out.Sample({}, all.free_bytes);
}

void WriteCounters(Writer& out, const MetricsInput& input) {
  using Outcome = ControlCounters::Outcome;
  out.Begin("volfs_requests_total", "counter", "Requests by file and outcome.");
  for (const RequestSpec& spec : RequestTable()) {
    for (const auto& [outcome, word] : {std::pair<Outcome, std::string_view>{Outcome::kOk, "ok"},
                                        {Outcome::kRefused, "refused"}}) {
      out.Sample({{"request", spec.file}, {"result", word}},
                 input.counters.requests(spec.kind, outcome));
    }
  }
  std::map<std::string_view, uint64_t> refusals;  // several codes have one errno
  for (size_t code = 0; code < kErrcs; ++code) {
    refusals[ErrnoName(static_cast<Errc>(code))] +=
        input.counters.refusals(static_cast<Errc>(code));
  }
  out.Begin("volfs_refusals_total", "counter", "Refused requests and file operations, by errno.");
  for (const auto& [name, count] : refusals) out.Sample({{"errno", name}}, count);
  out.Begin("volfs_events_total", "counter", "Events of the store since the mount.");
  out.Sample({}, input.events);
}

void WriteGlobals(Writer& out, const MetricsInput& input) {
  out.Begin("volfs_build_info", "gauge", "Always 1; the label tells the version.");
  out.Sample({{"version", VOLFS_VERSION}}, 1);
  out.Begin("volfs_start_time_seconds", "gauge", "When the mount began, since 1970.");
  out.Sample({}, static_cast<uint64_t>(input.started_ns / 1'000'000'000));
  out.Begin("volfs_copy_rate_limit_bytes_per_second", "gauge", "The limit of all copying.");
  out.Sample({}, input.copy_rate == Throttle::kUnlimited ? "+Inf" : StrCat(input.copy_rate));
  out.Begin("volfs_copy_jobs_limit", "gauge", "How many clones are copied at once.");
  out.Sample({}, input.copy_jobs);
}

}  // namespace

void ControlCounters::CountRequest(RequestKind kind, Outcome outcome) {
  requests_[static_cast<size_t>(kind)][static_cast<size_t>(outcome)].fetch_add(
      1, std::memory_order_relaxed);
}

void ControlCounters::CountRefusal(Errc code) {
  const auto index = static_cast<size_t>(code);
  assert(index < kErrcs);
  refusals_[index].fetch_add(1, std::memory_order_relaxed);
}

uint64_t ControlCounters::requests(RequestKind kind, Outcome outcome) const {
  return requests_[static_cast<size_t>(kind)][static_cast<size_t>(outcome)].load(
      std::memory_order_relaxed);
}

uint64_t ControlCounters::refusals(Errc code) const {
  return refusals_[static_cast<size_t>(code)].load(std::memory_order_relaxed);
}

std::string MetricsText(const MetricsInput& input) {
  Writer out;
  WriteGlobals(out, input);
  WriteCounters(out, input);
  WriteVolumeCounts(out, input);
  WriteVolumes(out, input);
  WriteSnapshots(out, input);
  WriteNodes(out, input);
  return out.Take();
}

}  // namespace volfs
