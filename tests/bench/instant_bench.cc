// Measures a snapshot request, a clone request and a diff with the snapshot below for volumes of
// several sizes, in milliseconds and catalog commits. The volume lies over a snapshot and every
// second block of it was written since, so that n blocks are n extents. Dirty data is synced before
// the clock starts, and copying is paused. scripts/bench prints the medians as a table.
#include <benchmark/benchmark.h>
#include <sys/statfs.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "blockstore/store/store.h"
#include "tests/support/store_fixture.h"

namespace volfs {
namespace {

constexpr char kVolume[] = "db";
constexpr uint64_t kBlock = kDefaultBlockSize;
constexpr long kTmpfsMagic = 0x01021994;

// Nodes are in /dev/shm, so that the requests are measured and not a disk.
void UseMemory() {
  struct statfs info {};
  if (::statfs("/dev/shm", &info) == 0 && info.f_type == kTmpfsMagic) {
    ::setenv("TMPDIR", "/dev/shm", 1);
    return;
  }
  std::fprintf(stderr, "no tmpfs on /dev/shm: the nodes are in TMPDIR (or /tmp), syncs count\n");
}

[[noreturn]] void Give(const std::string& what, const Error& error) {
  std::fprintf(stderr, "instant_bench: %s: %s\n", what.c_str(), error.message.c_str());
  std::abort();
}

template <typename T>
T Value(Result<T> result, const std::string& what) {
  if (!result.ok()) Give(what, result.error());
  return std::move(result.value());
}

// Two nodes and one fragmented volume. It is expensive, so it is made once for each size.
class Fragmented {
 public:
  explicit Fragmented(uint64_t extents) : extents_(extents) {
    (void)fixture_.MakeVolume(kVolume, extents * kBlock);
    base_ = Value(store().TakeSnapshot(kVolume, "base", Caller{}), "the first snapshot").id;
    const std::vector<std::byte> block = Pattern(kBlock);
    for (uint64_t at = 0; at < extents; at += 2) {
      (void)Value(volume().WriteAt(block, at * kBlock), "a write");
    }
    Settle();
    if (ExtentsNow() != extents) std::abort();
    store().hydrator().throttle().SetRate(0);
  }

  [[nodiscard]] uint64_t extents() const { return extents_; }
  [[nodiscard]] Id base() const { return base_; }
  Store& store() { return fixture_.store(); }
  Volume& volume() { return *store().Find(kVolume); }
  void Settle() { (void)Value(volume().Sync(), "a sync"); }
  uint64_t ExtentsNow() {
    const MapRefCount::Ref use = Value(volume().map().Acquire(), "the map");
    return volume().map().Copy().map.extent_count();
  }

  // Counts transactions of nodes a and b. They are the request's own only while nothing else
  // commits, so hydration is off: it counts the source's data as soon as there is a clone.
  struct Commits {
    uint64_t a, b;
  };
  using Step = void (*)(Fragmented&);
  const Commits& CommitsOf(Step request, Step undo) {
    const auto known = commits_.find(request);
    if (known != commits_.end()) return known->second;
    Reopen(false);
    Commits least{UINT64_MAX, UINT64_MAX};
    for (int i = 0; i < 3; ++i) {  // the work after a mount may commit in between
      const Commits before = Now();
      request(*this);
      const Commits after = Now();
      undo(*this);
      least.a = std::min(least.a, after.a - before.a);
      least.b = std::min(least.b, after.b - before.b);
    }
    Reopen(true);
    return commits_[request] = least;
  }

 private:
  Commits Now() {
    return {store().nodes()[0]->catalog().commits(), store().nodes()[1]->catalog().commits()};
  }

  void Reopen(bool hydrate) {
    StoreOptions options;
    options.hydrate = hydrate;
    fixture_.Reopen(options);
    store().hydrator().throttle().SetRate(0);
    (void)Value(volume().map().Acquire(), "the map");
  }

  const uint64_t extents_;
  Id base_ = kNoId;
  StoreFixture fixture_;
  std::map<Step, Commits> commits_;
};

Fragmented& Volumes(uint64_t extents) {
  static std::unique_ptr<Fragmented> last;  // one at a time: the largest needs a gigabyte
  if (last == nullptr || last->extents() != extents) {
    last.reset();
    last = std::make_unique<Fragmented>(extents);
  }
  return *last;
}

void Snapshot(Fragmented& f) {
  (void)Value(f.store().TakeSnapshot(kVolume, "now", Caller{}), "a snapshot");
}
void DropSnapshot(Fragmented& f) {
  (void)Value(f.store().DeleteSnapshot(kVolume, "now", Caller{}), "deleting the snapshot");
}

void Clone(Fragmented& f) {
  CloneRequest request;
  request.source = kVolume;
  request.name = "copy";
  (void)Value(f.store().Clone(request, Caller{}), "a clone");
}
void DropClone(Fragmented& f) {
  (void)Value(f.store().Cancel("copy", Caller{}), "cancelling the clone");
}

void Diff(Fragmented& f) {
  const auto diff =
      Value(f.store().OpenDiffWithNow(f.base(), f.store().Find(kVolume), Store::Bytes::kRangesOnly),
            "a diff");
  uint64_t ranges = 0;
  for (ImageDiff walk = diff->Ranges(); walk.Next(); ++ranges) {
  }
  if (ranges < f.extents() / 2) std::abort();
}
void Nothing(Fragmented& /*f*/) {}

void Measure(benchmark::State& state, Fragmented::Step request, Fragmented::Step undo) {
  Fragmented& f = Volumes(static_cast<uint64_t>(state.range(0)));
  const std::vector<std::byte> block = Pattern(kBlock);
  // A busy volume has blocks in its head, so each request is preceded by one write.
  uint64_t at = 0;
  for (auto _ : state) {
    (void)Value(f.volume().WriteAt(block, at), "a write");
    at += 2 * kBlock;
    f.Settle();
    const Nanoseconds start = MonotonicNow();
    request(f);
    const std::chrono::duration<double> took = MonotonicNow() - start;
    state.SetIterationTime(took.count());
    undo(f);
  }
  const Fragmented::Commits& commits = f.CommitsOf(request, undo);
  state.counters["extents"] = static_cast<double>(f.ExtentsNow());
  state.counters["commits_a"] = static_cast<double>(commits.a);
  state.counters["commits_b"] = static_cast<double>(commits.b);
}

void PointSnapshot(benchmark::State& state) { Measure(state, Snapshot, DropSnapshot); }
void PointClone(benchmark::State& state) { Measure(state, Clone, DropClone); }
void PointDiff(benchmark::State& state) { Measure(state, Diff, Nothing); }

// Ordered by size, so that each fragmented volume is made once.
const bool registered = [] {
  UseMemory();
  for (const int64_t extents : {1'000, 30'000, 500'000}) {
    const auto add = [&](const char* name, void (*body)(benchmark::State&)) {
      benchmark::RegisterBenchmark(name, body)
          ->Arg(extents)
          ->UseManualTime()
          ->Unit(benchmark::kMillisecond)
          ->Iterations(1)
          ->Repetitions(7);
    };
    add("PointSnapshot", PointSnapshot);
    add("PointClone", PointClone);
    add("PointDiff", PointDiff);
  }
  return true;
}();

}  // namespace
}  // namespace volfs
