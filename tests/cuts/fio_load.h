#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tests/support/mount_command.h"

namespace volfs {

// Runs fio --verify over an image: random writes with O_SYNC, so each write that has returned must
// be there. When fio ends with an error, it keeps the list of these writes in a file of its own.
class FioLoad {
 public:
  // `directory` holds fio's own files.
  FioLoad(std::string image, std::string directory, uint64_t size_bytes, uint64_t seed);

  void Start();
  // Returns how many writes were acknowledged, or 0 if fio was not running. Throws if it does not
  // end.
  uint64_t Stop();
  // Checks after a crash. Returns "" if every acknowledged write is there.
  [[nodiscard]] std::string Check() const;

 private:
  [[nodiscard]] std::vector<std::string> Words() const;

  const std::string image_;
  const std::string folder_;
  const uint64_t size_bytes_;
  const uint64_t seed_;
  std::unique_ptr<BackgroundProgram> program_;
  uint64_t acknowledged_ = 0;
};

}  // namespace volfs
