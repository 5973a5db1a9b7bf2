#include "tests/support/block_load.h"

#include <fcntl.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <random>

#include "blockstore/base/str_cat.h"
#include "tests/support/mount_file.h"

namespace volfs {
namespace {

constexpr size_t kMaxComplaints = 8;

std::span<const std::byte, kPatternBlockBytes> BlockOf(const std::vector<std::byte>& contents,
                                                       uint64_t block) {
  return std::span<const std::byte, kPatternBlockBytes>(
      contents.data() + block * kPatternBlockBytes, kPatternBlockBytes);
}

// Collects a few lines; more would hide the first.
class Complaints {
 public:
  void Add(const std::string& line) {
    if (++count_ <= kMaxComplaints) text_ += line + "\n";
  }
  [[nodiscard]] std::string Text() const {
    if (count_ <= kMaxComplaints) return text_;
    return text_ + "and " + std::to_string(count_ - kMaxComplaints) + " more\n";
  }

 private:
  size_t count_ = 0;
  std::string text_;
};

std::string WrongSize(const std::vector<std::byte>& contents, uint64_t blocks) {
  if (contents.size() == blocks * kPatternBlockBytes) return "";
  return "the image has " + std::to_string(contents.size()) + " bytes, expected " +
         std::to_string(blocks * kPatternBlockBytes) + "\n";
}

// The same as CheckBlock, but reports a block that is only too old differently.
std::optional<std::string> Check(std::span<const std::byte, kPatternBlockBytes> block,
                                 const BlockExpectation& expected) {
  std::optional<std::string> wrong = CheckBlock(block, expected);
  if (!wrong || expected.least == 0) return wrong;
  BlockExpectation older = expected;
  older.least = 0;
  if (!CheckBlock(block, older)) wrong->insert(0, "lost: ");
  return wrong;
}

std::string NotOwn(uint64_t number) {
  return "block " + std::to_string(number) + " holds what another image's writer has written";
}

}  // namespace

// How a writer writes: flags of its descriptor and of each call. Either can make it synchronous.
struct BlockLoad::Way {
  int flags = 0;
  int rwf = 0;
  [[nodiscard]] bool synchronous() const { return rwf != 0 || (flags & O_DSYNC) != 0; }
};

BlockLoad::Way BlockLoad::Draw(int writer, uint64_t seed) const {
  static constexpr Way kSynchronous[] = {{O_DSYNC, 0}, {O_SYNC, 0}, {0, RWF_DSYNC}, {0, RWF_SYNC}};
  Way way;
  if (options_.some_synchronous && seed % 3 != 0) way = kSynchronous[seed / 3 % 4];
  if (options_.some_direct && writer % 2 == 1) way.flags |= O_DIRECT;
  return way;
}

// One thread's file and buffer.
class BlockLoad::Writer {
 public:
  Writer(BlockLoad& load, int number, const Way& way)
      : load_(load),
        number_(number),
        way_(way),
        buffer_(kPatternBlockBytes),
        file_(load.options_.path, O_RDWR | way.flags) {}

  [[nodiscard]] int open_error() const { return file_.open_error(); }

  int WriteBlock(uint64_t number) {
    Block& block = load_.blocks_[number];
    const uint64_t sequence = load_.Now();
    StampBlock(buffer_.bytes().first<kPatternBlockBytes>(),
               {load_.options_.volume, number, static_cast<uint64_t>(number_), sequence});
    block.writes.push_back({sequence, 0});
    const bool dead = load_.dead_;
    const int error = file_.WriteAt(number * kPatternBlockBytes, buffer_.bytes(), way_.rwf);
    if (error != 0) return error;
    block.writes.back().acked = load_.Now();
    unsynced_.push_back(number);
    load_.writes_.fetch_add(1);
    if (way_.synchronous()) Synced(dead);
    return 0;
  }

  int Sync() {
    const bool dead = load_.dead_;
    const int error = file_.Sync();
    if (error == 0) Synced(dead);
    return error;
  }

 private:
  // `dead`: the disk was dead when the call began.
  void Synced(bool dead) {
    if (dead) load_.false_syncs_.fetch_add(1);
    if (!load_.trusted_) return;
    for (const uint64_t number : unsynced_) {
      load_.blocks_[number].synced = load_.blocks_[number].writes.back().issued;
    }
    load_.synced_writes_.fetch_add(unsynced_.size());
    unsynced_.clear();
  }

