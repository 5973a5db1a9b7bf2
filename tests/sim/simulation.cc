#include "tests/sim/simulation.h"

#include <algorithm>

#include "blockstore/base/str_cat.h"
#include "blockstore/catalog/format.h"
#include "blockstore/check/check.h"
#include "blockstore/node/opener.h"
#include "tests/sim/node.h"
#include "tests/sim/vfs.h"

namespace volfs::sim {
namespace {

// Longer than any pause of the background: commits by age, freeing, the next attempt of a copy.
constexpr Nanoseconds kSettled = std::chrono::seconds(12);
constexpr unsigned kBoth = (1u << kDisks) - 1;

Status FormatDisk(Machine& machine, int disk) {
  NodeRecord record;
  record.name = std::string(1, static_cast<char>('a' + disk));
  record.region = "default";
  record.types = {{"standard", 0, kMaxVolumeBytes}};
  record.block_size = kBlockBytes;
  const auto directory = OpenSimNode(machine, disk);
  return Node::Init(*directory, record);
}

}  // namespace

const std::array<Disk, kDisks>& FormattedDisks() {
  static const std::array<Disk, kDisks> formatted = [] {
    Trace trace;
    Simulation world(0, trace);
    std::array<Disk, kDisks> disks;
    world.SetDisks(disks);
    world.Run([&] {
      for (int disk = 0; disk < kDisks; ++disk) {
        const Status made = FormatDisk(world.machine(), disk);
        if (!made.ok()) world.Violation(made.error().message);
      }
      if (world.Mount(kBoth, Throttle::kUnlimited)) world.Unmount();  // each learns of the other
      world.Boot({.keep = LossModel::Keep::kEverything}, true);
    });
    if (!world.findings().violations.empty()) {
      std::fprintf(stderr, "%s\n", world.findings().violations.front().c_str());
      std::abort();
    }
    for (int disk = 0; disk < kDisks; ++disk) {
      disks[static_cast<size_t>(disk)] = world.machine().disk(disk);
    }
    return disks;
  }();
  return formatted;
}

Simulation::Simulation(uint64_t seed, Trace& trace) : seed_(seed), machine_(seed, trace) {
  if (seed != 0) SetDisks(FormattedDisks());
}

void Simulation::SetDisks(const std::array<Disk, kDisks>& disks) {
  for (int disk = 0; disk < kDisks; ++disk) machine_.disk(disk) = disks[static_cast<size_t>(disk)];
}

void Simulation::Violation(std::string text) {
  machine_.trace().Line(StrCat("VIOLATION ", text));
  findings_.violations.push_back(std::move(text));
}

void Simulation::Run(const std::function<void()>& body) {
  SetVfsMachine(&machine_, seed_);
  const bool ended = machine_.runtime().Run([&] {
    body();
    if (store_ != nullptr) Unmount();
  });
  SetVfsMachine(nullptr, 0);
  if (!ended) {
    Violation(machine_.runtime().hung());
    (void)store_.release();  // fibers that never end use it
    (void)workload_.release();
  }
  findings_.trace = machine_.trace().hash();
}

Status Simulation::TryMount(unsigned mask, uint64_t copy_rate, bool check) {
  std::vector<std::unique_ptr<Node>> nodes;
  for (int disk = 0; disk < kDisks; ++disk) {
    if ((mask >> disk & 1) == 0) continue;
    ASSIGN_OR_RETURN(auto node, Node::Open(OpenSimNode(machine_, disk)));
    nodes.push_back(std::move(node));
  }
  if (check) Check(nodes, false);
  RETURN_IF_ERROR(JoinNodes(nodes));
  StoreOptions options;
  options.copy_rate = copy_rate;
  options.copy_piece_bytes = 4 * kBlockBytes;
  options.allow_shrink = true;
  options.merge_slice_bytes = 16 * kBlockBytes;
  options.open_files = 3;  // fewer than there are layers
  // Mostly never, so that unsynced data stays unsynced for as long as possible.
  options.commit_idle = seed_ % 3 == 0 ? IdleCommitter::kIdle : kForever;
  // Mostly in the background's next round, in the middle of everything.
  options.map_idle = std::chrono::seconds(seed_ % 4 == 0 ? 2 : 0);
  ASSIGN_OR_RETURN(store_, Store::Open(std::move(nodes), options));
  mounted_ = mask;
  return OkStatus();
}

bool Simulation::Mount(unsigned mask, uint64_t copy_rate) {
  machine_.trace().Line(StrCat("mount ", mask));
  const Status mounted = TryMount(mask, copy_rate, true);
  if (!mounted.ok()) {
    lossy_ = true;
    if (!machine_.power_off() && !machine_.faulted()) {
      Violation(StrCat("mounting fails: ", mounted.error().message));
    }
    return false;
  }
  workload_ = std::make_unique<Workload>(machine_, *oracle_, *store_, mask, seed_ * 977 + mounts_++,
                                         findings_.violations);
  return true;
}

void Simulation::Unmount() {
  machine_.trace().Line("unmount");
  store_.reset();
  if (workload_ != nullptr) findings_.operations += workload_->operations();
  workload_.reset();
  lossy_ = lossy_ || machine_.power_off() || machine_.faulted();
  oracle_->Closed(std::exchange(lossy_, false));
}

void Simulation::CutPower(std::array<bool, kDisks> disks) { machine_.CutPower(disks); }

void Simulation::Boot(const LossModel& model, bool all) {
  if (machine_.power_off()) ++findings_.crashes;
  machine_.Boot(model, all);
}

// The size of a catalog's log is bounded by its constants and one commit, after any number of
// writes.
void Simulation::CheckLogs() {
  constexpr uint64_t kOneCommit = 64 * 1024;
  for (int disk = 0; disk < kDisks; ++disk) {
    const auto log = machine_.disk(disk).Find(catalog::kWalName);
    if (log == nullptr) continue;
    const uint64_t bytes = log->now().bytes.size();
    if (bytes <= catalog::kLogMaxBytes + kOneCommit) continue;
    Violation(StrCat("the log of node ", static_cast<char>('a' + disk), " has ", bytes, " bytes"));
  }
}

void Simulation::Compare(bool just_mounted) {
  CheckLogs();
  // In some lives only, so that the others stay as they were.
  oracle_->set_compares_diffs((0b01111010 >> seed_ % 8 & 1) != 0);
  oracle_->Compare(*store_, mounted_, just_mounted, findings_.violations);
}

bool Simulation::CheckFindsDamage() {
  std::vector<Node*> nodes;
  for (const auto& node : store_->nodes()) nodes.push_back(node.get());
  const auto found = CheckNodes(nodes, {});
  return !found.ok() || std::any_of(found.value().begin(), found.value().end(), [](const auto& f) {
    return f.weight == Finding::Weight::kDamage;
  });
}

void Simulation::Check(const std::vector<std::unique_ptr<Node>>& open, bool settled) {
  std::vector<Node*> nodes;
  for (const auto& node : open) nodes.push_back(node.get());
  const auto found = CheckNodes(nodes, {.verify_catalogs = false});
  if (!found.ok()) {
    if (!machine_.power_off() && !machine_.faulted()) {
      Violation(StrCat("check: ", found.error().message));
    }
    return;
  }
  if (machine_.power_off() || machine_.faulted()) return;  // its view is not that of the disk
  for (const Finding& finding : found.value()) {
    if (finding.kind == Finding::Kind::kNodeAbsent) continue;
    // Blocks that a child has hidden since the last deletion are freed with the next deletion, or
    // by merging.
    if (finding.kind == Finding::Kind::kUnreachedBlocks) continue;
    if (settled || finding.weight == Finding::Weight::kDamage) {
      Violation(StrCat("check: ", KindWord(finding.kind), ": ", finding.text));
    }
  }
}

// --- random runs ---------------------------------------------------------------------------------

namespace {

enum class End { kBothLose, kOneLoses, kKilled, kClosed };

struct Plan {
  End end = End::kBothLose;
  int loser = 0;
  bool fault = false;
  bool fault_in_mount = false;
  bool count_syncs = false;
  bool cut_in_clone = false;
  bool cut_again = false;
  int away = -1;            // this node is not mounted at first
  bool older_copy = false;  // of a disk is tried at the end
  bool flip = false;        // a bit of a catalog changes at rest
  LossModel loss;
  uint64_t copy_rate = Throttle::kUnlimited;
  int clients = 3;
  bool fills = false;  // a disk becomes full, and stays so
  int full_disk = 0;
  uint64_t room_bytes = 0;
  bool moved_away = false;  // the directory of a node, in the middle of the clients' work
};

void PlanFullDisk(Plan& plan, uint64_t seed) {
  Random random(seed * 131 + 17);
  plan.fills = random.Percent(20);
  plan.full_disk = static_cast<int>(random.Below(kDisks));
  plan.room_bytes = random.OneIn(2) ? 0 : random.Below(60 * kBlockBytes);
}

Plan MakePlan(Random& random) {
  Plan plan;
  const uint64_t dice = random.Below(100);
  plan.end = dice < 55   ? End::kBothLose
             : dice < 75 ? End::kOneLoses
             : dice < 88 ? End::kKilled
                         : End::kClosed;
  plan.loser = static_cast<int>(random.Below(kDisks));
  plan.fault = random.Percent(25);
  plan.cut_again = random.Percent(25);
  if (random.Percent(20)) plan.away = static_cast<int>(random.Below(kDisks));
  plan.older_copy = random.Percent(5);
  plan.flip = random.Percent(3);
  plan.loss.ordered = random.OneIn(2);
  plan.loss.keep = static_cast<LossModel::Keep>(random.Below(kKeeps));
  plan.cut_in_clone = plan.end == End::kOneLoses && random.OneIn(2);
  plan.count_syncs = plan.cut_in_clone || random.OneIn(2);
  plan.fault_in_mount = random.Percent(8);
  plan.loss.killed = plan.end == End::kKilled;
  const uint64_t rates[] = {Throttle::kUnlimited, 64 * 1024, 8 * 1024};
  plan.copy_rate = rates[random.Below(3)];
  plan.clients = static_cast<int>(random.Between(1, 4));
  return plan;
}

std::array<bool, kDisks> Losers(const Plan& plan) {
  if (plan.end != End::kOneLoses) return {true, true};
  return {plan.loser == 0, plan.loser == 1};
}

// A run of 100 operations makes some 3,000 calls, a tenth of them syncs. Most faults strike in the
// middle.
CallPlan MakeCallPlan(const Plan& plan, const Machine& machine, uint64_t operations,
                      Random& random) {
  CallPlan calls;
  calls.count_syncs = plan.count_syncs;
  const uint64_t now = plan.count_syncs ? machine.syncs() + 1 : machine.calls();
  const uint64_t within = plan.count_syncs ? operations * 3 : operations * 35;
  if (plan.fills) {
    calls.fill_at = machine.calls() + operations * 5;
    calls.fill_disk = plan.full_disk;
    calls.room_bytes = plan.room_bytes;
  }
  calls.cut_in_clone = plan.cut_in_clone;
  if (plan.end != End::kClosed && !plan.cut_in_clone) {
    calls.cut_at = now + random.Below(within);
    calls.cut = Losers(plan);
  }
  if (plan.fault) {
    calls.fault_at = now + random.Below(within);
    calls.fault = static_cast<Fault>(random.Below(kFaults));
    if (plan.count_syncs && random.OneIn(2)) calls.fault = Fault::kIo;
    calls.full_calls = random.Between(1, 200);
  }
  return calls;
}

void PlanMove(Machine& machine, uint64_t operations, Random& random) {
  CallPlan calls = machine.plan();
  calls.away_at = machine.calls() + random.Below(operations * 35);
  calls.away_disk = static_cast<int>(random.Below(kDisks));
  machine.SetPlan(calls);
}

// Fails something in the middle of a mount, which may or may not survive that.
void FailInMount(Simulation& world, const Plan& plan, Random& random) {
  CallPlan calls;
  calls.count_syncs = plan.count_syncs;
  calls.fault_at = plan.count_syncs ? world.machine().syncs() + random.Between(1, 8)
                                    : world.machine().calls() + random.Below(150);
  calls.fault = static_cast<Fault>(random.Below(kFaults));
  world.machine().SetPlan(calls);
  if (world.Mount(kBoth, plan.copy_rate)) {
    if (world.findings().violations.empty()) world.clients().RunClients(1, 5);
    world.CutPower({true, true});
  }
  world.Unmount();
  world.Boot(plan.loss, true);
}

// Mounts until it succeeds, with another power loss in the middle if that is planned.
bool Recover(Simulation& world, const Plan& plan, unsigned mask, Random& random) {
  if (plan.cut_again) {
    CallPlan calls;
    calls.cut_at = world.machine().calls() + random.Below(120);
    calls.cut = {true, true};
    world.machine().SetPlan(calls);
    if (world.Mount(mask, plan.copy_rate)) {
      SleepFor(std::chrono::milliseconds(random.Below(1500)));
      world.Unmount();
    }
    LossModel loss = plan.loss;
    loss.killed = false;
    loss.keep = static_cast<LossModel::Keep>(random.Below(kKeeps));
    world.Boot(loss, world.machine().power_off());
    ++world.findings().recoveries;
  }
  ++world.findings().recoveries;
  return world.Mount(mask, plan.copy_rate);
}

// Mounts one disk alone, as a user does to see its contents.
void MountAlone(Simulation& world, uint64_t times) {
  for (uint64_t i = 0; i < times; ++i) {
    const Status mounted = world.TryMount(1U << 1, 0, false);
    if (!mounted.ok()) world.Violation(StrCat("node b alone: ", mounted.error().message));
    world.Unmount();
  }
}

// A disk as it was before the last mount must be refused by name, even if it was mounted alone in
// between and both went on. The newest must be accepted.
void TryOlderCopy(Simulation& world, const Disk& older, Random& random) {
  MountAlone(world, random.Below(2));
  const Disk newest = world.machine().disk(1);
  world.machine().disk(1) = older;
  MountAlone(world, random.Below(3));
  Status mounted = world.TryMount(kBoth, 0, false);
  if (mounted.ok()) {
    world.Violation("an older copy of node b was mounted");
  } else if (mounted.error().message.find("older copy of node b") == std::string::npos &&
             mounted.error().message.find("two copies of node b") == std::string::npos) {
    world.Violation(StrCat("an older copy of node b is refused as ", mounted.error().message));
  }
  if (mounted.ok()) return;
  world.machine().disk(1) = newest;
  mounted = world.TryMount(kBoth, 0, false);
  if (!mounted.ok()) world.Violation(StrCat("the newest node b: ", mounted.error().message));
}

// A changed bit of a catalog is reported as corrupt by the mount, by a read, or at least by the
// check; or it has no effect. The exception is the last commit in a log that a crash has left.
// Without it the log is that of a crash one moment earlier, so nothing is compared there.
void LiveWithFlip(Simulation& world, const Plan& plan, Random& random) {
  const bool orderly = random.OneIn(2);
  if (orderly) {  // all of the log is in the database
    if (!world.Mount(kBoth, plan.copy_rate)) return;
    world.Unmount();
    world.Boot(plan.loss, false);
  }
  const int disk = static_cast<int>(random.Below(kDisks));
  const std::string name = random.OneIn(2) ? "catalog.db" : "catalog.db-wal";
  world.machine().Flip(disk, name, random.Next());
  world.oracle().set_damaged();
  const Status mounted = world.TryMount(kBoth, 0, false);
  if (mounted.ok()) {
    if (!orderly && name != "catalog.db") return;
    std::vector<std::string> wrong;
    std::swap(wrong, world.findings().violations);
    world.Compare(!plan.loss.killed);
    std::swap(wrong, world.findings().violations);
    // A changed bit of SQLite's own pages can hide a row, which no row's checksum shows.
    if (!wrong.empty() && !world.CheckFindsDamage()) world.Violation(wrong.front());
    return;
  }
  // The catalog's version may have changed, too.
  const Errc code = mounted.error().code;
  if (code != Errc::kCorrupt && code != Errc::kNotSupported) {
    world.Violation(StrCat("a changed bit of ", name, " is told as ", mounted.error().message));
  }
}

void RandomLife(Simulation& world, uint64_t seed, uint64_t operations) {
  Random random(seed * 31 + 5);
  Plan plan = MakePlan(random);
  PlanFullDisk(plan, seed);
  Random late(seed * 137 + 19);  // for later additions: earlier lives stay as they were
  plan.moved_away = late.Percent(4);
  // After a kill the bytes read may be in the page cache only.
  const bool durable = !plan.loss.killed;
  if (plan.fault_in_mount) FailInMount(world, plan, random);
  if (!world.Mount(kBoth, plan.copy_rate)) return;
  if (plan.fault_in_mount) world.Compare(durable);
  world.machine().SetPlan(MakeCallPlan(plan, world.machine(), operations, random));
  if (plan.moved_away) PlanMove(world.machine(), operations, late);
  world.clients().RunClients(plan.clients, operations);
  if (plan.end != End::kClosed && !world.machine().power_off()) world.CutPower(Losers(plan));
  world.Unmount();
  world.Boot(plan.loss, plan.end != End::kClosed && plan.end != End::kOneLoses);

  if (plan.flip) return LiveWithFlip(world, plan, random);
  if (plan.away >= 0) {
    if (!Recover(world, plan, kBoth & ~(1u << plan.away), random)) return;
    world.Compare(durable);
    if (world.findings().violations.empty()) world.clients().RunClients(2, operations / 10);
    world.Compare(false);
    world.Unmount();
    world.Boot(plan.loss, false);
  }
  const Disk before = plan.older_copy ? world.machine().disk(1) : Disk();
  if (!Recover(world, plan, kBoth, random)) return;
  world.Compare(durable);
  if (plan.fills) {
    world.clients().RunClients(plan.clients, operations / 2);
    if (world.findings().violations.empty()) world.clients().Empty(plan.full_disk);
    world.machine().disk(plan.full_disk).Relieve();
    world.Compare(false);
  }
  if (!world.findings().violations.empty() || random.OneIn(2)) return;
  if (!world.clients().WaitUntilWhole()) world.Violation("a clone is not whole after 120 s");
  world.Compare(false);
  SleepFor(kSettled);
  world.Check(world.store().nodes(), true);
  world.Unmount();
  if (plan.older_copy) TryOlderCopy(world, before, late);
}

}  // namespace

Findings RunSeed(uint64_t seed, uint64_t operations, bool print_trace) {
  Trace trace(print_trace);
  Simulation world(seed, trace);
  world.Run([&] { RandomLife(world, seed, operations); });
  return std::move(world.findings());
}

}  // namespace volfs::sim
