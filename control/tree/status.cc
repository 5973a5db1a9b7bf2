#include "control/tree/status.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <map>
#include <span>
#include <string_view>
#include <tuple>

#include "blockstore/base/str_cat.h"
#include "control/tree/fields.h"

namespace volfs {
namespace {

// After the name.
constexpr std::array<std::string_view, 6> kColumns = {"status", "size",     "node",
                                                      "type",   "hydrated", "source"};

std::array<const VolumeField*, kColumns.size()> ColumnFields() {
  std::array<const VolumeField*, kColumns.size()> fields{};
  for (size_t i = 0; i < kColumns.size(); ++i) {
    fields[i] = FindField(VolumeFields(), kColumns[i]);
    assert(fields[i] != nullptr);
  }
  return fields;
}

}  // namespace

std::string StatusText(const std::vector<VolumeInfo>& volumes) {
  const auto fields = ColumnFields();
  std::string text;
  for (const VolumeInfo& volume : volumes) {
    text += volume.name;
    for (const VolumeField* field : fields) {
      const std::string value = PlainText(field->value(volume));
      AppendPiece(text, ' ');
      AppendPiece(text, value.empty() ? "-" : value);
    }
    text += '\n';
  }
  return text;
}

namespace {

// Returns those of one volume: `snapshots` are sorted by their volume's name.
std::span<const SnapshotInfo> SnapshotsOf(const std::string& volume,
                                          const std::vector<SnapshotInfo>& snapshots) {
  const auto before = [](const SnapshotInfo& one, const std::string& name) {
    return one.volume < name;
  };
  const auto behind = [](const std::string& name, const SnapshotInfo& one) {
    return name < one.volume;
  };
  const auto first = std::lower_bound(snapshots.begin(), snapshots.end(), volume, before);
  const auto end = std::upper_bound(first, snapshots.end(), volume, behind);
  return std::span(snapshots).subspan(static_cast<size_t>(first - snapshots.begin()),
                                      static_cast<size_t>(end - first));
}

}  // namespace

std::string StatusJson(const std::vector<VolumeInfo>& volumes,
                       const std::vector<SnapshotInfo>& snapshots) {
  const auto fields = ColumnFields();
  std::vector<JsonObject> objects;
  objects.reserve(volumes.size());
  for (const VolumeInfo& volume : volumes) {
    JsonObject object{{"name", volume.name}};
    for (const VolumeField* field : fields) object.push_back({field->name, field->value(volume)});
    object.push_back({"snapshots", SnapshotsJson(SnapshotsOf(volume.name, snapshots))});
    objects.push_back(std::move(object));
  }
  return JsonArray(objects);
}

std::string TypesText(const std::vector<NodeInfo>& nodes) {
  std::map<std::tuple<std::string, uint64_t, uint64_t>, std::string> offers;
  for (const NodeInfo& node : nodes) {
    for (const VolumeType& type : node.types) {
      std::string& names = offers[{type.name, type.least_bytes, type.greatest_bytes}];
      names += (names.empty() ? "" : ",") + node.name;
    }
  }
  std::string text;
  for (const auto& [type, names] : offers) {
    const auto& [name, least, greatest] = type;
    text += StrCat(name, ' ', names, ' ', least, ' ', greatest, '\n');
  }
  return text;
}

}  // namespace volfs
