#include "control/cli/types_option.h"

#include <algorithm>

#include "blockstore/base/str_cat.h"
#include "control/cli/process/failure.h"
#include "control/text/name.h"
#include "control/text/size.h"

namespace volfs::cli {
namespace {

// "LEAST-GREATEST"
Status ParseRange(std::string_view text, VolumeType& type) {
  const size_t dash = text.find('-');
  if (dash == text.npos) {
    return UsageFailure(StrCat("type ", type.name, ": write its sizes as LEAST-GREATEST"));
  }
  if (dash > 0) {
    ASSIGN_OR_RETURN(type.least_bytes, ParseSize(text.substr(0, dash)));
  }
  if (dash + 1 < text.size()) {
    ASSIGN_OR_RETURN(const uint64_t greatest, ParseSize(text.substr(dash + 1)));
    type.greatest_bytes = std::min(greatest, kMaxVolumeBytes);
  }
  if (type.least_bytes <= type.greatest_bytes && type.greatest_bytes > 0) return OkStatus();
  return UsageFailure(StrCat("type ", type.name, ": its least size is over its greatest"));
}

Result<VolumeType> ParseType(std::string_view text) {
  VolumeType type;
  const size_t colon = text.find(':');
  type.name = text.substr(0, colon);
  RETURN_IF_ERROR(CheckName(type.name, "type"));
  if (colon != text.npos) RETURN_IF_ERROR(ParseRange(text.substr(colon + 1), type));
  return type;
}

}  // namespace

Result<std::vector<VolumeType>> ParseTypes(std::string_view text) {
  std::vector<VolumeType> types;
  if (text.empty()) return types;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    ASSIGN_OR_RETURN(const VolumeType type, ParseType(text.substr(begin, end - begin)));
    for (const VolumeType& other : types) {
      if (other.name == type.name) return UsageFailure(StrCat("type ", type.name, ": given twice"));
    }
    types.push_back(type);
    begin = end + 1;
  }
  return types;
}

}  // namespace volfs::cli
