#include "blockstore/catalog/volume_settings.h"

#include <array>
#include <cstdio>

#include "blockstore/base/str_cat.h"

namespace volfs {

std::string VolumeSetting(std::string_view prefix, Id volume) {
  std::array<char, 17> id{};
  std::snprintf(id.data(), id.size(), "%016llx", static_cast<unsigned long long>(volume));
  return StrCat(prefix, id.data());
}

}  // namespace volfs
