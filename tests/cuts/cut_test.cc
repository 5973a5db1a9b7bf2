// Goal: a power cut loses nothing that was acknowledged, fsck and `volfs check` find nothing
// afterwards, and the next mount needs no repair (contract.md 7.1, 7.3).
// Method: each node lies on a filesystem of its own in a loop device. One filesystem or both are
// shut down at a random moment without flushing the journal, so that unsynced data is gone. The
// daemon is then killed, or not. After the recovery everything is read and compared.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>
#include <random>
#include <stdexcept>
#include <thread>
#include <vector>

#include "tests/cuts/backing_disk.h"
#include "tests/cuts/options.h"
#include "tests/cuts/store_load.h"
#include "tests/cuts/tally.h"
#include "tests/mount/mount_fixture.h"

namespace volfs {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kCutsInASet = 10;
constexpr int kDaemonEndsMs = 20'000;

void SleepMs(uint64_t milliseconds) {
  std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
}

class CutTest : public MountTest {
 protected:
  // The events of one round, all drawn from the seed.
  struct Plan {
    enum class End : uint8_t {
      kKill,       // the daemon, after the cut
      kKillFirst,  // the daemon, before the cut
      kLeave,      // it finds out by itself, and is unmounted
      kSyncLater,  // kill; mount, read; kill; mount, fsync; cut: data that was read and synced is
                   // there
    };
    bool cut[2] = {true, true};
    bool b_first = false;
    End end = End::kKill;
    bool restart_other = false;  // a node that was not cut is unmounted and mounted, too
    int more_cuts = 0;           // while it recovers
    uint64_t load_ms = 0;
    uint64_t wait_ms = 0;  // between cut and kill
    StoreLoad::Choice load;
  };

  void SetUp() override;
  void TearDown() override;
  void RunSet(int cuts);
  void PrintMountTimes();

  std::mt19937_64 random_{Options().seed};

 private:
  Plan Choose(int cuts_left);
  static std::string ToText(const Plan& plan);
  void StartSet();
  void EndSet();
  void GiveUpSet();
  void Round(const Plan& plan);
  void CutPower(const Plan& plan);
  void End(const Plan& plan);
  void LeaveAlone();
  void SyncLater();
  void Recover(const Plan& plan);
  void CheckStore();
  void KeepDisks();
  [[nodiscard]] std::vector<std::string> NodeNames() const;

