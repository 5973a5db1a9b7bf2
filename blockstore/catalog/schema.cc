#include "blockstore/catalog/schema.h"

#include <string>

#include "blockstore/base/str_cat.h"
#include "blockstore/catalog/format.h"
#include "blockstore/catalog/rows.h"

namespace volfs::catalog {
namespace {

struct Object {
  const char* name;
  const char* sql;  // as SQLite remembers it, to the byte
};

// Format version 1 (FORMAT.md, "Tables"). Never change one of these: a new version adds a step.
// STRICT: a column cannot hold another type than its own.
constexpr Object kObjects[] = {
    {"meta",
     "CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL, crc INTEGER NOT NULL) "
     "STRICT, WITHOUT ROWID"},
    {"node",
     "CREATE TABLE node (one INTEGER PRIMARY KEY, uuid TEXT NOT NULL, name TEXT NOT NULL, "
     "region TEXT NOT NULL, block_size INTEGER NOT NULL, generation INTEGER NOT NULL, "
     "crc INTEGER NOT NULL) STRICT"},
    {"volume_types",
     "CREATE TABLE volume_types (position INTEGER PRIMARY KEY, name TEXT NOT NULL, "
     "least_bytes INTEGER NOT NULL, greatest_bytes INTEGER NOT NULL, crc INTEGER NOT NULL) "
     "STRICT"},
    {"peers",
     "CREATE TABLE peers (uuid TEXT PRIMARY KEY, name TEXT NOT NULL, path TEXT NOT NULL, "
     "generation INTEGER NOT NULL, crc INTEGER NOT NULL) STRICT, WITHOUT ROWID"},
    {"layers",
     "CREATE TABLE layers (id INTEGER PRIMARY KEY, parent INTEGER NOT NULL, "
     "parent_node TEXT NOT NULL, size_bytes INTEGER NOT NULL, parent_bytes INTEGER NOT NULL, "
     "has_file INTEGER NOT NULL, crc INTEGER NOT NULL) STRICT"},
    {"volumes",
     "CREATE TABLE volumes (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, "
     "head INTEGER NOT NULL, size_bytes INTEGER NOT NULL, type TEXT NOT NULL, "
     "created_ns INTEGER NOT NULL, uid INTEGER NOT NULL, gid INTEGER NOT NULL, "
     "mode INTEGER NOT NULL, atime_ns INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, "
     "ctime_ns INTEGER NOT NULL, token TEXT NOT NULL, request TEXT NOT NULL, "
     "crc INTEGER NOT NULL) STRICT"},
    {"snapshots",
     "CREATE TABLE snapshots (id INTEGER PRIMARY KEY, volume INTEGER NOT NULL, "
     "name TEXT NOT NULL, layer INTEGER NOT NULL, size_bytes INTEGER NOT NULL, "
     "created_ns INTEGER NOT NULL, uid INTEGER NOT NULL, gid INTEGER NOT NULL, "
     "mode INTEGER NOT NULL, atime_ns INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, "
     "ctime_ns INTEGER NOT NULL, crc INTEGER NOT NULL, UNIQUE (volume, name)) STRICT"},
    {"holds",
     "CREATE TABLE holds (clone INTEGER PRIMARY KEY, clone_node TEXT NOT NULL, "
     "clone_name TEXT NOT NULL, layer INTEGER NOT NULL, volume INTEGER NOT NULL, "
     "snapshot INTEGER NOT NULL, crc INTEGER NOT NULL) STRICT"},
    {"clones",
     "CREATE TABLE clones (clone INTEGER PRIMARY KEY, state INTEGER NOT NULL, "
     "name TEXT NOT NULL, source_name TEXT NOT NULL, source_node TEXT NOT NULL, "
     "source_node_name TEXT NOT NULL, source_layer INTEGER NOT NULL, "
     "source_bytes INTEGER NOT NULL, total_bytes INTEGER NOT NULL, total_known INTEGER NOT NULL, "
     "copied_bytes INTEGER NOT NULL, cursor_block INTEGER NOT NULL, error TEXT NOT NULL, "
     "crc INTEGER NOT NULL) STRICT"},
    {"clone_intents", "CREATE UNIQUE INDEX clone_intents ON clones (name) WHERE state = 1"},
    {"settings",
     "CREATE TABLE settings (key TEXT PRIMARY KEY, value TEXT NOT NULL, crc INTEGER NOT NULL) "
     "STRICT, WITHOUT ROWID"},
    // With rowids: a row of 1 KiB would not fit into the pages of a table without.
    {"presence",
     "CREATE TABLE presence (layer INTEGER NOT NULL, first_chunk INTEGER NOT NULL, "
     "chunk_count INTEGER NOT NULL, state INTEGER NOT NULL, bits BLOB NOT NULL, "
     "crc INTEGER NOT NULL, UNIQUE (layer, first_chunk)) STRICT"},
};

Error NotSupported(const Connection& connection, std::string_view what) {
  return Error{Errc::kNotSupported,
               StrCat(connection.where(), ": ", what,
                      "; it was made by a newer volfs, and only that one can open it")};
}

// Checks the feature masks.
Result<Format> ReadFeatures(Connection& connection) {
  Format format;
  RecordTable<MetaRow> meta(connection, "meta");
  ASSIGN_OR_RETURN(const auto rows, meta.Load());
  int masks = 0;
  for (const MetaRow& row : rows) {
    if (row.key == "feature_refuse") {
      ++masks;
      if ((row.value & ~kKnownRefuse) != 0) {
        return NotSupported(connection, "it has a feature that this program does not know");
      }
    } else if (row.key == "feature_read_only") {
      ++masks;
      format.read_only = (row.value & ~kKnownReadOnly) != 0;
    } else if (row.key == "feature_ignore") {
      ++masks;
    }
  }
  if (masks != 3) return connection.Corrupt("table meta lacks a feature mask");
  return format;
}

// A table with another shape would make our statements fail, or worse, mean something else. Unknown
// tables may exist (a feature to be ignored), unless they would act on ours.
Status CheckTables(Connection& connection) {
  Statement find(connection, "SELECT sql FROM sqlite_schema WHERE name = ?");
  for (const Object& object : kObjects) {
    Query query(find);
    query.Text(object.name);
    ASSIGN_OR_RETURN(const bool found, query.Next());
    if (!found || query.TextAt(0) != object.sql) {
      return connection.Corrupt(
          StrCat("table ", object.name, found ? " is not as it was made" : " is missing"));
    }
  }
  ASSIGN_OR_RETURN(const int64_t active,
                   connection.QueryInteger(
                       "SELECT count(*) FROM sqlite_schema WHERE type NOT IN ('table', 'index')"));
  if (active != 0) return connection.Corrupt("it has triggers or views, which are not ours");
  return OkStatus();
}

}  // namespace

Result<Format> ReadFormat(Connection& connection) {
  ASSIGN_OR_RETURN(const int64_t id, connection.QueryInteger("PRAGMA application_id"));
  ASSIGN_OR_RETURN(const int64_t version, connection.QueryInteger("PRAGMA user_version"));
  ASSIGN_OR_RETURN(const int64_t objects,
                   connection.QueryInteger("SELECT count(*) FROM sqlite_schema"));
  // Tables, marks and the node's row come in one transaction: without them there is nothing.
  if (id == 0 && version == 0 && objects == 0) return Format{.empty = true};
  if (id != kApplicationId) return connection.Corrupt("the database is not a volfs catalog");
  if (version > kFormatVersion) {
    return NotSupported(connection, StrCat("it has format version ", version));
  }
  if (version != kFormatVersion) return connection.Corrupt(StrCat("format version ", version));
  RETURN_IF_ERROR(CheckTables(connection));
  return ReadFeatures(connection);
}

Status CreateTables(Connection& connection) {
  for (const Object& object : kObjects) RETURN_IF_ERROR(connection.Execute(object.sql));
  RecordTable<MetaRow> meta(connection, "meta");
  for (const char* key : {"feature_refuse", "feature_read_only", "feature_ignore", "seal"}) {
    RETURN_IF_ERROR(meta.Put(MetaRow{key, 0}));
  }
  RETURN_IF_ERROR(connection.Execute(StrCat("PRAGMA application_id = ", kApplicationId).c_str()));
  return connection.Execute(StrCat("PRAGMA user_version = ", kFormatVersion).c_str());
}

}  // namespace volfs::catalog
