#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tests/support/mount_command.h"

namespace volfs {

// fio --verify over an image: random writes with O_SYNC, so that each one that has returned must be
// there; which ones have, fio keeps in a file of its own when it ends with an error.
class FioLoad {
 public:
  // `directory`: for fio's own files.
  FioLoad(std::string image, std::string directory, uint64_t size_bytes, uint64_t seed);

  void Start();
  // Returns how many writes were acknowledged; 0 if it was not running. Throws if it does not end.
  uint64_t Stop();
  // After a crash: "" if everything that was acknowledged is there.
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
