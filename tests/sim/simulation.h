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

// Returns two nodes that know each other, the start of every run. They are made once per process.
const std::array<Disk, kDisks>& FormattedDisks();

struct Findings {
  std::vector<std::string> violations;
  uint64_t operations = 0;
  uint64_t crashes = 0;     // power losses and kills
  uint64_t recoveries = 0;  // mounts after one
  uint64_t trace = 0;       // the hash of the events
};

// The life of one store in one simulated world: mount, use, lose power, mount again, compare. All
// methods but Run are called by the body, inside the world.
class Simulation {
 public:
  Simulation(uint64_t seed, Trace& trace);

  // Runs `body` in the world. A world in which no fiber can go on is a violation.
  void Run(const std::function<void()>& body);

  // Mounts the disks of `mask`. Returns false if that failed, which is a violation unless the power
  // is off or a fault has struck.
  bool Mount(unsigned mask, uint64_t copy_rate);
  // Ends the mount, in order, or because the power is off or the daemon was killed.
  void Unmount();
  // Cuts the power of these disks now.
  void CutPower(std::array<bool, kDisks> disks);
  // Starts the disks again after Unmount. `all`: no disk keeps unsynced data.
  void Boot(const LossModel& model, bool all);
  // Checks everything (Oracle::Compare).
  void Compare(bool just_mounted);
  void CheckLogs();
  // Checks the catalogs and files of all nodes against each other. The nodes are open but not
  // mounted yet, as a crash left them, or `settled`: the background has had its time, and nothing
  // may be left to tidy up.
  void Check(const std::vector<std::unique_ptr<Node>>& nodes, bool settled);

  // Checks the mounted nodes in the same way, reading all of each database.
  bool CheckFindsDamage();

  Machine& machine() { return machine_; }
  Oracle& oracle() { return *oracle_; }
  Store& store() { return *store_; }
  Workload& clients() { return *workload_; }
  Findings& findings() { return findings_; }
  [[nodiscard]] unsigned mounted() const { return mounted_; }
  void Violation(std::string text);

  // Sets the disks, for runs that begin at a moment of another one.
  void SetDisks(const std::array<Disk, kDisks>& disks);
  void SetOracle(std::unique_ptr<Oracle> oracle) { oracle_ = std::move(oracle); }

  // Mounts and leaves it to the caller to judge a failure; `check`: checks the nodes before.
  Status TryMount(unsigned mask, uint64_t copy_rate, bool check);

 private:
  const uint64_t seed_;
  Machine machine_;
  std::unique_ptr<Oracle> oracle_ = std::make_unique<Oracle>();
  std::unique_ptr<Store> store_;
  std::unique_ptr<Workload> workload_;
  unsigned mounted_ = 0;
  bool lossy_ = false;  // the store was not closed in order, or a call failed in it
  uint64_t mounts_ = 0;
  Findings findings_;
};

// Makes one random run: `operations` by several clients, then a power loss of one or both disks, a
// kill, a fault, or none of these. Then it recovers (perhaps with another power loss, perhaps with
// one node absent), compares, lets all copying end, and compares again.
Findings RunSeed(uint64_t seed, uint64_t operations, bool print_trace);

}  // namespace volfs::sim
