#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <string>
#include <thread>
#include <vector>

namespace volfs {

// Files that are made, fsynced and deleted in a directory, with the known state of each. The load
// outlives the filesystem of the directory: started again after a crash it goes on.
//
// Thread-safety: one thread uses it. Its results are looked at only while it is stopped.
class FileLoad {
 public:
  FileLoad(std::string directory, uint64_t seed) : folder_(std::move(directory)), seed_(seed) {}
  ~FileLoad() { Stop(); }
  FileLoad(const FileLoad&) = delete;
  FileLoad& operator=(const FileLoad&) = delete;

  void Start();
  void Stop();
  // As BlockLoad has it.
  void DistrustSyncs() { trusted_ = false; }
  // Files made, and files deleted, until the sync of file and directory.
  [[nodiscard]] uint64_t acknowledged() const { return acknowledged_; }

  // Tells what is wrong with the files, one line each, "" if nothing is; "lost: " as BlockLoad
  // has it. The files found are the known state from then on, once the directory was synced.
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
