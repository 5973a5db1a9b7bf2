#pragma once

#include "blockstore/catalog/sqlite.h"

namespace volfs::catalog {

// The format of a database that was opened.
struct Format {
  bool empty = false;      // nothing was created in it, or its creation did not finish
  bool read_only = false;  // it has a read-only feature that this program does not know
};

// kNotSupported: made by a newer program. kCorrupt: not a catalog, or its tables are not ours.
Result<Format> ReadFormat(Connection& connection);

// Makes all tables in the open transaction, and marks the database as a catalog.
Status CreateTables(Connection& connection);

}  // namespace volfs::catalog
