#pragma once

#include <string>

namespace volfs {

// A test's own directory, ${TMPDIR:-/tmp}/volfs-test.XXXXXX. The destructor removes it with all its
// contents. Aborts if it cannot be made.
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
