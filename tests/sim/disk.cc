#include "tests/sim/disk.h"

#include <algorithm>
#include <cassert>
#include <cstring>

namespace volfs::sim {
namespace {

bool InDirectory(const std::string& name, std::string_view directory) {
  if (!directory.empty()) return name.starts_with(directory);
  return name.find('/') == std::string::npos;
}

constexpr uint64_t SectorOf(uint64_t offset_bytes) { return offset_bytes / kSectorBytes; }
constexpr uint64_t SectorsFor(uint64_t bytes) { return (bytes + kSectorBytes - 1) / kSectorBytes; }

}  // namespace

std::string_view NameOf(Call call) {
  constexpr std::string_view kNames[] = {"open", "remove",    "list",  "read",    "write",
                                         "sync", "syncnames", "punch", "setsize", "look"};
  return kNames[static_cast<int>(call)];
}

bool Changes(Call call) {
  return call == Call::kOpen || call == Call::kRemove || call == Call::kWrite ||
         call == Call::kPunch || call == Call::kSetSize;
}

// Returns half of a write's length, rounded to the end of a sector.
uint64_t HalfOf(uint64_t offset_bytes, uint64_t length_bytes) {
  const uint64_t end = (offset_bytes + length_bytes / 2) / kSectorBytes * kSectorBytes;
  return end <= offset_bytes ? 0 : end - offset_bytes;
}

// --- DiskFile ------------------------------------------------------------------------------------

void DiskFile::Image::Resize(uint64_t size_bytes) {
  bytes.resize(size_bytes);  // bytes that are cut off do not come back: new bytes are zeros
  allocated.resize(SectorsFor(size_bytes));
}

void DiskFile::Image::Put(uint64_t offset_bytes, std::span<const std::byte> data, bool is_data) {
  if (offset_bytes >= bytes.size()) return;
  data = data.first(std::min<uint64_t>(data.size(), bytes.size() - offset_bytes));
  if (data.empty()) return;
  std::memcpy(bytes.data() + offset_bytes, data.data(), data.size());
  for (uint64_t s = SectorOf(offset_bytes); s <= SectorOf(offset_bytes + data.size() - 1); ++s) {
    if (is_data) allocated[s] = true;
  }
}

// The part [from, to) of an effect.
void DiskFile::Apply(Image& image, const Effect& effect, std::span<const std::byte> data,
                     uint64_t from, uint64_t to) {
  if (effect.kind == Effect::Kind::kWrite) {
    image.Put(from, data.subspan(from - effect.offset_bytes, to - from), true);
    return;
  }
  const uint64_t end = std::min<uint64_t>(to, image.bytes.size());
  if (from >= end) return;
  std::memset(image.bytes.data() + from, 0, end - from);
  for (uint64_t s = SectorsFor(from); (s + 1) * kSectorBytes <= to && s < image.allocated.size();
       ++s) {
    image.allocated[s] = false;
  }
}

// The disk gets whole sectors as they are in the page cache, with all earlier writes to them. That
// includes writes that a failed sync did not bring to the disk.
void DiskFile::NoteWrite(uint64_t seq, uint64_t from, uint64_t to) {
  from = SectorOf(from) * kSectorBytes;
  to = std::min<uint64_t>(SectorsFor(to) * kSectorBytes, now_.bytes.size());
  if (from >= to) return;
  pending_.push_back({seq, Effect::Kind::kWrite, from, to - from, written_.size()});
  written_.insert(written_.end(), now_.bytes.begin() + static_cast<ptrdiff_t>(from),
                  now_.bytes.begin() + static_cast<ptrdiff_t>(to));
}

void DiskFile::Write(uint64_t seq, uint64_t offset_bytes, std::span<const std::byte> data) {
  const uint64_t end = offset_bytes + data.size();
  if (end > now_.bytes.size()) SetSize(seq, end);
  now_.Put(offset_bytes, data, true);
  NoteWrite(seq, offset_bytes, end);
}

// Makes holes of whole sectors. A partial sector with data gets zeros.
void DiskFile::Punch(uint64_t seq, uint64_t offset_bytes, uint64_t length_bytes) {
  const uint64_t end = offset_bytes + length_bytes;
  Apply(now_, {seq, Effect::Kind::kPunch, offset_bytes, length_bytes, 0}, {}, offset_bytes, end);
  const uint64_t first = SectorsFor(offset_bytes);
  const uint64_t last = SectorOf(end);
  const auto note_part = [&](uint64_t sector) {
    if (sector >= now_.allocated.size() || !now_.allocated[sector]) return;
    NoteWrite(seq, sector * kSectorBytes, (sector + 1) * kSectorBytes);
  };
  if (offset_bytes % kSectorBytes != 0) note_part(SectorOf(offset_bytes));
  if (first < last) {
    pending_.push_back(
        {seq, Effect::Kind::kPunch, first * kSectorBytes, (last - first) * kSectorBytes, 0});
  }
  if (end % kSectorBytes != 0 && last >= first) note_part(last);
}

void DiskFile::SetSize(uint64_t seq, uint64_t size_bytes) {
  if (size_bytes == now_.bytes.size()) return;
  pending_.push_back({seq, Effect::Kind::kSize, size_bytes, 0, 0});
  now_.Resize(size_bytes);
}

// Writes whole sectors in their present state.
void DiskFile::WriteBack(uint64_t from, uint64_t to) {
  to = std::min<uint64_t>({to, now_.bytes.size(), durable_.bytes.size()});
  if (from >= to) return;
  std::memcpy(durable_.bytes.data() + from, now_.bytes.data() + from, to - from);
  for (uint64_t s = SectorOf(from); s < SectorsFor(to); ++s) {
    durable_.allocated[s] = now_.allocated[s];
  }
}

uint64_t DiskFile::Sync() {
  uint64_t newest_size = 0;
  for (const Effect& effect : pending_) {
    if (effect.kind == Effect::Kind::kSize) {
      durable_.Resize(effect.offset_bytes);
      newest_size = effect.seq;
      continue;
    }
    // Sectors are written whole in their present state, with the writes that an earlier failed sync
    // did not bring to the disk.
    WriteBack(SectorOf(effect.offset_bytes) * kSectorBytes,
              SectorsFor(effect.offset_bytes + effect.length_bytes) * kSectorBytes);
  }
  pending_.clear();
  written_.clear();
  return newest_size;
}

void DiskFile::LosePending(Random& random) {
  const uint64_t survivors = random.Below(3) * 50;  // per cent of the sectors: none, some, all
  for (const Effect& effect : pending_) {
    if (effect.kind == Effect::Kind::kSize) durable_.Resize(effect.offset_bytes);
  }
  std::map<uint64_t, bool> survives;
  for (const Effect& effect : pending_) {
    if (effect.kind == Effect::Kind::kSize || effect.length_bytes == 0) continue;
    const uint64_t last = SectorOf(effect.offset_bytes + effect.length_bytes - 1);
    for (uint64_t s = SectorOf(effect.offset_bytes); s <= last; ++s) {
      if (!survives.contains(s)) survives[s] = random.Percent(survivors);
    }
  }
  for (const auto& [sector, kept] : survives) {
    if (kept) WriteBack(sector * kSectorBytes, (sector + 1) * kSectorBytes);
  }
  pending_.clear();
  written_.clear();
}

void DiskFile::DropCleanPages() {
  now_ = durable_;
  for (const Effect& effect : pending_) {
    if (effect.kind == Effect::Kind::kSize) {
      now_.Resize(effect.offset_bytes);
    } else {
      Apply(now_, effect, std::span(written_).subspan(effect.data), effect.offset_bytes,
            effect.offset_bytes + effect.length_bytes);
    }
  }
}

void DiskFile::LosePower(const LossModel& model, uint64_t sizes_upto, Random& random) {
  using Keep = LossModel::Keep;
  if (model.keep == Keep::kEverything) {
    (void)Sync();
    now_ = durable_;
    return;
  }
  // Chooses which effects reach the disk. A sector on the disk is the page at some moment, so it
  // has all earlier writes.
  std::vector<bool> kept(pending_.size());
  const size_t dropped = pending_.empty() ? 0 : random.Below(pending_.size());
  const uint64_t share = random.Between(10, 90);
  for (size_t i = 0; i < pending_.size(); ++i) {
    switch (model.keep) {
      case Keep::kNothing:
        kept[i] = false;
        break;
      case Keep::kAllButOne:
        kept[i] = i != dropped;
        break;
      default:
        kept[i] = random.Percent(share);
        break;
    }
    if (model.ordered && pending_[i].kind == Effect::Kind::kSize) {
      kept[i] = pending_[i].seq <= sizes_upto;
    }
  }
  // For each sector, the last effect that reaches it.
  std::map<uint64_t, std::vector<size_t>> touched;
  for (size_t i = 0; i < pending_.size(); ++i) {
    const Effect& effect = pending_[i];
    if (effect.kind == Effect::Kind::kSize || effect.length_bytes == 0) continue;
    const uint64_t last = SectorOf(effect.offset_bytes + effect.length_bytes - 1);
    for (uint64_t s = SectorOf(effect.offset_bytes); s <= last; ++s) touched[s].push_back(i);
  }
  std::map<uint64_t, size_t> upto;  // effects below this number are in the sector
  for (const auto& [sector, effects] : touched) {
    if (model.keep == Keep::kTorn) {
      const size_t count = random.Below(effects.size() + 1);
      upto[sector] = count == 0 ? 0 : effects[count - 1] + 1;
      continue;
    }
    upto[sector] = 0;
    for (const size_t i : effects) {
      if (kept[i]) upto[sector] = i + 1;
    }
  }
  // Has room for every earlier size, so that the order of sizes and data does not matter.
  uint64_t size = durable_.bytes.size();
  uint64_t most = size;
  for (const Effect& effect : pending_) {
    if (effect.kind == Effect::Kind::kSize) most = std::max(most, effect.offset_bytes);
  }
  durable_.Resize(most);
  for (size_t i = 0; i < pending_.size(); ++i) {
    const Effect& effect = pending_[i];
    if (effect.kind == Effect::Kind::kSize) {
      if (!kept[i]) continue;
      size = effect.offset_bytes;
      durable_.Resize(size);
      durable_.Resize(most);
      continue;
    }
    const auto data = std::span<const std::byte>(written_).subspan(effect.data);
    const uint64_t end = effect.offset_bytes + effect.length_bytes;
    for (uint64_t at = effect.offset_bytes; at < end;) {
      const uint64_t stop = std::min(end, (SectorOf(at) + 1) * kSectorBytes);
      if (i < upto[SectorOf(at)]) Apply(durable_, effect, data, at, stop);
      at = stop;
    }
  }
  durable_.Resize(size);
  pending_.clear();
  written_.clear();
  now_ = durable_;
}

void DiskFile::Flip(uint64_t bit) {
  assert(pending_.empty());
  if (now_.bytes.empty()) return;
  const uint64_t at = bit / 8 % now_.bytes.size();
  now_.bytes[at] ^= std::byte{1} << (bit % 8);
  durable_.bytes[at] = now_.bytes[at];
}

// --- Disk ----------------------------------------------------------------------------------------

Disk::Disk(const Disk& other) { *this = other; }

Disk& Disk::operator=(const Disk& other) {
  if (this == &other) return *this;
  std::map<const DiskFile*, std::shared_ptr<DiskFile>> copies;  // looked up, never iterated
  const auto copy = [&](const std::shared_ptr<DiskFile>& file) {
    if (file == nullptr) return file;
    auto& mine = copies[file.get()];
    if (mine == nullptr) mine = std::make_shared<DiskFile>(*file);
    return mine;
  };
  now_.clear();
  durable_.clear();
  pending_.clear();
  for (const auto& [name, file] : other.now_) now_[name] = copy(file);
  for (const auto& [name, file] : other.durable_) durable_[name] = copy(file);
  for (const NameEffect& effect : other.pending_) {
    pending_.push_back({effect.seq, effect.name, copy(effect.file)});
  }
  seq_ = other.seq_;
  durable_metadata_ = other.durable_metadata_;
  powered_ = other.powered_;
  max_bytes_ = other.max_bytes_;
  return *this;
}

uint64_t Disk::UsedBytes() const {
  uint64_t sectors = 0;
  for (const auto& [name, file] : now_) {
    const auto& allocated = file->now().allocated;
    sectors += static_cast<uint64_t>(std::count(allocated.begin(), allocated.end(), true));
  }
  return sectors * kSectorBytes;
}

uint64_t Disk::FreeBytes() const {
  if (!limited()) return uint64_t{1} << 29;
  return max_bytes_ - std::min(max_bytes_, UsedBytes());
}

bool Disk::Fits(const DiskFile& file, uint64_t offset_bytes, uint64_t length_bytes) const {
  if (!limited()) return true;
  const auto& allocated = file.now().allocated;
  uint64_t more_bytes = 0;
  for (uint64_t s = SectorOf(offset_bytes); s < SectorsFor(offset_bytes + length_bytes); ++s) {
    if (s >= allocated.size() || !allocated[s]) more_bytes += kSectorBytes;
  }
  return more_bytes == 0 || more_bytes <= FreeBytes();
}

std::shared_ptr<DiskFile> Disk::Find(const std::string& name) const {
  const auto found = now_.find(name);
  return found == now_.end() ? nullptr : found->second;
}

void Disk::NoteName(const std::string& name, std::shared_ptr<DiskFile> file) {
  if (file == nullptr) {
    now_.erase(name);
  } else {
    now_[name] = file;
  }
  pending_.push_back({NextSeq(), name, std::move(file)});
}

std::shared_ptr<DiskFile> Disk::Create(const std::string& name) {
  auto file = std::make_shared<DiskFile>();
  NoteName(name, file);
  return file;
}

void Disk::Remove(const std::string& name) { NoteName(name, nullptr); }

void Disk::SyncName(const std::string& name) {
  std::erase_if(pending_, [&](const NameEffect& effect) {
    if (effect.name != name) return false;
    if (effect.file == nullptr) {
      durable_.erase(name);
    } else {
      durable_[name] = effect.file;
    }
    durable_metadata_ = std::max(durable_metadata_, effect.seq);
    return true;
  });
}

void Disk::SyncNames(std::string_view directory) {
  std::erase_if(pending_, [&](const NameEffect& effect) {
    if (!InDirectory(effect.name, directory)) return false;
    if (effect.file == nullptr) {
      durable_.erase(effect.name);
    } else {
      durable_[effect.name] = effect.file;
    }
    durable_metadata_ = std::max(durable_metadata_, effect.seq);
    return true;
  });
}

void Disk::SyncFile(DiskFile& file) {
  durable_metadata_ = std::max(durable_metadata_, file.Sync());
}

void Disk::LosePower(const LossModel& model, Random& random) {
  using Keep = LossModel::Keep;
  if (model.killed) return;  // pending writes stay pending
  // The journal of metadata reaches up to here, in the ordered model.
  uint64_t upto = durable_metadata_;
  if (model.keep != Keep::kNothing) {
    upto = model.keep == Keep::kEverything ? seq_ : random.Between(durable_metadata_, seq_);
  }
  const size_t dropped = pending_.empty() ? 0 : random.Below(pending_.size());
  for (size_t i = 0; i < pending_.size(); ++i) {
    const NameEffect& effect = pending_[i];
    bool kept = model.keep != Keep::kNothing;
    if (model.ordered) {
      kept = effect.seq <= upto;
    } else if (model.keep == Keep::kAllButOne) {
      kept = i != dropped;
    } else if (model.keep == Keep::kSubset || model.keep == Keep::kTorn) {
      kept = random.OneIn(2);
    }
    if (!kept) continue;
    if (effect.file == nullptr) {
      durable_.erase(effect.name);
    } else {
      durable_[effect.name] = effect.file;
    }
  }
  pending_.clear();
  for (const auto& [name, file] : durable_) file->LosePower(model, upto, random);
  now_ = durable_;
  durable_metadata_ = seq_;
}

}  // namespace volfs::sim
