#include "control/tree/fields.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

#include "control/text/io.h"
#include "control/text/name.h"
#include "control/text/time_text.h"
#include "control/tree/control_tree.h"

namespace volfs {
namespace {

JsonValue TextOrNull(const std::string& text) {
  if (text.empty()) return nullptr;
  return OneLine(text);
}

JsonValue EtaSeconds(const VolumeInfo& info) {
  if (!info.progress.creating) return uint64_t{0};
  if (!info.progress.eta_seconds) return nullptr;
  return *info.progress.eta_seconds;
}

JsonValue Attachments(const VolumeInfo& info) {
  return static_cast<uint64_t>(std::max(info.attachments, 0));
}

JsonValue CopyRate(const VolumeInfo& info) {
  if (info.copy_rate == Throttle::kUnlimited) return nullptr;
  return info.copy_rate;
}

JsonValue Verified(const VolumeInfo& info) {
  switch (info.verification) {
    case Verification::kNone:
      return nullptr;
    case Verification::kWanted:
      return "pending";
    case Verification::kDone:
      return "ok";
  }
  return nullptr;
}

JsonValue TypeNames(const NodeInfo& info) {
  std::string names;
  for (const VolumeType& type : info.types) names += (names.empty() ? "" : " ") + type.name;
  return TextOrNull(names);
}

constexpr uint64_t kFile = inode::kControlFile;

using V = VolumeInfo;
constexpr std::array kVolumeFields = {
    VolumeField{kFile + 0, "id", [](const V& v) -> JsonValue { return IdText(v.id); }},
    VolumeField{kFile + 1, "size", [](const V& v) -> JsonValue { return v.size_bytes; }},
    VolumeField{kFile + 2, "status", [](const V& v) { return TextOrNull(v.status); }},
    VolumeField{kFile + 3, "type", [](const V& v) { return TextOrNull(v.type); }},
    VolumeField{kFile + 4, "node", [](const V& v) { return TextOrNull(v.node); }},
    VolumeField{kFile + 5, "region", [](const V& v) { return TextOrNull(v.region); }},
    VolumeField{kFile + 6, "source", [](const V& v) { return TextOrNull(v.source); }},
    VolumeField{kFile + 7, "hydrated",
                [](const V& v) -> JsonValue { return HydratedPercent(v.progress); }},
    VolumeField{kFile + 8, "copied_bytes",
                [](const V& v) -> JsonValue { return v.progress.copied_bytes; }},
    VolumeField{kFile + 9, "total_bytes",
                [](const V& v) -> JsonValue { return v.progress.total_bytes; }},
    VolumeField{kFile + 10, "rate_bytes",
                [](const V& v) -> JsonValue { return v.progress.rate_bytes; }},
    VolumeField{kFile + 11, "eta_seconds", EtaSeconds, "unknown"},
    VolumeField{kFile + 18, "copy_rate", CopyRate, "max", true},
    VolumeField{kFile + 19, "verified", Verified},
    VolumeField{kFile + 20, "io",
                [](const V& v) -> JsonValue { return std::string(IoText(v.native)); }, "", true},
    VolumeField{kFile + 12, "allocated_bytes",
                [](const V& v) -> JsonValue { return v.allocated_bytes; }},
    VolumeField{kFile + 16, "exclusive_bytes",
                [](const V& v) -> JsonValue { return v.exclusive_bytes; }},
    VolumeField{kFile + 17, "shared_bytes",
                [](const V& v) -> JsonValue { return v.allocated_bytes - v.exclusive_bytes; }},
    VolumeField{kFile + 13, "attachments", Attachments},
    VolumeField{kFile + 14, "error", [](const V& v) { return TextOrNull(v.error); }},
    VolumeField{kFile + 15, "created",
                [](const V& v) -> JsonValue { return UtcSeconds(v.created_ns); }},
};

using S = SnapshotInfo;
constexpr std::array kSnapshotFields = {
    SnapshotField{kFile + 0, "id", [](const S& s) -> JsonValue { return IdText(s.id); }},
    SnapshotField{kFile + 1, "created",
                  [](const S& s) -> JsonValue { return UtcSeconds(s.created_ns); }},
    SnapshotField{kFile + 2, "size_bytes", [](const S& s) -> JsonValue { return s.size_bytes; }},
    SnapshotField{kFile + 3, "exclusive_bytes",
                  [](const S& s) -> JsonValue { return s.exclusive_bytes; }},
    SnapshotField{kFile + 4, "shared_bytes",
                  [](const S& s) -> JsonValue { return s.allocated_bytes - s.exclusive_bytes; }},
};

using N = NodeInfo;
constexpr std::array kNodeFields = {
    NodeField{kFile + 0, "uuid", [](const N& n) { return TextOrNull(n.uuid); }},
    NodeField{kFile + 1, "path", [](const N& n) { return TextOrNull(n.path); }},
    NodeField{kFile + 2, "region", [](const N& n) { return TextOrNull(n.region); }},
    NodeField{kFile + 3, "types", TypeNames},
    NodeField{kFile + 4, "state", [](const N& n) { return TextOrNull(n.state); }},
    NodeField{kFile + 5, "size_bytes", [](const N& n) -> JsonValue { return n.space.size_bytes; }},
    NodeField{kFile + 6, "free_bytes", [](const N& n) -> JsonValue { return n.space.free_bytes; }},
    NodeField{kFile + 7, "filesystem", [](const N& n) { return TextOrNull(n.filesystem); }},
};

}  // namespace

std::span<const VolumeField> VolumeFields() { return kVolumeFields; }
std::span<const SnapshotField> SnapshotFields() { return kSnapshotFields; }
std::span<const NodeField> NodeFields() { return kNodeFields; }

std::string InfoJson(const VolumeInfo& info) {
  JsonObject object{{"name", info.name}};
  for (const VolumeField& field : kVolumeFields) object.push_back({field.name, field.value(info)});
  return JsonLine(object);
}

std::string InfoJson(const SnapshotInfo& info) {
  JsonObject object{{"name", info.name}, {"volume", info.volume}};
  for (const SnapshotField& field : kSnapshotFields) {
    object.push_back({field.name, field.value(info)});
  }
  return JsonLine(object);
}

JsonText SnapshotsJson(std::span<const SnapshotInfo> snapshots) {
  std::vector<JsonObject> objects;
  for (const SnapshotInfo& snapshot : snapshots) {
    JsonObject object{{"name", snapshot.name}};
    for (const SnapshotField& field : kSnapshotFields) {
      object.push_back({field.name, field.value(snapshot)});
    }
    objects.push_back(std::move(object));
  }
  return JsonObjects(objects);
}

Hundredths HydratedPercent(const CloneProgress& progress) {
  constexpr uint64_t kWhole = 10'000;
  if (!progress.creating) return {kWhole};
  // A value a hair below a whole hundredth is meant to be one: 37.5 is not 37.49.
  const double hundredths = std::floor(progress.percent() * 100 + 1e-6);
  const double bounded = std::clamp(hundredths, 0.0, static_cast<double>(kWhole - 1));
  return {static_cast<uint64_t>(bounded)};
}

std::string IdText(Id id) {
  std::array<char, 17> text{};
  std::snprintf(text.data(), text.size(), "%016llx", static_cast<unsigned long long>(id));
  return text.data();
}

}  // namespace volfs
