#include "control/tree/fixed_entry.h"

#include <array>
#include <cassert>

#include "blockstore/base/str_cat.h"
#include "control/request/request.h"
#include "control/text/name.h"
#include "control/tree/diff_place.h"
#include "control/tree/status.h"

namespace volfs {
namespace {

std::string Help(ControlView&) { return HelpText(); }
std::string StatusLines(ControlView& view) { return StatusText(view.Volumes()); }
std::string StatusObjects(ControlView& view) {
  return StatusJson(view.Volumes(), view.Snapshots());
}
std::string Refusals(ControlView& view) { return view.state().last_error.Text(view.only_uid()); }
std::string Types(ControlView& view) { return TypesText(view.Nodes()); }

std::string Metrics(ControlView& view) {
  const ControlState& state = view.state();
  return MetricsText({.volumes = view.Volumes(),
                      .snapshots = view.Snapshots(),
                      .nodes = view.Nodes(),
                      .counters = state.counters,
                      .events = state.feed->ring().added(),
                      .copy_rate = state.limits.Number(Limit::kCopyRate),
                      .copy_jobs = state.limits.Number(Limit::kCopyJobs),
                      .started_ns = state.started_ns});
}

std::string Config(ControlView& view) {
  std::string text;
  for (const auto& [key, value] : view.state().config.options) {
    text += StrCat(OneLine(key), '=', OneLine(value), '\n');
  }
  return text;
}

std::string CopyRate(ControlView& view) {
  return view.state().limits.Value(Limit::kCopyRate) + '\n';
}

std::string CopyJobs(ControlView& view) {
  return view.state().limits.Value(Limit::kCopyJobs) + '\n';
}

std::string WatchHelp(ControlView&) {
  return "The files that wait are in this directory. They open by name, but are not listed.\n"
         "events        one JSON object per line for each event from the open on\n"
         "volumes/NAME  waits until the volume is not `creating`, then reads as its status;\n"
         "              `deleted` if it is gone by then\n";
}

std::string DiffHelp(ControlView&) {
  return "What has changed in volume V since its snapshot A: up to its snapshot B, or up to now\n"
         "(A.. without B). The files open by name, but are not listed.\n"
         "V/A..B              a sparse image as large as B: its data is what has changed\n"
         "V/ranges/A..B       a line for each changed range: OFFSET LENGTH data|zero, in bytes\n"
         "V/ranges.json/A..B  the same as JSON\n";
}

using enum FixedKind;
constexpr uint64_t kLimitsDirectory = 48;
constexpr uint64_t kWatchDirectory = 80;

constexpr std::array kEntries = {
    FixedEntry{inode::kControl, inode::kRoot, "control", kDirectory},
    FixedEntry{16, inode::kControl, "help", kText, Help},
    FixedEntry{17, inode::kControl, "clone", kRequest},
    FixedEntry{18, inode::kControl, "snapshot", kRequest},
    FixedEntry{19, inode::kControl, "restore", kRequest},
    FixedEntry{20, inode::kControl, "revert", kRequest},
    FixedEntry{21, inode::kControl, "create", kRequest},
    FixedEntry{22, inode::kControl, "resize", kRequest},
    FixedEntry{23, inode::kControl, "delete", kRequest},
    FixedEntry{24, inode::kControl, "cancel", kRequest},
    FixedEntry{32, inode::kControl, "status", kText, StatusLines},
    FixedEntry{33, inode::kControl, "status.json", kText, StatusObjects},
    FixedEntry{34, inode::kControl, "last_error", kText, Refusals},
    FixedEntry{35, inode::kControl, "metrics", kText, Metrics},
    FixedEntry{36, inode::kControl, "config", kText, Config},
    FixedEntry{37, inode::kControl, "types", kText, Types},
    FixedEntry{kLimitsDirectory, inode::kControl, "limits", kDirectory},
    FixedEntry{49, kLimitsDirectory, "copy_rate", kCopyRate, CopyRate},
    FixedEntry{50, kLimitsDirectory, "copy_jobs", kCopyJobs, CopyJobs},
    FixedEntry{inode::kControlNodes, inode::kControl, "nodes", kDirectory},
    FixedEntry{inode::kControlVolumes, inode::kControl, "volumes", kDirectory},
    FixedEntry{inode::kControlSnapshots, inode::kControl, "snapshots", kDirectory},
    FixedEntry{kWatchDirectory, inode::kControl, "watch", kDirectory},
    FixedEntry{81, kWatchDirectory, "events", kEvents, nullptr, Listing::kUnlisted},
    FixedEntry{inode::kWatchVolumes, kWatchDirectory, "volumes", kDirectory},
    FixedEntry{83, kWatchDirectory, "help", kText, WatchHelp},
    FixedEntry{inode::kControlDiff, inode::kControl, "diff", kDirectory},
    FixedEntry{97, inode::kControlDiff, "help", kText, DiffHelp},
};

// Its length is nobody's to know; readers that look at the size first must not see an empty file.
constexpr uint64_t kEndlessBytes = 4096;

uint32_t ModeOf(const FixedEntry& entry, const ControlConfig& config) {
  if (entry.ino == inode::kControl && config.is_private) return config.control_gid ? 0550 : 0500;
  switch (entry.kind) {
    case kDirectory:
      return 0555;
    case kText:
    case kEvents:
      return 0444;
    case kRequest:
      return config.control_gid ? 0660 : 0600;
    case kCopyRate:
    case kCopyJobs:
      return 0644;
  }
  return 0;
}

}  // namespace

std::span<const FixedEntry> FixedEntries() { return kEntries; }

const FixedEntry* FindFixed(uint64_t ino) {
  for (const FixedEntry& entry : kEntries) {
    if (entry.ino == ino) return &entry;
  }
  return nullptr;
}

const FixedEntry* FindFixed(uint64_t parent, std::string_view name) {
  for (const FixedEntry& entry : kEntries) {
    if (entry.parent == parent && entry.name == name) return &entry;
  }
  return nullptr;
}

std::string FixedText(const FixedEntry& entry, ControlView& view) {
  if (entry.kind == kText) {
    const RenderSlots::Slot slot(view.state().render_slots);
    return entry.text(view);
  }
  if (entry.text != nullptr) return entry.text(view);
  if (entry.kind != kRequest) return "";
  const auto kind = RequestKindOf(entry.name);
  assert(kind.has_value());
  return UsageLine(*kind) + '\n';
}

ControlEntry DescribeFixed(const FixedEntry& entry, ControlView& view) {
  const ControlConfig& config = view.state().config;
  ControlEntry described;
  described.ino = entry.ino;
  described.name = entry.name;
  described.directory = entry.kind == kDirectory;
  described.mode = ModeOf(entry, config);
  described.uid = config.uid;
  const bool for_group =
      entry.kind == kRequest || (entry.ino == inode::kControl && config.is_private);
  described.gid = for_group ? config.control_gid.value_or(config.gid) : config.gid;
  described.size_bytes = entry.kind == kEvents ? kEndlessBytes : FixedText(entry, view).size();
  described.mtime_ns = view.state().started_ns;
  return described;
}

}  // namespace volfs
