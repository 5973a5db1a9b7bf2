#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "blockstore/catalog/sqlite.h"
#include "blockstore/map/presence.h"

namespace volfs::catalog {

// One row of the presence table: chunks [first, first + count) of a layer.
struct PresenceRow {
  uint64_t first = 0;
  uint64_t count = 0;
  int64_t state = 0;                // kRowPresent, kRowZero, kRowMixed
  std::span<const uint8_t> bits{};  // kRowMixed: PresenceChunk::bytes(); else empty
  [[nodiscard]] uint64_t end() const { return first + count; }
};

// All rows of a layer as they were at one instant, unchecked. The slow parts of reading them
// (checksums, and the reader's work on the runs) need no lock.
class PresenceImage {
 public:
  // Visits all runs that are not absent, ascending, neighbours of one state merged. kCorrupt names
  // the first bad row of the catalog `where`; the runs that were visited until then are right.
  Status Visit(Id layer, std::string_view where,
               const std::function<void(const PresenceRun&)>& visit) const;

 private:
  friend class PresenceTable;
  struct Stored {
    int64_t first, count, state, crc;
    size_t bits_at, bits_size;  // in bits_
  };
  std::vector<Stored> rows_;
  std::vector<uint8_t> bits_;
};

// The presence table: for each layer that lies over another, disjoint rows (units: chunks of
// PresenceChunk::kChunkBlocks blocks). Blocks without a row are absent.
//
// Invariants (FORMAT.md, "Presence"):
//   T1  rows of one layer do not overlap;
//   T2  a uniform row is present or zero, never absent; a mixed row is one chunk;
//   T3  rows that Set touched are merged with touching uniform rows of the same state.
// Thread-safety: none; as its Connection. Cost of Set: one lookup and one change for each chunk
// that is touched in part, a few for each range of whole chunks, whatever its length.
class PresenceTable {
 public:
  explicit PresenceTable(Connection& connection);

  Status Set(Id layer, const PresenceRuns& runs);
  Status Clear(Id layer);
  Result<PresenceImage> Read(Id layer);
  // `*alike`, if that is wanted: how many chunks from this one on its row says the same of, 1 or
  // more.
  Result<PresenceChunk> ReadChunk(Id layer, uint64_t chunk, uint64_t* alike = nullptr);
  Result<std::vector<Id>> Layers();  // that have rows

 private:
  friend class PresenceEditor;
  // A row as it was found, with a copy of its bits.
  struct Found {
    int64_t rowid = 0;
    PresenceRow row;
    PresenceChunk chunk;  // of a mixed row
  };
  // The last row that begins at or before `chunk`; it may end before it.
  Result<std::optional<Found>> FindAtOrBefore(Id layer, uint64_t chunk);
  Status Insert(Id layer, const PresenceRow& row);
  Status Replace(int64_t rowid, Id layer, const PresenceRow& row);
  Status DeleteBetween(Id layer, uint64_t first, uint64_t end);  // rows that begin there

  Connection& connection_;
  Statement find_;
  Statement insert_;
  Statement replace_;
  Statement delete_;
  Statement clear_;
  Statement read_;
  Statement next_layer_;
};

}  // namespace volfs::catalog
