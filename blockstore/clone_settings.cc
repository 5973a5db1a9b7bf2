#include "blockstore/clone_settings.h"

#include <array>
#include <cstdio>

#include "blockstore/log.h"

namespace volfs {

std::string CloneSetting(std::string_view prefix, Id clone) {
  std::array<char, 17> id{};
  std::snprintf(id.data(), id.size(), "%016llx", static_cast<unsigned long long>(clone));
  return Text(prefix, id.data());
}

}  // namespace volfs
