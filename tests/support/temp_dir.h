#pragma once

#include <string>

namespace volfs {

// A directory of a test's own, ${TMPDIR:-/tmp}/volfs-test.XXXXXX, removed with all that is in it at
// the end of the object's life. Aborts if it cannot be made.
class TempDir {
 public:
  TempDir();
  ~TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

}  // namespace volfs
