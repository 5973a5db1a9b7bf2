#include "tests/sim/scenario.h"

#include <array>
#include <memory>

#include "blockstore/base/str_cat.h"

namespace volfs::sim {
namespace {

constexpr unsigned kBothDisks = (1u << kDisks) - 1;
constexpr size_t kMaxComplaints = 3;
// Ids are drawn from the seed, so a recovery must not draw the ids of the life before it.
constexpr uint64_t kSeedsOfRecovery = 1'000'000;

struct StoppedWorld {
  std::array<Disk, kDisks> disks;
  std::unique_ptr<Oracle> oracle;
};

StoppedWorld StopHere(Simulation& world) {
  return {{world.machine().disk(0), world.machine().disk(1)}, world.oracle().Copy()};
}

std::string_view NameOf(Remains remains) {
  constexpr std::string_view kNames[] = {"nothing", "everything", "some sectors",
                                         "everything but the layers' data",
                                         "nothing but the layers' data"};
  return kNames[static_cast<int>(remains)];
}

// Pages of some files may have reached the disk by themselves.
void WriteBack(Disk& disk, bool layers) {
  for (const auto& [name, file] : std::map(disk.names())) {
    if (name.starts_with("layers/") == layers) disk.SyncFile(*file);
    disk.SyncName(name);
  }
}

void CutPowerOf(Disk& disk, Remains remains, Random& random) {
  using Keep = LossModel::Keep;
  switch (remains) {
    case Remains::kNothing:
      break;
    case Remains::kEverything:
      return disk.LosePower({.keep = Keep::kEverything}, random);
    case Remains::kTorn:
      return disk.LosePower({.keep = Keep::kTorn}, random);
    case Remains::kNoLayerData:
      WriteBack(disk, false);
      break;
    case Remains::kOnlyLayerData:
      WriteBack(disk, true);
      break;
  }
  disk.LosePower({.keep = Keep::kNothing}, random);
}

// Returns false if the world cannot go on.
bool Play(Simulation& world, const Scenario& scenario) {
  if (!world.Mount(kBothDisks, scenario.copy_rate)) return false;
  if (scenario.prepare) scenario.prepare(world);
  return world.findings().violations.empty();
}

std::vector<std::string> RecoverFrom(const StoppedWorld& stopped, uint64_t seed, Remains remains) {
  Trace trace;
  Simulation world(seed + kSeedsOfRecovery, trace);
  Random random(seed);
  std::array<Disk, kDisks> disks = stopped.disks;
  for (Disk& disk : disks) CutPowerOf(disk, remains, random);
  world.SetDisks(disks);
  world.SetOracle(stopped.oracle->Copy());
  world.oracle().Closed(true);
  world.Run([&] {
    if (!world.Mount(kBothDisks, Throttle::kUnlimited)) return;
    world.Compare(true);
    if (!world.findings().violations.empty()) return;
    if (!world.clients().WaitUntilWhole()) world.Violation("a clone does not become whole");
    world.Compare(false);
  });
  return std::move(world.findings().violations);
}

void Complain(std::vector<std::string>& all, const std::string& where,
              const std::vector<std::string>& violations) {
  for (const std::string& violation : violations) all.push_back(StrCat(where, ": ", violation));
}

}  // namespace

std::vector<std::string> PlayOnce(const Scenario& scenario, Remains remains) {
  std::vector<std::string> complaints;
  const std::string where = StrCat("seed ", scenario.seed);
  StoppedWorld end;
  {
    Trace trace;
    Simulation world(scenario.seed, trace);
    world.Run([&] {
      if (!Play(world, scenario)) return;
      scenario.play(world);
      if (world.findings().violations.empty()) world.Compare(false);
      end = StopHere(world);
    });
    Complain(complaints, where, world.findings().violations);
  }
  if (complaints.empty()) {
    Complain(complaints, StrCat(where, ", keeping ", NameOf(remains)),
             RecoverFrom(end, scenario.seed, remains));
  }
  return complaints;
}

std::vector<std::string> CutEverywhere(const Scenario& scenario, std::span<const Remains> remains) {
  std::vector<std::string> complaints;
  std::vector<StoppedWorld> moments;
  const std::string where = StrCat("seed ", scenario.seed);
  {
    Trace trace;
    Simulation world(scenario.seed, trace);
    world.Run([&] {
      if (!Play(world, scenario)) return;
      world.machine().on_call = [&] { moments.push_back(StopHere(world)); };
      scenario.play(world);
      world.machine().on_call = nullptr;
      moments.push_back(StopHere(world));
    });
    Complain(complaints, where, world.findings().violations);
  }
  for (size_t call = 0; call < moments.size(); ++call) {
    for (const Remains what : remains) {
      if (complaints.size() >= kMaxComplaints) return complaints;
      Complain(complaints, StrCat(where, " cut at call ", call, " keeping ", NameOf(what)),
               RecoverFrom(moments[call], scenario.seed, what));
    }
  }
  return complaints;
}

void Together(const std::vector<std::function<void()>>& fibers) {
  std::vector<Thread> threads;
  for (const auto& fiber : fibers) threads.emplace_back("client", fiber);
  for (Thread& thread : threads) thread.Join();
}

VolumeModel& MakeSource(Simulation& world) {
  (void)world.clients().Create(0, 9 * kBlockBytes + 300);
  VolumeModel& source = *world.oracle().volumes().back();
  (void)world.clients().Write(source, 0, 7 * kBlockBytes);
  (void)world.clients().Write(source, 8 * kBlockBytes, kBlockBytes + 300);
  (void)world.clients().Sync(source);
  return source;
}

VolumeModel& MakeClone(Simulation& world, VolumeModel& source) {
  (void)world.clients().Clone(source, Workload::Place::kOther, source.image.size());
  return *world.oracle().volumes().back();
}

void SetCopyRate(Simulation& world, uint64_t bytes_per_second) {
  world.store().hydrator().throttle().SetRate(bytes_per_second);
}

}  // namespace volfs::sim