  std::unique_ptr<BackingDisk> disks_[2];
  std::unique_ptr<StoreLoad> load_;
  int set_ = 0;
  std::string where_;  // for complaints
  bool can_check_ = false;
  std::vector<double> mount_ms_;
};

// --- sets ----------------------------------------------------------------------------------------

void CutTest::SetUp() {
  MountTest::SetUp();
  if (IsSkipped() || HasFatalFailure()) return;
  for (int i = 0; i < 2; ++i) {
    const std::string name = i == 0 ? "a" : "b";
    MustRun(std::string("truncate -s ") + BackingDisk::kSize + " " + NodePath(name + ".img"));
    disks_[i] = std::make_unique<BackingDisk>(AttachLoop(NodePath(name + ".img")), NodePath(name));
  }
  can_check_ = RunShell(Quoted(Binary()) + " --help | grep -q '^  check '").ok();
  if (can_check_) return;
  std::printf("NOT CHECKED: this volfs has no command `check`; the stores are only read\n");
}

void CutTest::TearDown() {
  GiveUpSet();
  MountTest::TearDown();
}

// A node has its own directory on each new filesystem, because volfs refuses an empty one where a
// node was.
std::vector<std::string> CutTest::NodeNames() const {
  const std::string set = std::to_string(set_);
  return {"a/" + set + "/a", "b/" + set + "/b"};
}

void CutTest::StartSet() {
  ++set_;
  const char* const kinds[] = {"ext4", "xfs"};
  const uint64_t pair = Options().seed + static_cast<uint64_t>(set_);
  const std::vector<std::string> nodes = NodeNames();
  for (uint64_t i = 0; i < 2; ++i) {
    const std::string mixed = kinds[(i == 0 ? pair : pair / 2) % 2];
    disks_[i]->Make(Options().fs == "mix" ? mixed : Options().fs);
    MustRun("mkdir -p " + NodePath(nodes[i]));
  }
  where_ = "set " + std::to_string(set_);
  Mount(nodes);
  const StoreLoad::Loops loops = {
      .attach = [this](const std::string& image) { return AttachLoop(image); },
      .detach = [](const std::string& device) { DetachLoop(device); }};
  load_ = std::make_unique<StoreLoad>(Mnt(), directory(), loops, random_());
  load_->Prepare();
}

// Checks that the clone is whole without its source, and that the nodes' own filesystems are sound.
void CutTest::EndSet() {
  where_ = "set " + std::to_string(set_) + ", its end";
  const std::string of_clone = load_->AwaitCopy();
  Unmount();
  if (!of_clone.empty()) {
    disks_[of_clone == "a" ? 1 : 0]->Unmount();
    Mount({NodeNames()[of_clone == "a" ? 0 : 1]});
    load_->CheckCopy(where_ + ", without the source's node", CutTally());
    Unmount();
  }
  load_.reset();
  for (const auto& disk : disks_) {
    if (disk->mounted()) disk->Unmount();
    CutTally().AddFsck(where_ + ", " + disk->filesystem() + " of a node", disk->Fsck());
  }
}

// Cleans up after a failure, in any state. The next set begins anew.
void CutTest::GiveUpSet() {
  try {
    if (pid() != 0) Kill();
    if (load_ != nullptr) load_->Stop(where_, CutTally());
    load_.reset();
    (void)RunShell("umount -l " + Quoted(Mnt()) + " 2>/dev/null");
    for (const auto& disk : disks_) {
      if (disk != nullptr && disk->mounted()) disk->Unmount();
    }
  } catch (const std::runtime_error& error) {
    ADD_FAILURE() << "giving up a set: " << error.what();
  }
}

void CutTest::RunSet(int cuts) {
  Tally& tally = CutTally();
  const uint64_t failures = tally.failures();
  const int last = tally.cuts() + cuts;
  try {
    StartSet();
    while (tally.cuts() < last && tally.failures() == failures) {
      const Plan plan = Choose(last - tally.cuts());
      where_ = "cut " + std::to_string(tally.cuts() + 1) + " (set " + std::to_string(set_) +
               ", a " + disks_[0]->filesystem() + ", b " + disks_[1]->filesystem() + "; " +
               ToText(plan) + ")";
      if (Options().verbose) std::printf("%s\n", where_.c_str());
      Round(plan);
    }
    if (tally.failures() == failures) EndSet();
  } catch (const std::runtime_error& error) {
    tally.Add(where_, error.what());
  }
  if (tally.failures() == failures) return;
  ADD_FAILURE() << "see FAILURE above";
  GiveUpSet();
}

// --- rounds --------------------------------------------------------------------------------------

CutTest::Plan CutTest::Choose(int cuts_left) {
  const auto one_in = [this](uint64_t n) { return random_() % n == 0; };
  Plan plan;
  const uint64_t which = random_() % 4;  // half of all cuts meet both nodes
  plan.cut[0] = which != 0;
  plan.cut[1] = which != 1;
  plan.b_first = one_in(2);
  const uint64_t end = random_() % 16;
  if (end >= 9) plan.end = end < 12 ? Plan::End::kKillFirst : Plan::End::kLeave;
  if (end == 15) plan.end = Plan::End::kSyncLater;
  plan.restart_other = one_in(2);
  if (one_in(6)) plan.more_cuts = std::min<int>(cuts_left - 1, 1 + static_cast<int>(random_() % 2));
  plan.load_ms = 20 + random_() % 180;
  plan.wait_ms = one_in(2) ? 0 : random_() % 20;
  plan.load.requests = !one_in(4);
  plan.load.away = one_in(2);
  plan.load.files = one_in(3);
  plan.load.fio = one_in(6);
  if (plan.load.fio) plan.load_ms += 250;  // it needs time to start
  return plan;
}

std::string CutTest::ToText(const Plan& plan) {
  const char* const ends[] = {"kill after it", "kill before it", "left alone",
                              "fsync after a kill"};
  std::string text = plan.cut[0] && plan.cut[1] ? (plan.b_first ? "b and a" : "a and b")
                     : plan.cut[0]              ? "a only"
                                                : "b only";
  text += std::string(" cut, ") + ends[static_cast<size_t>(plan.end)] + " after " +
          std::to_string(plan.load_ms) + "+" + std::to_string(plan.wait_ms) + " ms of";
  if (plan.load.requests) text += " requests";
  if (plan.load.away) text += " away";
  if (plan.load.files) text += " ext4";
  if (plan.load.fio) text += " fio";
  if (plan.restart_other) text += ", the other node restarted";
  if (plan.more_cuts > 0) text += ", " + std::to_string(plan.more_cuts) + " more while recovering";
  return text;
}

void CutTest::Round(const Plan& plan) {
  load_->Start(plan.load);
  SleepMs(plan.load_ms);
  End(plan);
  Recover(plan);
  for (int i = 0; i < plan.more_cuts; ++i) {
    SleepMs(random_() % 15);
    CutPower(plan);
    Kill();
    Recover(plan);
  }
  load_->Check(where_, CutTally());
  Unmount();
  CheckStore();
  Mount(NodeNames());
}

void CutTest::CutPower(const Plan& plan) {
  for (int i = 0; i < 2; ++i) {
    const int node = plan.b_first ? 1 - i : i;
    if (plan.cut[node]) disks_[node]->Cut();
  }
  CutTally().CountCut();
}

void CutTest::End(const Plan& plan) {
  switch (plan.end) {
    case Plan::End::kKill:
      load_->DistrustAnswers();
      CutPower(plan);
      load_->ExpectNoSync(plan.cut[0], plan.cut[1]);
      SleepMs(plan.wait_ms);
      Kill();
      load_->Stop(where_, CutTally());
      return;
    case Plan::End::kKillFirst:
      Kill();
      CutPower(plan);
      load_->Stop(where_, CutTally());
      return;
    case Plan::End::kLeave:
      load_->DistrustAnswers();
      CutPower(plan);
      load_->ExpectNoSync(plan.cut[0], plan.cut[1]);
      SleepMs(50 + plan.wait_ms);
      load_->Stop(where_, CutTally());
      LeaveAlone();
      return;
    case Plan::End::kSyncLater:
      Kill();
      load_->Stop(where_, CutTally());
      SyncLater();
      CutPower(plan);
      Kill();
      return;
  }
}

// The daemon cannot commit everything, so its exit code does not matter. But it must end.
void CutTest::LeaveAlone() {
  // Data on a dead disk cannot be saved, so without --force umount would leave the mount.
  const CommandResult result = Volfs("umount --force " + Quoted(Mnt()));
  if (Options().verbose && !result.ok()) std::printf("  %s", result.output.c_str());
  try {
    AwaitDaemon(kDaemonEndsMs);
  } catch (const std::runtime_error& error) {
    if (pid() != 0) throw std::runtime_error(std::string("left alone, ") + error.what());
    if (Options().verbose) std::printf("  %s\n", error.what());
  }
}

// A kill alone loses no written data, because unsynced data is in the kernel's memory. The next
// daemon does not know of it, but must sync it when a caller asks.
void CutTest::SyncLater() {
  Mount(NodeNames());
  load_->CheckImages(where_ + ", before the cut", CutTally());
  Kill();
  Mount(NodeNames());
  load_->SyncImages(where_ + ", before the cut", CutTally());
}

// --- recovery ------------------------------------------------------------------------------------

void CutTest::Recover(const Plan& plan) {
  for (int i = 0; i < 2; ++i) {
    if (plan.cut[i] || plan.restart_other) disks_[i]->Unmount();
  }
  KeepDisks();
  for (const auto& disk : disks_) {
    if (!disk->mounted()) disk->Mount();
  }
  const Clock::time_point start = Clock::now();
  Mount(NodeNames());
  mount_ms_.push_back(std::chrono::duration<double, std::milli>(Clock::now() - start).count());
}

void CutTest::CheckStore() {
  if (!can_check_) return;
  const std::vector<std::string> nodes = NodeNames();
  const CommandResult result =
      Volfs("check " + Quoted(NodePath(nodes[0])) + " " + Quoted(NodePath(nodes[1])));
  CutTally().AddFsck(where_ + ", volfs check", result.ok() ? "" : result.output);
}

// Keeps the disks, unless an earlier failure has kept its own.
void CutTest::KeepDisks() {
  if (Options().keep.empty() || CutTally().failures() > 0) return;
  MustRun("mkdir -p " + Quoted(Options().keep) + " && cp --sparse=always " + NodePath("a.img") +
          " " + NodePath("b.img") + " " + Quoted(Options().keep));
}

void CutTest::PrintMountTimes() {
  if (mount_ms_.empty()) return;
  std::sort(mount_ms_.begin(), mount_ms_.end());
  std::printf("mounting after a cut: median %.0f ms, longest %.0f ms\n",
              mount_ms_[mount_ms_.size() / 2], mount_ms_.back());
}

// The purpose of this program.
TEST_F(CutTest, NothingAcknowledgedIsLost) {
  while (CutTally().cuts() < Options().cuts && !IsSkipped()) {
    const int before = CutTally().cuts();
    RunSet(std::min(kCutsInASet, Options().cuts - before));
    if (CutTally().cuts() == before) break;  // nothing can be made here
  }
  PrintMountTimes();
  EXPECT_GE(CutTally().cuts(), Options().cuts) << "the cuts that were asked for were not made";
  EXPECT_GT(CutTally().acknowledged(), 0U) << "too little load to prove anything";
}

}  // namespace
}  // namespace volfs
