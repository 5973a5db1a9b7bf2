#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "blockstore/store/store.h"
#include "tests/sim/machine.h"
#include "tests/sim/oracle.h"
#include "tests/sim/workload.h"

namespace volfs::sim {

inline constexpr uint32_t kBlockBytes = 1024;  // two sectors: small, and a block can tear

// Two nodes that know each other, as every run finds them. Made once a process.
const std::array<Disk, kDisks>& FormattedDisks();

struct Findings {
  std::vector<std::string> violations;
  uint64_t operations = 0;
  uint64_t crashes = 0;     // power losses and kills
  uint64_t recoveries = 0;  // mounts after one
  uint64_t trace = 0;       // the hash of the events
};

// The life of one store in one simulated world: mount, use, lose power, mount again, compare.
// All but Run is called by its body, inside the world.
class Simulation {
 public:
  Simulation(uint64_t seed, Trace& trace);

  // Runs `body` in the world; a world that stands still is a violation.
  void Run(const std::function<void()>& body);

  // Mounts the disks of `mask`. False if that failed, which is a violation unless the power is off
  // or a fault has struck.
  bool Mount(unsigned mask, uint64_t copy_rate);
  // Ends the mount: in order, or because the power is off or the daemon was killed.
  void Unmount();
  // The power of these disks goes off now.
  void CutPower(std::array<bool, kDisks> disks);
  // After Unmount. `all`: no disk keeps unsynced data.
  void Boot(const LossModel& model, bool all);
  // Looks at everything (Oracle::Compare).
  void Compare(bool just_mounted);
  void CheckLogs();
  // The catalogs and files of all nodes against each other: of nodes that are open but not mounted
  // yet, as a crash left them, or `settled`, when the background has had its time and nothing may
  // be left to tidy up.
  void Check(const std::vector<std::unique_ptr<Node>>& nodes, bool settled);

  // The same of the mounted nodes, with all of each database read.
  bool CheckFindsDamage();

  Machine& machine() { return machine_; }
  Oracle& oracle() { return *oracle_; }
  Store& store() { return *store_; }
  Workload& clients() { return *workload_; }
  Findings& findings() { return findings_; }
  [[nodiscard]] unsigned mounted() const { return mounted_; }
  void Violation(std::string text);

  // For runs that begin at a moment of another one.
  void SetDisks(const std::array<Disk, kDisks>& disks);
  void SetOracle(std::unique_ptr<Oracle> oracle) { oracle_ = std::move(oracle); }

  // Mount, but a failure is for the caller to judge; `check` the nodes before.
  Status TryMount(unsigned mask, uint64_t copy_rate, bool check);

 private:
  const uint64_t seed_;
  Machine machine_;
  std::unique_ptr<Oracle> oracle_ = std::make_unique<Oracle>();
  std::unique_ptr<Store> store_;
  std::unique_ptr<Workload> workload_;
  unsigned mounted_ = 0;
  bool lossy_ = false;  // the store was not closed in order, or something failed in it
  uint64_t mounts_ = 0;
  Findings findings_;
};

// One random run: `operations` by several clients, then a power loss of both or one disk, a kill, a
// fault, or nothing of these; then recovery (perhaps with another power loss in it, perhaps with
// one node away), comparison, the end of all copying, comparison again.
Findings RunSeed(uint64_t seed, uint64_t operations, bool print_trace);

}  // namespace volfs::sim
