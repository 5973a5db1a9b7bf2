#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/block_load.h"

namespace volfs {

// Makes and deletes snapshots and clones of one volume, and empty volumes, while the volume is
// written to, and records the known state of each. The load outlives the daemon: started again
// after a crash, it continues.
//
// Thread-safety: one thread uses it. Its results may be read only while it is stopped.
class RequestLoad {
 public:
  // `source` is the load that writes to `volume`.
  RequestLoad(std::string mnt, std::string volume, BlockLoad& source, uint64_t seed);
  ~RequestLoad() { Stop(); }
  RequestLoad(const RequestLoad&) = delete;
  RequestLoad& operator=(const RequestLoad&) = delete;

  void Start();
  void Stop();
  // As in BlockLoad: until the next start an answer proves nothing.
  void DistrustAnswers() { trusted_ = false; }
  [[nodiscard]] uint64_t acknowledged() const { return acknowledged_; }

  // Returns one line for each fault, or "". "lost: " is as in BlockLoad. After DistrustAnswers,
  // contents and status of the requests that were running prove nothing either. Call it before the
  // source's own check, which forgets writes that a snapshot may hold. Afterwards everything but a
  // few snapshots is deleted.
  std::string Check();

 private:
  enum class Kind : uint8_t { kSnapshot, kClone, kVolume };
  struct Image {
    Kind kind = Kind::kSnapshot;
    uint64_t asked = 0;
    uint64_t answered = 0;  // 0: there was no answer
    bool deleting = false;
    bool wait = false;                // a clone: wait until it is whole
    std::vector<std::byte> contents;  // as found after an earlier crash; empty: not found yet
  };

  void Work(uint64_t seed);
  bool MakeOne(Kind kind);
  bool DeleteOne(const std::string& name);
  bool Delete(const std::string& name, Kind kind);
  [[nodiscard]] int Ask(const std::string& file, const std::string& line) const;
  [[nodiscard]] std::string StatusOf(const std::string& name) const;
  [[nodiscard]] bool WaitUntilWhole(const std::string& name) const;
  [[nodiscard]] std::string PathOf(const std::string& name, Kind kind) const;
  std::string CheckOne(const std::string& name, Image& image);
  [[nodiscard]] std::string CheckContents(const std::string& name, const Image& image,
                                          const std::vector<std::byte>& contents);
  [[nodiscard]] std::string CheckNames() const;
  std::string Forget();

  const std::string mnt_;
  const std::string volume_;
  BlockLoad& source_;
  const uint64_t seed_;
  std::map<std::string, Image> images_;
  uint64_t starts_ = 0;
  uint64_t next_ = 0;
  uint64_t acknowledged_ = 0;
  std::atomic<bool> stop_{false};
  std::atomic<bool> trusted_{true};
  std::thread thread_;
};

}  // namespace volfs
