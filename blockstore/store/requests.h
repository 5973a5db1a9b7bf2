#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace volfs {

// The mode of a volume that is made with `mode`: `cp` makes its target with the mode of its source,
// which of a snapshot is 0444, and nobody, root included, could write, attach or delete the copy.
// So the owner may write what he makes. Only a chmod makes a volume read-only.
[[nodiscard]] uint32_t NewVolumeMode(uint32_t mode);

struct CreateRequest {
  std::string name;
  std::optional<uint64_t> size_bytes;  // none: an empty file, to which no least size applies
  std::string type;                    // empty: the default
  std::string node;                    // empty: the first that offers the type
  uint32_t mode = 0600;
  std::optional<bool> native;  // io=native; none: as StoreOptions says
};

struct CloneRequest {
  std::string source{};    // a volume
  std::string snapshot{};  // empty: of the volume's contents now
  std::string name{};
  std::optional<uint64_t> size_bytes{};
  std::string type{};  // empty: the source's
  std::string node{};  // empty: the one with most room that is not the source's
  bool linked = false;
  bool verify = false;  // read back what is copied, and compare
  std::string token{};
  std::string words{};  // the canonical request, for a retry with the same token
};

}  // namespace volfs
