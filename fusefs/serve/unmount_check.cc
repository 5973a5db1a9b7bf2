#include "fusefs/serve/unmount_check.h"

#include <utility>
#include <vector>

#include "blockstore/base/str_cat.h"

namespace volfs {
namespace {

constexpr size_t kMaxBytes = 60'000;  // the kernel takes 65,536 of an attribute

std::string Report(const std::vector<std::string>& unsaved) {
  if (unsaved.empty()) return "saved";
  std::string text = "unsaved";
  size_t told = 0;
  for (const std::string& line : unsaved) {
    if (text.size() + line.size() > kMaxBytes) break;
    text += "\n" + line;
    ++told;
  }
  if (told < unsaved.size()) text += StrCat("\nand ", unsaved.size() - told, " more");
  return text;
}

}  // namespace

std::string UnmountCheck::Ask() {
  {
    MutexLock lock(mu_);
    if (!running_ && MonotonicNow() - result_at_ > kStale) result_.reset();
    if (!running_ && !result_) StartLocked();
    const Nanoseconds deadline = MonotonicNow() + kPatience;
    while (running_ && MonotonicNow() < deadline) (void)ended_.WaitUntil(mu_, deadline);
    if (auto result = TakeResultLocked()) return *result;
  }
  const std::string silent = SilentNodes();
  return silent.empty() ? "pending" : "unsaved" + silent;
}

void UnmountCheck::StartLocked() {
  running_ = true;
  pool_.Submit([this] {
    std::string report = Report(store_.CommitAll());
    MutexLock lock(mu_);
    result_ = std::move(report);
    result_at_ = MonotonicNow();
    running_ = false;
    ended_.NotifyAll();
  });
}

std::optional<std::string> UnmountCheck::TakeResultLocked() {
  return running_ ? std::nullopt : std::exchange(result_, std::nullopt);
}

// The run will not end before these answer.
std::string UnmountCheck::SilentNodes() const {
  std::string lines;
  for (const auto& node : store_.nodes()) {
    if (!node->CheckAnswers().ok()) lines += StrCat("\nnode ", node->name(), ": ", node->State());
  }
  return lines;
}

}  // namespace volfs
