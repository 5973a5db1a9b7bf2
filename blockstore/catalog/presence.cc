#include "blockstore/catalog/presence.h"

#include <algorithm>
#include <cassert>
#include <limits>

#include "blockstore/base/str_cat.h"
#include "blockstore/catalog/format.h"
#include "blockstore/catalog/rows.h"

namespace volfs::catalog {
namespace {

constexpr char kTable[] = "presence";
constexpr uint64_t kChunkBlocks = PresenceChunk::kChunkBlocks;
constexpr uint64_t kMaxChunks = kMaxBlocks / kChunkBlocks;

int64_t ChecksumOf(Id layer, int64_t first, int64_t count, int64_t state,
                   std::span<const uint8_t> bits) {
  RowChecksum crc(kTable);
  crc.Add(static_cast<int64_t>(layer));
  crc.Add(first);
  crc.Add(count);
  crc.Add(state);
  crc.Add(bits);
  return crc.value();
}

// Returns the problem of a row as it was read, or nothing. `chunk` gets the bits of a mixed one.
std::string RowProblem(Id layer, const PresenceRow& row, int64_t crc, PresenceChunk& chunk) {
  const auto first = static_cast<int64_t>(row.first);
  const auto count = static_cast<int64_t>(row.count);
  if (ChecksumOf(layer, first, count, row.state, row.bits) != crc) {
    return "its checksum does not match";
  }
  if (row.first >= kMaxChunks || row.count == 0 || row.count > kMaxChunks - row.first) {
    return StrCat("no layer has ", count, " chunks from ", first, " on");
  }
  if (row.state == kRowMixed) {
    if (row.count != 1) return StrCat("a mixed row of ", count, " chunks");
    if (!chunk.FromBytes(row.bits.data(), row.bits.size())) return "its bits mean nothing";
    return {};
  }
  if (row.state != kRowPresent && row.state != kRowZero)
    return StrCat("there is no state ", row.state);
  if (!row.bits.empty()) return "a uniform row has bits";
  return {};
}

Error CorruptRow(std::string_view where, Id layer, int64_t first, std::string_view problem) {
  return Error{Errc::kCorrupt, StrCat(where, ": table presence, row layer=", layer,
                                      " first_chunk=", first, ": ", problem)};
}

// Passes runs on, merging those that touch.
class RunMerger {
 public:
  explicit RunMerger(const std::function<void(const PresenceRun&)>& visit) : visit_(visit) {}
  void Add(const PresenceRun& run) {
    if (run.first == last_.end() && run.state == last_.state) {
      last_.count += run.count;
      return;
    }
    Flush();
    last_ = run;
  }
  void Flush() {
    if (last_.count != 0) visit_(last_);
    last_.count = 0;
  }

 private:
  const std::function<void(const PresenceRun&)>& visit_;
  PresenceRun last_;
};

}  // namespace

Status PresenceImage::Visit(Id layer, std::string_view where,
                            const std::function<void(const PresenceRun&)>& visit) const {
  RunMerger merger(visit);
  const std::function<void(const PresenceRun&)> add = [&](const PresenceRun& run) {
    merger.Add(run);
  };
  uint64_t end = 0;
  PresenceChunk chunk;
  for (const Stored& stored : rows_) {
    const PresenceRow row{static_cast<uint64_t>(stored.first), static_cast<uint64_t>(stored.count),
                          stored.state, std::span(bits_).subspan(stored.bits_at, stored.bits_size)};
    std::string problem = RowProblem(layer, row, stored.crc, chunk);
    if (problem.empty() && row.first < end) problem = "it overlaps the row before it";
    if (!problem.empty()) {
      merger.Flush();
      return CorruptRow(where, layer, stored.first, problem);
    }
    end = row.end();
    if (row.state == kRowMixed) {
      chunk.ForEachRun(row.first * kChunkBlocks, add);
    } else {
      merger.Add(PresenceRun{row.first * kChunkBlocks, row.count * kChunkBlocks,
                             static_cast<BlockState>(row.state)});
    }
  }
  merger.Flush();
  return OkStatus();
}

// One Set: puts each chunk that is touched in part together in memory, and writes it once.
class PresenceEditor {
 public:
  PresenceEditor(PresenceTable& table, Id layer) : table_(table), layer_(layer) {}

  Status Add(const PresenceRun& run);
  Status Flush();  // writes the chunk that is being put together

 private:
  Status OpenChunk(uint64_t chunk);
  // Removes [first, end) from all rows. The rest of these rows stays.
  Status Carve(uint64_t first, uint64_t end);
  Status PutUniform(uint64_t first, uint64_t end, BlockState state);

