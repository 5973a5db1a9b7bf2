#include "blockstore/catalog/rows.h"

#include <zlib.h>

#include <array>

#include "blockstore/base/str_cat.h"

namespace volfs::catalog {
namespace {

template <size_t kSize>
std::array<uint8_t, kSize> LittleEndian(uint64_t value) {
  std::array<uint8_t, kSize> bytes{};
  for (size_t i = 0; i < kSize; ++i) bytes[i] = static_cast<uint8_t>(value >> (8 * i));
  return bytes;
}

std::string Printable(std::string_view text) {
  constexpr size_t kEnough = 40;
  std::string out;
  for (const char c : text.substr(0, kEnough)) out.push_back(c >= ' ' && c <= '~' ? c : '?');
  return out;
}

}  // namespace

void RowChecksum::AddRaw(const void* data, size_t size) {
  crc_ = static_cast<uint32_t>(crc32_z(crc_, static_cast<const Bytef*>(data), size));
}

void RowChecksum::Add(int64_t value) {
  const auto bytes = LittleEndian<8>(static_cast<uint64_t>(value));
  AddRaw(bytes.data(), bytes.size());
}

void RowChecksum::Add(std::string_view text) {
  Add(std::span(reinterpret_cast<const uint8_t*>(text.data()), text.size()));
}

// crc32_z of a null pointer would start anew.
void RowChecksum::Add(std::span<const uint8_t> bytes) {
  const auto size = LittleEndian<4>(bytes.size());
  AddRaw(size.data(), size.size());
  if (!bytes.empty()) AddRaw(bytes.data(), bytes.size());
}

std::string_view RowReader::ReadText(const char* column) {
  const int at = column_++;
  if (!query_.IsText(at)) {
    NoteProblem(StrCat("column ", column, " is not text"));
    return {};
  }
  const std::string_view text = query_.TextAt(at);
  crc_.Add(text);
  if (at == 0) key_ = StrCat(column, "=", Printable(text));
  return text;
}

int64_t RowReader::ReadInteger(const char* column, Rule rule) {
  const int at = column_++;
  if (!query_.IsInteger(at)) {
    NoteProblem(StrCat("column ", column, " is not an integer"));
    return rule == Rule::kCloneState ? static_cast<int64_t>(CloneState::kIntent) : 0;
  }
  const int64_t stored = query_.IntegerAt(at);
  crc_.Add(stored);
  if (at == 0) key_ = StrCat(column, "=", stored);
  // Checked before it becomes an enum or a bool; the rest of the rules after the checksum.
  if (rule == Rule::kCloneState || rule == Rule::kFlag) {
    std::string problem = IntegerProblem(column, stored, rule);
    if (!problem.empty()) {
      NoteProblem(std::move(problem));
      return rule == Rule::kCloneState ? static_cast<int64_t>(CloneState::kIntent) : 0;
    }
  }
  return stored;
}

std::string RowReader::IntegerTooBig(std::string_view column, int64_t stored) {
  return StrCat("column ", column, " cannot be ", stored);
}

std::string RowReader::Finish() {
  if (problem_.empty() &&
      (!query_.IsInteger(column_) || query_.IntegerAt(column_) != crc_.value())) {
    return "its checksum does not match";
  }
  return std::move(problem_);
}

std::string ColumnNames::PutText(std::string_view table) const {
  std::string columns;
  std::string parameters;
  std::string changes;
  for (const std::string& name : names_) {
    columns += name + ", ";
    parameters += "?, ";
    if (&name != &names_.front()) changes += StrCat(name, " = excluded.", name, ", ");
  }
  // Not INSERT OR REPLACE, which would also delete any other row with the same unique name.
  return StrCat("INSERT INTO ", table, " (", columns, "crc) VALUES (", parameters,
                "?) ON CONFLICT (", names_.front(), ") DO UPDATE SET ", changes,
                "crc = excluded.crc");
}

std::string ColumnNames::DeleteText(std::string_view table) const {
  return StrCat("DELETE FROM ", table, " WHERE ", names_.front(), " = ?");
}

std::string ColumnNames::SelectText(std::string_view table) const {
  std::string columns;
  for (const std::string& name : names_) columns += name + ", ";
  return StrCat("SELECT ", columns, "crc FROM ", table, " ORDER BY ", names_.front());
}

}  // namespace volfs::catalog
