#pragma once

#include <cstdint>
#include <string>

namespace volfs {

// The results of all cuts.
class Tally {
 public:
  // Adds complaints, one per line, as BlockLoad's checks return them. "" is none. `where` precedes
  // each.
  void Add(const std::string& where, const std::string& complaints);
  // Adds the output of fsck, if it complained.
  void AddFsck(const std::string& where, const std::string& output);

  // Counts acknowledged operations: fsynced writes, requests, files.
  void Acknowledge(uint64_t count) { acknowledged_ += count; }
  void CountCut() { ++cuts_; }

  [[nodiscard]] int cuts() const { return cuts_; }
  [[nodiscard]] uint64_t acknowledged() const { return acknowledged_; }
  [[nodiscard]] uint64_t failures() const { return lost_ + wrong_ + fsck_errors_; }
  // Returns "cuts=N acknowledged=N lost=N wrong=N fsck_errors=N".
  [[nodiscard]] std::string Line() const;

 private:
  int cuts_ = 0;
  uint64_t acknowledged_ = 0;
  uint64_t lost_ = 0;
  uint64_t wrong_ = 0;
  uint64_t fsck_errors_ = 0;
};

// Returns the tally of this process.
Tally& CutTally();

}  // namespace volfs
