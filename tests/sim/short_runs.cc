#include "tests/sim/short_runs.h"

#include <array>
#include <functional>

#include "blockstore/base/str_cat.h"

namespace volfs::sim {
namespace {

constexpr unsigned kBoth = (1u << kDisks) - 1;
// Ids are drawn from the seeds, so a world must not draw the ids of the one that it continues.
constexpr uint64_t kSeedOfBeginning = 1;
constexpr uint64_t kSeed = 2;
constexpr uint64_t kSeedOfRecovery = 3;
constexpr uint64_t kSlow = 16 * 1024;  // copying, so that it is interrupted in the middle

struct Variant {
  const char* name;
  void (*run)(Workload& clients, Oracle& oracle);
};

VolumeModel& First(Oracle& oracle) { return *oracle.volumes().front(); }

VolumeModel* Newest(Oracle& oracle) {
  for (auto it = oracle.volumes().rbegin(); it != oracle.volumes().rend(); ++it) {
    if ((*it)->existence == Existence::kYes && (*it)->decided) return it->get();
  }
  return nullptr;
}

SnapshotModel* NewestSnapshot(Oracle& oracle) {
  for (auto it = oracle.snapshots().rbegin(); it != oracle.snapshots().rend(); ++it) {
    if ((*it)->existence == Existence::kYes && (*it)->decided) return it->get();
  }
  return nullptr;
}

template <typename Run>
void OnNewest(Oracle& oracle, Run run) {
  if (VolumeModel* const model = Newest(oracle)) run(*model);
}

// Each acts on the newest volume, so that the operations of a sequence interact.
constexpr std::array<Variant, 12> kVariants = {{
    {"write",
     [](Workload& w, Oracle& o) {
       OnNewest(o, [&](VolumeModel& v) { (void)w.Write(v, 1024, 2048); });
     }},
    {"part", [](Workload& w,
                Oracle& o) { OnNewest(o, [&](VolumeModel& v) { (void)w.Write(v, 700, 900); }); }},
    {"append",
     [](Workload& w, Oracle& o) {
       OnNewest(o, [&](VolumeModel& v) { (void)w.Write(v, v.image.size() + 100, 600); });
     }},
    {"fsync",
     [](Workload& w, Oracle& o) { OnNewest(o, [&](VolumeModel& v) { (void)w.Sync(v); }); }},
    {"discard",
     [](Workload& w, Oracle& o) {
       OnNewest(o, [&](VolumeModel& v) { (void)w.Discard(v, 512, 2560); });
     }},
    {"snapshot",
     [](Workload& w, Oracle& o) { OnNewest(o, [&](VolumeModel& v) { (void)w.TakeSnapshot(v); }); }},
    {"rmsnapshot",
     [](Workload& w, Oracle& o) {
       if (SnapshotModel* const s = NewestSnapshot(o)) (void)w.DeleteSnapshot(*s);
     }},
    {"clone",
     [](Workload& w, Oracle& o) {
       (void)w.Clone(First(o), Workload::Place::kOther, First(o).image.size());
     }},
    {"linked",
     [](Workload& w, Oracle& o) {
       OnNewest(
           o, [&](VolumeModel& v) { (void)w.Clone(v, Workload::Place::kLinked, v.image.size()); });
     }},
    {"rename",
     [](Workload& w, Oracle& o) { OnNewest(o, [&](VolumeModel& v) { (void)w.Rename(v); }); }},
    {"resize",
     [](Workload& w, Oracle& o) {
       OnNewest(o, [&](VolumeModel& v) { (void)w.Resize(v, v.image.size() + 1500); });
     }},
    {"delete", [](Workload& w,
                  Oracle& o) { OnNewest(o, [&](VolumeModel& v) { (void)w.Delete(v, false); }); }},
}};

std::vector<size_t> Sequence(int length, uint64_t number) {
  std::vector<size_t> sequence;
  for (int i = 0; i < length; ++i) {
    sequence.push_back(number % kVariants.size());
    number /= kVariants.size();
  }
  return sequence;
}

// The beginning of every sequence, made once: one volume with data, on the first disk.
struct Beginning {
  std::array<Disk, kDisks> disks;
  std::unique_ptr<Oracle> oracle;
};

const Beginning& TheBeginning() {
  static const Beginning beginning = [] {
    Trace trace;
    Simulation world(kSeedOfBeginning, trace);
    world.Run([&] {
      if (!world.Mount(kBoth, kSlow)) return;
      (void)world.clients().Create(0, 9 * kBlockBytes + 300);
      (void)world.clients().Write(First(world.oracle()), 0, 6 * kBlockBytes);
      (void)world.clients().Sync(First(world.oracle()));
      world.Unmount();
      world.Boot({.keep = LossModel::Keep::kEverything}, true);
    });
    if (!world.findings().violations.empty()) std::abort();
    Beginning made;
    for (int disk = 0; disk < kDisks; ++disk) {
      made.disks[static_cast<size_t>(disk)] = world.machine().disk(disk);
    }
    made.oracle = world.oracle().Copy();
    return made;
  }();
  return beginning;
}

void Prepare(Simulation& world) {
  world.SetDisks(TheBeginning().disks);
  world.SetOracle(TheBeginning().oracle->Copy());
}

void Play(Simulation& world, const std::vector<size_t>& sequence) {
  for (const size_t variant : sequence) {
    kVariants[variant].run(world.clients(), world.oracle());
  }
  SleepFor(std::chrono::milliseconds(2500));  // copying, commits by age, freeing
}

void Add(ShortRuns& result, Simulation& world, const std::string& where) {
  for (const std::string& violation : world.findings().violations) {
    result.violations.push_back(StrCat(where, ": ", violation));
  }
}

// Recovers after a power loss on these disks and adds the violations found.
void RecoverFrom(const std::array<Disk, kDisks>& disks, const Oracle& oracle, const LossModel& loss,
                 const std::string& where, ShortRuns& result) {
  Trace trace;
  Simulation world(kSeedOfRecovery, trace);
  world.SetDisks(disks);
  world.SetOracle(oracle.Copy());
  world.oracle().Closed(true);
  world.Run([&] {
    world.Boot(loss, true);
    if (world.Mount(kBoth, Throttle::kUnlimited)) world.Compare(true);
  });
  ++result.recoveries;
  Add(result, world, where);
}

}  // namespace

uint64_t SequenceCount(int length) {
  uint64_t count = 1;
  for (int i = 0; i < length; ++i) count *= kVariants.size();
  return count;
}

std::string SequenceName(int length, uint64_t number) {
  std::string name;
  for (const size_t variant : Sequence(length, number)) {
    name += (name.empty() ? "" : ",") + std::string(kVariants[variant].name);
  }
  return name;
}

void CutEverywhere(int length, uint64_t number, ShortRuns& result) {
  using Keep = LossModel::Keep;
  struct Moment {
    std::array<Disk, kDisks> disks;
    std::unique_ptr<Oracle> oracle;
  };
  std::vector<Moment> moments;
  ++result.sequences;
  const std::string name = SequenceName(length, number);
  {
    Trace trace;
    Simulation world(kSeed, trace);
    Prepare(world);
    world.Run([&] {
      if (!world.Mount(kBoth, kSlow)) return;
      world.machine().on_call = [&] {
        moments.push_back(
            {{world.machine().disk(0), world.machine().disk(1)}, world.oracle().Copy()});
      };
      Play(world, Sequence(length, number));
      world.machine().on_call = nullptr;
    });
    Add(result, world, name);
  }
  for (size_t call = 0; call < moments.size(); ++call) {
    for (const Keep keep : {Keep::kNothing, Keep::kEverything, Keep::kAllButOne, Keep::kTorn}) {
      const LossModel loss{.ordered = (call + static_cast<size_t>(keep)) % 2 == 0, .keep = keep};
      RecoverFrom(moments[call].disks, *moments[call].oracle, loss,
                  StrCat(name, " cut at call ", call, " keeping ", static_cast<int>(keep)), result);
    }
  }
}

void FaultEverywhere(int length, uint64_t number, ShortRuns& result) {
  ++result.sequences;
  const std::string name = SequenceName(length, number);
  for (int fault = 0; fault < kFaults; ++fault) {
    for (uint64_t call = 0;; ++call) {
      Trace trace;
      Simulation world(kSeed, trace);
      Prepare(world);
      bool struck = false;
      world.Run([&] {
        if (!world.Mount(kBoth, kSlow)) return;
        CallPlan plan;
        plan.fault_at = world.machine().calls() + call;
        plan.fault = static_cast<Fault>(fault);
        world.machine().SetPlan(plan);
        Play(world, Sequence(length, number));
        struck = world.machine().faulted();
        world.CutPower({true, true});
        world.Unmount();
        world.Boot({.keep = LossModel::Keep::kNothing}, true);
        if (world.Mount(kBoth, Throttle::kUnlimited)) world.Compare(true);
      });
      ++result.recoveries;
      Add(result, world,
          StrCat(name, " with fault ", NameOf(static_cast<Fault>(fault)), " at call ", call));
      if (!struck) break;
    }
  }
}

}  // namespace volfs::sim
