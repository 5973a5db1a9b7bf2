#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace volfs {

struct DirectoryEntry {
  uint64_t ino;
  std::string name;
  uint32_t type;  // S_IFDIR or S_IFREG
};

// The entries of a directory in one piece of memory, which HeldTexts can share and count: a fifth
// of a vector's. Layout, in the host's byte order: the number of entries; for each where it begins
// (4 bytes each); then of each its number (8), type (4), and name up to the next one.
//
// Thread-safety: none needed, a view of constant bytes.
class Listing {
 public:
  static std::string Pack(const std::vector<DirectoryEntry>& entries);

  // `packed` is of Pack, and outlives this.
  explicit Listing(std::string_view packed) : packed_(packed) {}
  [[nodiscard]] size_t size() const { return NumberAt(0); }
  [[nodiscard]] DirectoryEntry At(size_t index) const;  // index < size()

 private:
  [[nodiscard]] uint32_t NumberAt(size_t at) const;
  [[nodiscard]] size_t BeginOf(size_t index) const;  // of the last one and one more: the end

  const std::string_view packed_;
};

}  // namespace volfs
