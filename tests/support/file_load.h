#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <string>
#include <thread>
#include <vector>

namespace volfs {

// Files that are made, fsynced and deleted in a directory, and what is known of each. Outlives the
// filesystem that the directory is on: started again after a crash it goes on.
//
// Thread-safety: one thread uses it. What was written is looked at only while it is stopped.
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

  // What is wrong with the files that are there, a line each, "" if nothing is; "lost: " as
  // BlockLoad has it. What is there is what is known from then on, once the directory was synced.
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