  BlockLoad& load_;
  const int number_;
  const Way way_;
  AlignedBuffer buffer_;
  const TestFile file_;
  std::vector<uint64_t> unsynced_;  // written since the last sync
};

BlockLoad::BlockLoad(const Options& options) : options_(options), blocks_(options.blocks) {
  if (options.begins_as == nullptr) return;
  // Starts so far ahead that no later write of the source has a sequence of this load.
  clock_ = options.begins_as->clock_.load() + (uint64_t{1} << 32);
  blocks_ = options.begins_as->blocks_;
}

int BlockLoad::Fill() {
  Writer writer(*this, 0, {});
  int error = writer.open_error();
  for (uint64_t number = 0; error == 0 && number < blocks_.size(); ++number) {
    error = writer.WriteBlock(number);
  }
  return error != 0 ? error : writer.Sync();
}

void BlockLoad::Start() {
  stop_ = false;
  trusted_ = true;
  dead_ = false;
  error_ = 0;
  ++starts_;
  for (int i = 0; i < options_.writers; ++i) {
    const uint64_t seed = options_.seed * 1000 + starts_ * 100 + static_cast<uint64_t>(i);
    threads_.emplace_back([this, i, seed] { Work(i, seed); });
  }
}

void BlockLoad::Work(int number, uint64_t seed) {
  std::mt19937_64 random(seed);
  Writer writer(*this, number, Draw(number, random()));
  const auto writers = static_cast<uint64_t>(options_.writers);
  const uint64_t own = blocks_.size() / writers;
  int error = writer.open_error();
  for (int count = 1; error == 0 && !stop_; ++count) {
    error = writer.WriteBlock(random() % own * writers + static_cast<uint64_t>(number));
    if (error == 0 && options_.sync_every != 0 && count % options_.sync_every == 0) {
      error = writer.Sync();
    }
    if (options_.pause_us == 0) continue;
    std::this_thread::sleep_for(std::chrono::microseconds(options_.pause_us));
  }
  int none = 0;
  if (error != 0) error_.compare_exchange_strong(none, error);
}

int BlockLoad::Stop() {
  stop_ = true;
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
  return error_;
}

int BlockLoad::SyncImage() const {
  const TestFile file(options_.path);
  return file.ok() ? file.Sync() : file.open_error();
}

const BlockLoad::Write* BlockLoad::LastAckedBefore(uint64_t block, uint64_t moment) const {
  const std::vector<Write>& writes = blocks_[block].writes;
  for (auto it = writes.rbegin(); it != writes.rend(); ++it) {
    if (it->acked != 0 && it->acked < moment) return &*it;
  }
  return nullptr;
}

// Returns whether each sector holds zeros or bytes that were written to this block of this image.
bool BlockLoad::IsOwn(const std::vector<std::byte>& contents, uint64_t number) const {
  const std::vector<Write>& writes = blocks_[number].writes;
  const auto sectors = ReadStamps(BlockOf(contents, number));
  return std::all_of(sectors.begin(), sectors.end(), [&](const SectorContents& sector) {
    if (sector.kind != SectorContents::Kind::kStamped) return true;
    return std::any_of(writes.rbegin(), writes.rend(),
                       [&](const Write& write) { return write.issued == sector.stamp.sequence; });
  });
}

std::string BlockLoad::CheckNewest(const std::vector<std::byte>& contents) const {
  const std::string wrong_size = WrongSize(contents, blocks_.size());
  if (!wrong_size.empty()) return wrong_size;
  Complaints complaints;
  for (uint64_t number = 0; number < blocks_.size(); ++number) {
    const uint64_t newest =
        blocks_[number].writes.empty() ? 0 : blocks_[number].writes.back().issued;
    const auto wrong = Check(BlockOf(contents, number), {options_.volume, number, newest, newest});
    if (wrong) complaints.Add(*wrong);
  }
  return complaints.Text();
}

std::string BlockLoad::CheckSnapshotPoint(const std::vector<std::byte>& contents, uint64_t asked,
                                          uint64_t answered) const {
  const std::string wrong_size = WrongSize(contents, blocks_.size());
  if (!wrong_size.empty()) return wrong_size;
  Complaints complaints;
  uint64_t newest_held = 0;
  for (uint64_t number = 0; number < blocks_.size(); ++number) {
    newest_held = std::max(newest_held, SequenceOf(BlockOf(contents, number)));
  }
  const uint64_t instant = std::max(asked, newest_held);
  for (uint64_t number = 0; number < blocks_.size(); ++number) {
    const Write* const must = LastAckedBefore(number, instant);
    const uint64_t least = must == nullptr ? 0 : must->issued;
    const auto wrong = Check(BlockOf(contents, number), {options_.volume, number, least, answered});
    if (!wrong && !IsOwn(contents, number)) complaints.Add(NotOwn(number));
    if (wrong) {
      complaints.Add(*wrong + " (asked at " + std::to_string(asked) + ", newest write held " +
                     std::to_string(newest_held) + ")");
    }
  }
  return complaints.Text();
}

std::string BlockLoad::CheckAfterCrash(const std::vector<std::byte>& contents) {
  const std::string wrong_size = WrongSize(contents, blocks_.size());
  if (!wrong_size.empty()) return wrong_size;
  Complaints complaints;
  for (uint64_t number = 0; number < blocks_.size(); ++number) {
    Block& block = blocks_[number];
    const uint64_t most = block.writes.empty() ? 0 : block.writes.back().issued;
    const auto found = BlockOf(contents, number);
    const auto wrong = Check(found, {options_.volume, number, block.synced, most, /*whole=*/false});
    if (wrong) complaints.Add(*wrong);
    if (!wrong && !IsOwn(contents, number)) complaints.Add(NotOwn(number));
    // The lost writes were never synced, so no later image must hold them.
    const uint64_t sequence = SequenceOf(found);
    std::erase_if(block.writes, [&](const Write& write) { return write.issued > sequence; });
    if (block.writes.empty()) continue;
    if (block.writes.back().acked == 0) block.writes.back().acked = Now();
    const bool whole = !CheckBlock(found, {options_.volume, number, sequence, sequence});
    if (whole) block.synced = sequence;
  }
  return complaints.Text();
}

}  // namespace volfs