  PresenceTable& table_;
  const Id layer_;
  bool open_ = false;
  uint64_t chunk_number_ = 0;
  PresenceChunk chunk_;
  int64_t covered_by_ = 0;      // the row that had the chunk; 0: none
  bool covered_alone_ = false;  // and nothing else
};

Status PresenceEditor::Add(const PresenceRun& run) {
  uint64_t at = run.first;
  while (at < run.end()) {
    const uint64_t chunk = at / kChunkBlocks;
    const uint64_t whole = at % kChunkBlocks == 0 ? (run.end() - at) / kChunkBlocks : 0;
    if (whole != 0) {
      RETURN_IF_ERROR(Flush());
      RETURN_IF_ERROR(PutUniform(chunk, chunk + whole, run.state));
      at += whole * kChunkBlocks;
      continue;
    }
    if (!open_ || chunk_number_ != chunk) {
      RETURN_IF_ERROR(Flush());
      RETURN_IF_ERROR(OpenChunk(chunk));
    }
    const uint64_t end = std::min(run.end(), (chunk + 1) * kChunkBlocks);
    chunk_.Set({at % kChunkBlocks, end - at}, run.state);
    at = end;
  }
  return OkStatus();
}

Status PresenceEditor::Flush() {
  if (!std::exchange(open_, false)) return OkStatus();
  BlockState uniform{};
  if (chunk_.IsUniform(&uniform)) return PutUniform(chunk_number_, chunk_number_ + 1, uniform);
  const PresenceRow row{chunk_number_, 1, catalog::kRowMixed, chunk_.bytes()};
  if (covered_by_ != 0 && covered_alone_) return table_.Replace(covered_by_, layer_, row);
  if (covered_by_ != 0) RETURN_IF_ERROR(Carve(chunk_number_, chunk_number_ + 1));
  return table_.Insert(layer_, row);
}

Status PresenceEditor::OpenChunk(uint64_t chunk) {
  ASSIGN_OR_RETURN(auto found, table_.FindAtOrBefore(layer_, chunk));
  open_ = true;
  chunk_number_ = chunk;
  covered_by_ = 0;
  if (!found || found->row.end() <= chunk) {
    chunk_ = PresenceChunk();
    return OkStatus();
  }
  covered_by_ = found->rowid;
  covered_alone_ = found->row.count == 1;
  chunk_ = found->row.state == kRowMixed ? std::move(found->chunk)
                                         : PresenceChunk(static_cast<BlockState>(found->row.state));
  return OkStatus();
}

Status PresenceEditor::Carve(uint64_t first, uint64_t end) {
  assert(first < end);
  ASSIGN_OR_RETURN(auto left, table_.FindAtOrBefore(layer_, first));
  if (left && left->row.first < first && left->row.end() > first) {
    const PresenceRow old = left->row;  // uniform, as it has two chunks or more
    RETURN_IF_ERROR(
        table_.Replace(left->rowid, layer_, {old.first, first - old.first, old.state, {}}));
    if (old.end() > end) return table_.Insert(layer_, {end, old.end() - end, old.state, {}});
  }
  ASSIGN_OR_RETURN(auto right, table_.FindAtOrBefore(layer_, end - 1));
  RETURN_IF_ERROR(table_.DeleteBetween(layer_, first, end));
  if (right && right->row.first >= first && right->row.end() > end) {
    return table_.Insert(layer_, {end, right->row.end() - end, right->row.state, {}});
  }
  return OkStatus();
}

Status PresenceEditor::PutUniform(uint64_t first, uint64_t end, BlockState state) {
  RETURN_IF_ERROR(Carve(first, end));
  if (state == BlockState::kAbsent) return OkStatus();
  const auto row_state = static_cast<int64_t>(state);
  if (first != 0) {
    ASSIGN_OR_RETURN(auto left, table_.FindAtOrBefore(layer_, first - 1));
    if (left && left->row.end() == first && left->row.state == row_state) {
      RETURN_IF_ERROR(table_.DeleteBetween(layer_, left->row.first, left->row.first + 1));
      first = left->row.first;
    }
  }
  ASSIGN_OR_RETURN(auto right, table_.FindAtOrBefore(layer_, end));
  if (right && right->row.first == end && right->row.state == row_state) {
    RETURN_IF_ERROR(table_.DeleteBetween(layer_, end, end + 1));
    end = right->row.end();
  }
  return table_.Insert(layer_, {first, end - first, row_state, {}});
}

PresenceTable::PresenceTable(Connection& connection)
    : connection_(connection),
      find_(connection,
            "SELECT rowid, first_chunk, chunk_count, state, bits, crc FROM presence "
            "WHERE layer = ? AND first_chunk <= ? ORDER BY first_chunk DESC LIMIT 1"),
      insert_(connection,
              "INSERT INTO presence (layer, first_chunk, chunk_count, state, bits, crc) "
              "VALUES (?, ?, ?, ?, ?, ?)"),
      replace_(connection,
               "UPDATE presence SET chunk_count = ?, state = ?, bits = ?, crc = ? "
               "WHERE rowid = ?"),
      delete_(connection,
              "DELETE FROM presence WHERE layer = ? AND first_chunk >= ? AND first_chunk < ?"),
      clear_(connection, "DELETE FROM presence WHERE layer = ?"),
      read_(connection,
            "SELECT first_chunk, chunk_count, state, bits, crc FROM presence "
            "WHERE layer = ? ORDER BY first_chunk"),
      // SQLite's DISTINCT would read every row.
      next_layer_(connection,
                  "SELECT layer FROM presence WHERE layer >= ? ORDER BY layer LIMIT 1") {}

Status PresenceTable::Set(Id layer, const PresenceRuns& runs) {
  PresenceEditor editor(*this, layer);
  Status status = OkStatus();
  runs.ForEach([&](const PresenceRun& run) {
    if (status.ok()) status = editor.Add(run);
  });
  RETURN_IF_ERROR(std::move(status));
  return editor.Flush();
}

Status PresenceTable::Clear(Id layer) { return Query(clear_).Integer(layer).Run(); }

Result<std::optional<PresenceTable::Found>> PresenceTable::FindAtOrBefore(Id layer,
                                                                          uint64_t chunk) {
  Query query(find_);
  query.Integer(layer).Integer(chunk);
  ASSIGN_OR_RETURN(const bool any, query.Next());
  if (!any) return std::optional<Found>();
  Found found;
  found.rowid = query.IntegerAt(0);
  found.row = {static_cast<uint64_t>(query.IntegerAt(1)), static_cast<uint64_t>(query.IntegerAt(2)),
               query.IntegerAt(3), query.BytesAt(4)};
  const std::string problem = RowProblem(layer, found.row, query.IntegerAt(5), found.chunk);
  if (!problem.empty()) return CorruptRow(connection_.where(), layer, query.IntegerAt(1), problem);
  found.row.bits = {};  // they end with the query
  return std::optional<Found>(std::move(found));
}

Status PresenceTable::Insert(Id layer, const PresenceRow& row) {
  assert(row.count != 0 && row.first < kMaxChunks && row.count <= kMaxChunks - row.first);
  assert((row.state == kRowMixed) == (row.bits.size() == PresenceChunk::kBytes));
  const auto first = static_cast<int64_t>(row.first);
  const auto count = static_cast<int64_t>(row.count);
  Query query(insert_);
  query.Integer(layer).Integer(first).Integer(count).Integer(row.state).Bytes(row.bits);
  return query.Integer(ChecksumOf(layer, first, count, row.state, row.bits)).Run();
}

// The row keeps its first chunk.
Status PresenceTable::Replace(int64_t rowid, Id layer, const PresenceRow& row) {
  assert(row.count != 0);
  const auto first = static_cast<int64_t>(row.first);
  const auto count = static_cast<int64_t>(row.count);
  Query query(replace_);
  query.Integer(count).Integer(row.state).Bytes(row.bits);
  query.Integer(ChecksumOf(layer, first, count, row.state, row.bits));
  return query.Integer(rowid).Run();
}

Status PresenceTable::DeleteBetween(Id layer, uint64_t first, uint64_t end) {
  return Query(delete_).Integer(layer).Integer(first).Integer(end).Run();
}

Result<PresenceImage> PresenceTable::Read(Id layer) {
  PresenceImage image;
  Query query(read_);
  query.Integer(layer);
  for (;;) {
    ASSIGN_OR_RETURN(const bool more, query.Next());
    if (!more) return image;
    const std::span<const uint8_t> bits = query.BytesAt(3);
    image.rows_.push_back({query.IntegerAt(0), query.IntegerAt(1), query.IntegerAt(2),
                           query.IntegerAt(4), image.bits_.size(), bits.size()});
    image.bits_.insert(image.bits_.end(), bits.begin(), bits.end());
  }
}

Result<PresenceChunk> PresenceTable::ReadChunk(Id layer, uint64_t chunk, uint64_t* alike) {
  ASSIGN_OR_RETURN(auto found, FindAtOrBefore(layer, chunk));
  const bool none = !found || found->row.end() <= chunk;
  if (alike != nullptr) *alike = none ? 1 : found->row.end() - chunk;
  if (none) return PresenceChunk();
  if (found->row.state == kRowMixed) return std::move(found->chunk);
  return PresenceChunk(static_cast<BlockState>(found->row.state));
}

Result<std::vector<Id>> PresenceTable::Layers() {
  std::vector<Id> layers;
  for (int64_t next = std::numeric_limits<int64_t>::min();;) {
    Query query(next_layer_);
    query.Integer(next);
    ASSIGN_OR_RETURN(const bool any, query.Next());
    if (!any) return layers;
    const int64_t layer = query.IntegerAt(0);
    layers.push_back(static_cast<Id>(layer));
    if (layer == std::numeric_limits<int64_t>::max()) return layers;
    next = layer + 1;
  }
}

}  // namespace volfs::catalog
