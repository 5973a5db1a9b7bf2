#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

namespace volfs::stream {

// The checksums of a stream: XXH3, 64 bits. They find damage, not forgery: for that a stream goes
// through ssh.
//
// Thread-safety: none. Cost: some gigabytes per second.
class Checksum {
 public:
  explicit Checksum(uint64_t seed = 0);
  ~Checksum();
  Checksum(const Checksum&) = delete;
  Checksum& operator=(const Checksum&) = delete;

  // Begins anew.
  void Reset(uint64_t seed);
  void Add(std::span<const std::byte> bytes);
  // Returns the checksum of all bytes since the last Reset.
  [[nodiscard]] uint64_t value() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace volfs::stream
