#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "blockstore/store/store.h"
#include "tests/support/sizes.h"
#include "tests/support/temp_dir.h"

namespace volfs {

// A Store over two nodes in temporary directories, made through the public API only:
//   "a" (the first) offers the types standard and ssd,
//   "b" offers standard, ssd and sata (1 MiB to 1 GiB),
// both in the region "default". Aborts if that fails.
class StoreFixture {
 public:
  explicit StoreFixture(const StoreOptions& options = {});
  ~StoreFixture();
  StoreFixture(const StoreFixture&) = delete;
  StoreFixture& operator=(const StoreFixture&) = delete;

  Store& store() { return *store_; }
  [[nodiscard]] std::string NodePath(const std::string& node) const { return dir_ / node; }

  // Closes the store and opens it again.
  void Reopen(const StoreOptions& options = {});
  void Close();

  // Makes a synced volume that begins with `data_bytes` of Pattern().
  std::shared_ptr<Volume> MakeVolume(const std::string& name, uint64_t size_bytes,
                                     size_t data_bytes = 0);
  // Polls until the volume has this status. Returns false after 20 s.
  bool WaitForStatus(const std::string& name, const std::string& status);

 private:
  TempDir dir_;
  std::unique_ptr<Store> store_;
};

// Returns all bytes of the volume. The test fails if it cannot be read.
std::vector<std::byte> ReadBack(Volume& volume);

// Returns the findings of `volfs check` in the open store, one text each. A merge that is at work
// in the background is a finding, too.
std::vector<std::string> CheckFindings(Store& store);

// Returns those that are still there after 20 s; none as soon as there are none.
std::vector<std::string> LastingFindings(Store& store);

// Returns bytes with no long run of zeros, different for each block.
std::vector<std::byte> Pattern(size_t bytes);

}  // namespace volfs
