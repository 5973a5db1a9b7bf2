#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "blockstore/catalog/fields.h"
#include "blockstore/catalog/sqlite.h"

namespace volfs::catalog {

// The CRC-32 of a row: of its table's name and all its other columns, in their order (FORMAT.md,
// "Checksums").
class RowChecksum {
 public:
  explicit RowChecksum(std::string_view table) { Add(table); }
  void Add(std::string_view text);
  void Add(std::span<const uint8_t> bytes);
  void Add(int64_t value);
  [[nodiscard]] int64_t value() const { return crc_; }

 private:
  void AddRaw(const void* data, size_t size);
  uint32_t crc_ = 0;
};

// Binds a record's columns and its checksum.
class RowWriter {
 public:
  RowWriter(Query& query, std::string_view table) : query_(query), crc_(table) {}
  void operator()(const char*, const std::string& field, Rule) {
    crc_.Add(field);
    query_.Text(field);
  }
  template <typename T>
  requires std::is_integral_v<T> || std::is_enum_v<T>
  void operator()(const char*, const T& field, Rule) {
    crc_.Add(static_cast<int64_t>(field));
    query_.Integer(static_cast<int64_t>(field));
  }
  void Finish() { query_.Integer(crc_.value()); }

 private:
  Query& query_;
  RowChecksum crc_;
};

// Reads a record's columns; the first thing wrong with the row is kept as a problem.
class RowReader {
 public:
  RowReader(Query& query, std::string_view table) : query_(query), crc_(table) {}
  void operator()(const char* column, std::string& field, Rule) { field = ReadText(column); }
  template <typename T>
  requires std::is_integral_v<T> || std::is_enum_v<T>
  void operator()(const char* column, T& field, Rule rule) {
    const int64_t stored = ReadInteger(column, rule);
    field = static_cast<T>(stored);
    if (static_cast<int64_t>(field) != stored) NoteProblem(IntegerTooBig(column, stored));
  }
  // Empty if the row's storage and checksum are right.
  [[nodiscard]] std::string Finish();
  // "id=17" or "key=limits": the first column, for messages.
  [[nodiscard]] const std::string& key() const { return key_; }

 private:
  std::string_view ReadText(const char* column);
  int64_t ReadInteger(const char* column, Rule rule);
  static std::string IntegerTooBig(std::string_view column, int64_t stored);
  void NoteProblem(std::string problem) {
    if (problem_.empty()) problem_ = std::move(problem);
  }
  Query& query_;
  RowChecksum crc_;
  int column_ = 0;
  std::string key_;
  std::string problem_;
};

class ColumnNames {
 public:
  template <typename T>
  void operator()(const char* column, const T&, Rule) {
    names_.emplace_back(column);
  }
  // The three statements of a table, made from its columns.
  [[nodiscard]] std::string PutText(std::string_view table) const;
  [[nodiscard]] std::string DeleteText(std::string_view table) const;
  [[nodiscard]] std::string SelectText(std::string_view table) const;

 private:
  std::vector<std::string> names_;
};

template <typename R>
ColumnNames ColumnsOf() {
  ColumnNames names;
  const R record;
  VisitFields(names, record);
  return names;
}

// One table of records. Not for presence, which has a form of its own (catalog/presence.h).
//
// Thread-safety: none; as its Connection. Durability: a put record is part of the open transaction.
template <typename R>
class RecordTable {
 public:
  RecordTable(Connection& connection, std::string name)
      : connection_(connection),
        name_(std::move(name)),
        put_(connection, ColumnsOf<R>().PutText(name_)),
        delete_(connection, ColumnsOf<R>().DeleteText(name_)),
        select_(connection, ColumnsOf<R>().SelectText(name_)) {}

  // Adds the record, or takes the place of the one with its key. Requires: Problem() is empty.
  Status Put(const R& record) {
    Query query(put_);
    RowWriter write(query, name_);
    VisitFields(write, record);
    write.Finish();
    return query.Run();
  }

  // No error if there is none.
  Status Delete(Id key) { return Query(delete_).Integer(key).Run(); }
  Status Delete(const std::string& key) { return Query(delete_).Text(key).Run(); }

  // All of them in the order of their keys. kCorrupt names the first bad row.
  Result<std::vector<R>> Load() {
    std::vector<R> records;
    Query query(select_);
    for (;;) {
      ASSIGN_OR_RETURN(const bool more, query.Next());
      if (!more) return records;
      R& record = records.emplace_back();
      RowReader read(query, name_);
      VisitFields(read, record);
      std::string problem = read.Finish();
      if (problem.empty()) problem = Problem(record);
      if (!problem.empty()) {
        return connection_.Corrupt("table " + name_ + ", row " + read.key() + ": " + problem);
      }
    }
  }

 private:
  Connection& connection_;
  const std::string name_;
  Statement put_;
  Statement delete_;
  Statement select_;
};

}  // namespace volfs::catalog
