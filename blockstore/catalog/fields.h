#pragma once

#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>

#include "blockstore/catalog/catalog.h"

// The one list of the catalog's columns: the names of a record's fields, the order in which they
// are stored and checksummed, and their permitted values. Statements, encoding, decoding and checks
// are made from it. The tables themselves are in catalog/schema.cc, and FORMAT.md is normative.
namespace volfs::catalog {

// The permitted values of a column. Broken in a Commit: kInvalid; broken in the database: kCorrupt.
enum class Rule : uint8_t {
  kId,            // not kNoId, low 8 bits and the upper bit zero
  kOptionalId,    // or kNoId
  kName,          // [A-Za-z0-9][A-Za-z0-9._-]*, at most kMaxNameBytes
  kOptionalName,  // or empty
  kSourceName,    // a name, or two with '@' between them, or empty
  kKey,           // text, not empty, at most kMaxNameBytes
  kText,          // text, at most kMaxTextBytes
  kBytes,         // a quantity of bytes: at most kMaxVolumeBytes
  kCount,         // at most 2^63 - 1
  kTime,          // any
  kBlockSize,     // a power of two from 512 to 2^20
  kMode,          // at most 07777
  kFlag,          // 0 or 1
  kCloneState,    // one of CloneState
  kOne,           // 1: the key of a table with one row
};

// Rows that are not records of catalog.h.
struct NodeRow {  // a NodeRecord without its types
  uint32_t one = 1;
  NodeRecord node;
};
struct TypeRow {  // one of the node's types; `position` keeps their order
  uint64_t position = 0;
  VolumeType type;
};
struct SettingRow {
  std::string key;
  std::string value;
};
struct MetaRow {  // feature masks; and "seal" (catalog.cc)
  std::string key;
  uint64_t value = 0;
};

template <typename R, typename Record>
concept FieldsOf = std::same_as<std::remove_const_t<R>, Record>;

// VisitFields(visitor, record) calls visitor(column, field, rule) for every column but the
// checksum, in their stored order, the key first.
template <typename V, FieldsOf<NodeRow> R>
void VisitFields(V& visit, R& row) {
  visit("one", row.one, Rule::kOne);
  visit("uuid", row.node.uuid, Rule::kName);
  visit("name", row.node.name, Rule::kName);
  visit("region", row.node.region, Rule::kOptionalName);
  visit("block_size", row.node.block_size, Rule::kBlockSize);
  visit("generation", row.node.generation, Rule::kCount);
}

template <typename V, FieldsOf<TypeRow> R>
void VisitFields(V& visit, R& row) {
  visit("position", row.position, Rule::kCount);
  visit("name", row.type.name, Rule::kName);
  visit("least_bytes", row.type.least_bytes, Rule::kBytes);
  visit("greatest_bytes", row.type.greatest_bytes, Rule::kBytes);
}

template <typename V, FieldsOf<PeerRecord> R>
void VisitFields(V& visit, R& peer) {
  visit("uuid", peer.uuid, Rule::kName);
  visit("name", peer.name, Rule::kOptionalName);
  visit("path", peer.path, Rule::kText);
  visit("generation", peer.generation, Rule::kCount);
}

template <typename V, FieldsOf<LayerRecord> R>
void VisitFields(V& visit, R& layer) {
  visit("id", layer.id, Rule::kId);
  visit("parent", layer.parent, Rule::kOptionalId);
  visit("parent_node", layer.parent_node, Rule::kOptionalName);
  visit("size_bytes", layer.size_bytes, Rule::kBytes);
  visit("parent_bytes", layer.parent_bytes, Rule::kBytes);
  visit("has_file", layer.has_file, Rule::kFlag);
}

template <typename V, FieldsOf<Attributes> R>
void VisitFields(V& visit, R& attributes) {
  visit("uid", attributes.uid, Rule::kCount);
  visit("gid", attributes.gid, Rule::kCount);
  visit("mode", attributes.mode, Rule::kMode);
  visit("atime_ns", attributes.atime_ns, Rule::kTime);
  visit("mtime_ns", attributes.mtime_ns, Rule::kTime);
  visit("ctime_ns", attributes.ctime_ns, Rule::kTime);
}

template <typename V, FieldsOf<VolumeRecord> R>
void VisitFields(V& visit, R& volume) {
  visit("id", volume.id, Rule::kId);
  visit("name", volume.name, Rule::kName);
  visit("head", volume.head, Rule::kOptionalId);
  visit("size_bytes", volume.size_bytes, Rule::kBytes);
  visit("type", volume.type, Rule::kOptionalName);
  visit("created_ns", volume.created_ns, Rule::kTime);
  VisitFields(visit, volume.attributes);
  visit("token", volume.token, Rule::kText);
  visit("request", volume.request, Rule::kText);
}

template <typename V, FieldsOf<SnapshotRecord> R>
void VisitFields(V& visit, R& snapshot) {
  visit("id", snapshot.id, Rule::kId);
  visit("volume", snapshot.volume, Rule::kId);
  visit("name", snapshot.name, Rule::kName);
  visit("layer", snapshot.layer, Rule::kId);
  visit("size_bytes", snapshot.size_bytes, Rule::kBytes);
  visit("created_ns", snapshot.created_ns, Rule::kTime);
  VisitFields(visit, snapshot.attributes);
}

template <typename V, FieldsOf<HoldRecord> R>
void VisitFields(V& visit, R& hold) {
  visit("clone", hold.clone, Rule::kId);
  visit("clone_node", hold.clone_node, Rule::kOptionalName);
  visit("clone_name", hold.clone_name, Rule::kOptionalName);
  visit("layer", hold.layer, Rule::kId);
  visit("volume", hold.volume, Rule::kOptionalId);
  visit("snapshot", hold.snapshot, Rule::kOptionalId);
}

template <typename V, FieldsOf<CloneRecord> R>
void VisitFields(V& visit, R& clone) {
  visit("clone", clone.clone, Rule::kId);
  visit("state", clone.state, Rule::kCloneState);
  visit("name", clone.name, Rule::kOptionalName);
  visit("source_name", clone.source_name, Rule::kSourceName);
  visit("source_node", clone.source_node, Rule::kOptionalName);
  visit("source_node_name", clone.source_node_name, Rule::kOptionalName);
  visit("source_layer", clone.source_layer, Rule::kOptionalId);
  visit("source_bytes", clone.source_bytes, Rule::kBytes);
  visit("total_bytes", clone.total_bytes, Rule::kBytes);
  visit("total_known", clone.total_known, Rule::kFlag);
  visit("copied_bytes", clone.copied_bytes, Rule::kBytes);
  visit("cursor_block", clone.cursor_block, Rule::kCount);
  visit("error", clone.error, Rule::kText);
}

template <typename V, FieldsOf<SettingRow> R>
void VisitFields(V& visit, R& setting) {
  visit("key", setting.key, Rule::kKey);
  visit("value", setting.value, Rule::kText);
}

template <typename V, FieldsOf<MetaRow> R>
void VisitFields(V& visit, R& meta) {
  visit("key", meta.key, Rule::kKey);
  visit("value", meta.value, Rule::kTime);
}

// Empty, or which column breaks its rule, or which columns do not fit together.
std::string IntegerProblem(std::string_view column, int64_t stored, Rule rule);
std::string TextProblem(std::string_view column, std::string_view stored, Rule rule);

class Checker {
 public:
  void operator()(const char* column, const std::string& field, Rule rule) {
    if (problem_.empty()) problem_ = TextProblem(column, field, rule);
  }
  template <typename T>
  requires std::is_integral_v<T> || std::is_enum_v<T>
  void operator()(const char* column, const T& field, Rule rule) {
    if (problem_.empty()) problem_ = IntegerProblem(column, static_cast<int64_t>(field), rule);
  }
  [[nodiscard]] std::string& problem() { return problem_; }

 private:
  std::string problem_;
};

template <typename R>
std::string FieldsProblem(const R& record) {
  Checker check;
  VisitFields(check, record);
  return std::move(check.problem());
}

// Checks FieldsProblem, and the relations between the fields of one record.
template <typename R>
std::string Problem(const R& record) {
  return FieldsProblem(record);
}
template <>
std::string Problem(const TypeRow& row);
template <>
std::string Problem(const LayerRecord& layer);
template <>
std::string Problem(const CloneRecord& clone);

}  // namespace volfs::catalog
