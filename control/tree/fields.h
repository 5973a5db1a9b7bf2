#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "blockstore/store/store.h"
#include "control/text/json.h"

namespace volfs {

// The files of control/volumes/NAME/, control/snapshots/V/S/ and control/nodes/NODE/. Each
// directory has one table, and a new file is one line of it. Each file holds one value and an LF.
// The same values are the columns of control/status and the members of info.json.
//
// A facet is the low byte of the file's inode number (control_tree.h). It never changes and is
// never used for another file.
template <typename Info>
struct Field {
  uint64_t facet;
  std::string_view name;
  JsonValue (*value)(const Info&);
  std::string_view if_null = "";  // the file's text where JSON has null
  bool writable = false;          // by the owner of control/
};
using VolumeField = Field<VolumeInfo>;
using SnapshotField = Field<SnapshotInfo>;
using NodeField = Field<NodeInfo>;

std::span<const VolumeField> VolumeFields();
std::span<const SnapshotField> SnapshotFields();
std::span<const NodeField> NodeFields();

// Each returns null if there is no such field.
template <typename Info>
const Field<Info>* FindField(std::span<const Field<Info>> fields, std::string_view name) {
  for (const Field<Info>& field : fields) {
    if (field.name == name) return &field;
  }
  return nullptr;
}
template <typename Info>
const Field<Info>* FindField(std::span<const Field<Info>> fields, uint64_t facet) {
  for (const Field<Info>& field : fields) {
    if (field.facet == facet) return &field;
  }
  return nullptr;
}

// Returns the whole text of the file.
template <typename Info>
std::string FieldText(const Field<Info>& field, const Info& info) {
  const JsonValue value = field.value(info);
  const bool null = std::holds_alternative<std::nullptr_t>(value);
  return (null ? std::string(field.if_null) : PlainText(value)) + '\n';
}

// Returns the text of info.json: the name and all fields as one object.
std::string InfoJson(const VolumeInfo& info);
std::string InfoJson(const SnapshotInfo& info);  // and its volume's name

// Returns the member `snapshots` of a volume in status.json: the name and all fields of each.
JsonText SnapshotsJson(std::span<const SnapshotInfo> snapshots);

// Returns how far a clone is, rounded down, and 100.00 only if it is whole.
Hundredths HydratedPercent(const CloneProgress& progress);

std::string IdText(Id id);  // 16 hexadecimal digits

}  // namespace volfs
