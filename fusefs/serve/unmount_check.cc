#include "fusefs/serve/unmount_check.h"

#include <cassert>
#include <utility>

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

UnmountCheck::UnmountCheck(Store& store, RequestPool& pool) : store_(store), pool_(pool) {
  for (const auto& node : store_.nodes()) watched_.push_back({.node = node.get()});
}

std::string UnmountCheck::Ask() {
  Tasks run;
  {
    MutexLock lock(mu_);
    if (!running_ && MonotonicNow() - result_at_ > kStale) result_.reset();
    if (!running_ && !result_) StartLocked(run);
  }
  Submit(std::move(run));
  Tasks looks;
  std::string answer = AwaitRun(looks);
  Submit(std::move(looks));
  return answer;
}

void UnmountCheck::Submit(Tasks tasks) {
  for (auto& task : tasks) pool_.Submit(std::move(task));
}

std::string UnmountCheck::AwaitRun(Tasks& looks) {
  MutexLock lock(mu_);
  const Nanoseconds deadline = MonotonicNow() + kPatience;
  while (running_ && MonotonicNow() < deadline) (void)ended_.WaitUntil(mu_, deadline);
  if (auto result = TakeResultLocked()) return *result;
  // A run that nobody awaited any more may just have ended.
  const std::string silent = running_ ? SilentNodesLocked(looks) : "";
  if (silent.empty()) return "pending";
  awaited_ = false;
  return "unsaved" + silent;
}

void UnmountCheck::StartLocked(Tasks& tasks) {
  assert(!running_);  // one run at a time
  running_ = awaited_ = true;
  for (size_t place = 0; place < watched_.size(); ++place) {
    watched_[place].changed_at = MonotonicNow();
    LookLocked(place, tasks);
  }
  tasks.emplace_back([this] {
    store_.CommitToEachNode();
    std::string report = Report(store_.CommitAll());
    MutexLock lock(mu_);
    if (awaited_) result_ = std::move(report);
    result_at_ = MonotonicNow();
    running_ = false;
    ended_.NotifyAll();
  });
}

void UnmountCheck::LookLocked(size_t place, Tasks& tasks) {
  if (std::exchange(watched_[place].looking, true)) return;
  tasks.emplace_back([this, place] { Look(place); });
}

void UnmountCheck::Look(size_t place) {
  NodeDirectory* directory = nullptr;
  {
    MutexLock lock(mu_);
    directory = &watched_[place].node->directory();
  }
  const uint64_t pulse = directory->Pulse();
  MutexLock lock(mu_);
  Watched& watched = watched_[place];
  watched.looking = false;
  if (std::exchange(watched.pulse, pulse) != pulse) watched.changed_at = MonotonicNow();
}

std::optional<std::string> UnmountCheck::TakeResultLocked() {
  return running_ ? std::nullopt : std::exchange(result_, std::nullopt);
}

// The run will not end before these answer.
std::string UnmountCheck::SilentNodesLocked(Tasks& looks) {
  std::string lines;
  const Nanoseconds now = MonotonicNow();
  for (size_t place = 0; place < watched_.size(); ++place) {
    const Watched& watched = watched_[place];
    const NodeCalls& calls = *watched.node->directory().calls();
    const bool idle = now - watched.changed_at >= kSilent;
    if (calls.hung() || (calls.longest() >= kSilent && idle)) {
      lines += StrCat("\nnode ", watched.node->name(), ": does not answer: ", calls.Trouble());
    } else if (calls.slow()) {
      LookLocked(place, looks);
    }
  }
  return lines;
}

}  // namespace volfs
