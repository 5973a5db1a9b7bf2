#include "blockstore/catalog/fields.h"

#include <algorithm>
#include <limits>

#include "blockstore/base/str_cat.h"
#include "blockstore/catalog/format.h"

namespace volfs::catalog {
namespace {

// Not isalnum: the locale has no say in what a name is.
bool IsLetterOrDigit(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool IsName(std::string_view text) {
  return !text.empty() && text.size() <= kMaxNameBytes && IsLetterOrDigit(text.front()) &&
         std::all_of(text.begin(), text.end(),
                     [](char c) { return IsLetterOrDigit(c) || c == '.' || c == '_' || c == '-'; });
}

bool IsSourceName(std::string_view text) {
  const size_t at = text.find('@');
  if (at == std::string_view::npos) return IsName(text);
  return IsName(text.substr(0, at)) && IsName(text.substr(at + 1));
}

bool IsId(uint64_t value) { return (value & 0xff) == 0 && value >> 63 == 0; }

bool IntegerFits(uint64_t value, Rule rule) {
  switch (rule) {
    case Rule::kId:
      return IsId(value) && value != kNoId;
    case Rule::kOptionalId:
      return IsId(value);
    case Rule::kBytes:
      return value <= kMaxVolumeBytes;
    case Rule::kCount:
      return value <= std::numeric_limits<int64_t>::max();
    case Rule::kTime:
      return true;
    case Rule::kBlockSize:
      return value >= 512 && value <= (uint64_t{1} << 20) && (value & (value - 1)) == 0;
    case Rule::kMode:
      return value <= 07777;
    case Rule::kFlag:
      return value <= 1;
    case Rule::kCloneState:
      return value >= static_cast<uint64_t>(CloneState::kIntent) &&
             value <= static_cast<uint64_t>(CloneState::kDeleting);
    case Rule::kOne:
      return value == 1;
    default:
      return false;
  }
}

bool TextFits(std::string_view text, Rule rule) {
  switch (rule) {
    case Rule::kName:
      return IsName(text);
    case Rule::kOptionalName:
      return text.empty() || IsName(text);
    case Rule::kSourceName:
      return text.empty() || IsSourceName(text);
    case Rule::kKey:
      return !text.empty() && text.size() <= kMaxNameBytes;
    case Rule::kText:
      return text.size() <= kMaxTextBytes;
    default:
      return false;
  }
}

}  // namespace

std::string IntegerProblem(std::string_view column, int64_t stored, Rule rule) {
  if (IntegerFits(static_cast<uint64_t>(stored), rule)) return {};
  return StrCat("column ", column, " cannot be ", stored);
}

std::string TextProblem(std::string_view column, std::string_view stored, Rule rule) {
  if (TextFits(stored, rule)) return {};
  // The text itself is not repeated: it may be anything, terminal escapes included.
  return StrCat("column ", column, " holds ", stored.size(), " bytes that are not of its form");
}

template <>
std::string Problem(const TypeRow& row) {
  std::string problem = FieldsProblem(row);
  if (problem.empty() && row.type.least_bytes > row.type.greatest_bytes) {
    return "least_bytes is more than greatest_bytes";
  }
  return problem;
}

template <>
std::string Problem(const LayerRecord& layer) {
  std::string problem = FieldsProblem(layer);
  if (problem.empty() && layer.parent == layer.id && layer.parent_node.empty()) {
    return "the layer lies over itself";
  }
  return problem;
}

template <>
std::string Problem(const CloneRecord& clone) {
  std::string problem = FieldsProblem(clone);
  if (problem.empty() && clone.state == CloneState::kIntent && clone.name.empty()) {
    return "an intent reserves no name";
  }
  return problem;
}

}  // namespace volfs::catalog
