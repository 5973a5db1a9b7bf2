#include "tests/cuts/tally.h"

#include <cstdio>
#include <sstream>

namespace volfs {

void Tally::Add(const std::string& where, const std::string& complaints) {
  std::istringstream lines(complaints);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("lost: ")) {
      ++lost_;
    } else {
      ++wrong_;
    }
    std::printf("FAILURE: %s: %s\n", where.c_str(), line.c_str());
  }
  std::fflush(stdout);
}

void Tally::AddFsck(const std::string& where, const std::string& output) {
  if (output.empty()) return;
  ++fsck_errors_;
  std::printf("FAILURE: %s:\n%s\n", where.c_str(), output.c_str());
  std::fflush(stdout);
}

std::string Tally::Line() const {
  return "cuts=" + std::to_string(cuts_) + " acknowledged=" + std::to_string(acknowledged_) +
         " lost=" + std::to_string(lost_) + " wrong=" + std::to_string(wrong_) +
         " fsck_errors=" + std::to_string(fsck_errors_);
}

Tally& CutTally() {
  static Tally tally;
  return tally;
}

}  // namespace volfs
