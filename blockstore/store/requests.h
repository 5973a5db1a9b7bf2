#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace volfs {

// Returns the mode of a volume that is made with `mode`: the owner may always write it. `cp` makes
// its target with the mode of its source, 0444 for a snapshot; then no user, root included, could
// write, attach or delete the copy. Only a chmod makes a volume read-only.
[[nodiscard]] uint32_t NewVolumeMode(uint32_t mode);

struct CreateRequest {
  std::string name;
  std::optional<uint64_t> size_bytes;  // none: 0, below the type's minimum
  std::string type;                    // empty: the default
  std::string node;                    // empty: the first that offers the type
  uint32_t mode = 0600;
  std::optional<bool> native;  // io=native; none: as StoreOptions says
};

struct CloneRequest {
  std::string source{};    // a volume
  std::string snapshot{};  // empty: the volume as it is now
  std::string name{};
  std::optional<uint64_t> size_bytes{};
  std::string type{};  // empty: the source's
  std::string node{};  // empty: the other node with most room
  bool linked = false;
  bool verify = false;  // read the copied bytes back and compare
  std::string token{};
  std::string words{};  // the canonical request, for a retry with the same token
};

}  // namespace volfs
