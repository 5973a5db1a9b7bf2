#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <string>
#include <thread>
#include <vector>

namespace volfs {

// Makes, fsyncs and deletes files in a directory, and records the known state of each. The load
// outlives the filesystem of the directory: started again after a crash, it continues.
//
// Thread-safety: one thread uses it. Its results may be read only while it is stopped.
class FileLoad {
 public:
  FileLoad(std::string directory, uint64_t seed) : folder_(std::move(directory)), seed_(seed) {}
  ~FileLoad() { Stop(); }
  FileLoad(const FileLoad&) = delete;
  FileLoad& operator=(const FileLoad&) = delete;

  void Start();
  void Stop();
  // As in BlockLoad.
  void DistrustSyncs() { trusted_ = false; }
  // Returns the number of files that were made or deleted, with a sync of file and directory.
  [[nodiscard]] uint64_t acknowledged() const { return acknowledged_; }

  // Returns one line for each fault of the files, or "". "lost: " is as in BlockLoad. Once the
  // directory was synced, the files found are the known state.
  std::string Check();

 private:
  enum class State : uint8_t { kDoubtful, kSynced };

  void Work();
  bool MakeOne();
  bool DeleteOne();
  [[nodiscard]] std::vector<std::byte> ContentsOf(uint64_t number) const;
  [[nodiscard]] std::string PathOf(uint64_t number) const;
  [[nodiscard]] std::string CheckOne(uint64_t number, State state) const;

  const std::string folder_;
  const uint64_t seed_;
  std::map<uint64_t, State> files_;
  uint64_t next_ = 0;
  uint64_t acknowledged_ = 0;
  std::atomic<bool> stop_{false};
  std::atomic<bool> trusted_{true};
  std::thread thread_;
};

}  // namespace volfs
