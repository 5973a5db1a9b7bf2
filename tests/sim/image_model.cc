#include "tests/sim/image_model.h"

#include <algorithm>
#include <cassert>
#include <cstdio>
#include <cstring>

#include "blockstore/base/str_cat.h"

namespace volfs::sim {
namespace {

constexpr char kMagic[8] = {'v', 'o', 'l', 'f', 's', 's', 'i', 'm'};

uint64_t SectorsOf(uint64_t bytes) { return (bytes + kSectorBytes - 1) / kSectorBytes; }

// The sectors of a byte range.
struct SectorRange {
  uint64_t first;
  uint64_t end;
  SectorRange(uint64_t offset_bytes, uint64_t length_bytes)
      : first(offset_bytes / kSectorBytes),
        end(length_bytes == 0 ? first : SectorsOf(offset_bytes + length_bytes)) {}
};

// Returns the part of `bytes` in one sector.
std::span<const std::byte> PartOf(std::span<const std::byte> bytes, uint64_t sector) {
  const uint64_t from = sector * kSectorBytes;
  return bytes.subspan(from, std::min<uint64_t>(kSectorBytes, bytes.size() - from));
}

}  // namespace

ContentPool::Number ContentPool::Add(const Sector& sector) {
  if (sector == sectors_[0]) return 0;
  sectors_.push_back(sector);
  return static_cast<Number>(sectors_.size() - 1);
}

ContentPool::Sector MakeContent(uint32_t volume, uint64_t sector, uint64_t number) {
  ContentPool::Sector content;
  uint64_t word = number * 0x9e3779b97f4a7c15 + sector;
  for (size_t at = 0; at < content.size(); at += 32) {
    std::memcpy(&content[at], kMagic, 8);
    const uint64_t where = uint64_t{volume} << 32 | sector;
    std::memcpy(&content[at + 8], &where, 8);
    std::memcpy(&content[at + 16], &number, 8);
    word = word * 6364136223846793005ULL + 1442695040888963407ULL;
    std::memcpy(&content[at + 24], &word, 8);
  }
  return content;
}

std::string DescribeContent(std::span<const std::byte> bytes) {
  for (size_t at = 0; at + 24 <= bytes.size(); at += 8) {
    if (std::memcmp(&bytes[at], kMagic, 8) != 0) continue;
    uint64_t where = 0;
    uint64_t number = 0;
    std::memcpy(&where, &bytes[at + 8], 8);
    std::memcpy(&number, &bytes[at + 16], 8);
    return StrCat("write ", number, " of volume #", where >> 32, " sector ", where & 0xffffffff);
  }
  const bool zeros =
      std::all_of(bytes.begin(), bytes.end(), [](std::byte byte) { return byte == std::byte{0}; });
  return zeros ? "zeros" : "something that nobody wrote";
}

bool ImageModel::Writable(uint64_t offset_bytes, uint64_t length_bytes) const {
  const SectorRange range(offset_bytes, length_bytes);
  for (uint64_t s = range.first; s < std::min<uint64_t>(range.end, sectors_.size()); ++s) {
    if (sectors_[s].settled != sectors_[s].newest()) return false;
  }
  return true;
}

void ImageModel::BeginWrite(ContentPool& pool, uint64_t offset_bytes, uint64_t length_bytes,
                            std::span<const std::byte> data, uint64_t now) {
  const uint64_t end = offset_bytes + length_bytes;
  if (end > max_size_) BeginGrow(end);
  const SectorRange range(offset_bytes, length_bytes);
  for (uint64_t s = range.first; s < range.end; ++s) {
    Sector& sector = sectors_[s];
    assert(sector.settled == sector.newest());
    ContentPool::Sector content = pool.Get(sector.versions[sector.settled].content);
    const uint64_t from = std::max(offset_bytes, s * kSectorBytes);
    const uint64_t to = std::min(end, (s + 1) * kSectorBytes);
    std::byte* const into = content.data() + (from - s * kSectorBytes);
    if (data.empty()) {
      std::memset(into, 0, to - from);
    } else {
      std::memcpy(into, data.data() + (from - offset_bytes), to - from);
    }
    sector.versions.push_back({pool.Add(content), now, 0});
  }
}

void ImageModel::EndWrite(uint64_t offset_bytes, uint64_t length_bytes, bool ok, uint64_t now) {
  const SectorRange range(offset_bytes, length_bytes);
  for (uint64_t s = range.first; s < range.end; ++s) {
    Sector& sector = sectors_[s];
    if (!ok) continue;
    sector.settled = sector.newest();
    sector.versions.back().acked = now;
  }
  if (ok) Grow(std::max(size_, offset_bytes + length_bytes));
}

void ImageModel::BeginGrow(uint64_t size_bytes) {
  max_size_ = std::max(max_size_, size_bytes);
  sectors_.resize(std::max<size_t>(sectors_.size(), SectorsOf(max_size_)));
}

void ImageModel::Grow(uint64_t size_bytes) {
  BeginGrow(size_bytes);
  size_ = std::max(size_, size_bytes);
}

void ImageModel::ExtendTo(uint64_t size_bytes) {
  size_ = std::max(size_, size_bytes);
  min_size_ = std::max(min_size_, size_bytes);
  BeginGrow(size_bytes);
}

ImageModel ImageModel::CutAt(ContentPool& pool, uint64_t size_bytes) const {
  ImageModel cut(size_bytes);
  cut.SizeIsDurable();
  for (size_t s = 0; s < cut.sectors_.size(); ++s) {
    ContentPool::Sector content = pool.Get(sectors_[s].versions[sectors_[s].settled].content);
    const uint64_t visible = std::min<uint64_t>(size_bytes - s * kSectorBytes, kSectorBytes);
    std::fill(content.begin() + static_cast<ptrdiff_t>(visible), content.end(), std::byte{0});
    cut.sectors_[s].versions = {{pool.Add(content)}};
  }
  return cut;
}

ImageModel::Mark ImageModel::Now() const {
  Mark mark;
  mark.size = size_;
  mark.settled.reserve(sectors_.size());
  for (const Sector& sector : sectors_) mark.settled.push_back(sector.settled);
  return mark;
}

void ImageModel::Synced(const Mark& since) {
  min_size_ = std::max(min_size_, since.size);
  for (size_t s = 0; s < since.settled.size(); ++s) {
    sectors_[s].first = std::max(sectors_[s].first, since.settled[s]);
  }
}

void ImageModel::IsDurable(uint64_t offset_bytes, uint64_t length_bytes) {
  min_size_ = std::max(min_size_, offset_bytes + length_bytes);
  const SectorRange range(offset_bytes, length_bytes);
  for (uint64_t s = range.first; s < range.end; ++s) sectors_[s].first = sectors_[s].settled;
}

ImageModel ImageModel::SnapshotPoint(const Mark& since) const {
  ImageModel instant;
  instant.size_ = instant.min_size_ = since.size;
  instant.max_size_ = max_size_;
  instant.undecided_ = instant.instant_ = true;
  instant.sectors_.resize(sectors_.size());
  for (size_t s = 0; s < sectors_.size(); ++s) {
    const auto& versions = sectors_[s].versions;
    const uint32_t from = s < since.settled.size() ? since.settled[s] : 0;
    instant.sectors_[s].versions.assign(versions.begin() + from, versions.end());
  }
  return instant;
}

void ImageModel::LosePower() {
  undecided_ = true;
  for (Sector& sector : sectors_) {
    sector.settled = sector.first;
  }
}

// If the image holds a write, it must hold each write that was acknowledged before that one was
// issued. If a sector's content fits several versions (zeros, mostly), a version that breaks no
// rule is chosen.
std::optional<std::string> ImageModel::CheckPrefixRule(const ContentPool& pool,
                                                       std::span<const std::byte> bytes) const {
  uint64_t newest_issue = 0;
  for (size_t s = 0; s < sectors_.size(); ++s) {
    const auto part = PartOf(bytes, s);
    for (const Version& version : sectors_[s].versions) {
      if (std::memcmp(pool.Get(version.content).data(), part.data(), part.size()) != 0) continue;
      newest_issue = std::max(newest_issue, version.issued);
      break;
    }
  }
  for (size_t s = 0; s < sectors_.size(); ++s) {
    const Sector& sector = sectors_[s];
    for (uint32_t n = sector.settled + 1; n <= sector.newest(); ++n) {
      const Version& later = sector.versions[n];
      if (later.acked == 0 || later.acked >= newest_issue) continue;
      return StrCat("prefix rule: it holds a write issued at ", newest_issue, ", but of sector ", s,
                    " not the one acknowledged at ", later.acked, " (",
                    DescribeContent(pool.Get(later.content)), ")");
    }
  }
  return std::nullopt;
}

std::optional<std::string> ImageModel::Decide(ContentPool& pool, std::span<const std::byte> bytes,
                                              bool durable) {
  const uint64_t least = undecided_ ? min_size_ : size_;
  if (bytes.size() < least || bytes.size() > max_size_) {
    return StrCat("its size is ", bytes.size(), ", right is ", least, " to ", max_size_);
  }
  const bool was_point = std::exchange(instant_, false);
  sectors_.resize(SectorsOf(bytes.size()));
  for (size_t s = 0; s < sectors_.size(); ++s) {
    Sector& sector = sectors_[s];
    const auto part = PartOf(bytes, s);
    bool right = false;
    // Tries the newest first: a content that was there all the time is most likely the newest.
    for (uint32_t n = sector.newest() + 1; !right && n-- > sector.settled;) {
      right =
          std::memcmp(pool.Get(sector.versions[n].content).data(), part.data(), part.size()) == 0;
      if (right) sector.settled = n;
    }
    if (!right) {
      std::string text = StrCat("sector ", s, " holds ", DescribeContent(part), ", right is");
      for (uint32_t n = sector.settled; n <= sector.newest(); ++n) {
        text += StrCat(n == sector.settled ? " " : " or ",
                       DescribeContent(pool.Get(sector.versions[n].content)));
      }
      return text;
    }
  }
  if (was_point) {
    if (auto broken = CheckPrefixRule(pool, bytes)) return broken;
  }
  for (size_t s = 0; s < sectors_.size(); ++s) {
    Sector& sector = sectors_[s];
    // Bytes that a smaller size has cut off are zeros when the volume grows again.
    Version now = sector.versions[sector.settled];
    const uint64_t visible = bytes.size() - s * kSectorBytes;
    if (visible < kSectorBytes) {
      ContentPool::Sector content{};
      std::memcpy(content.data(), pool.Get(now.content).data(), visible);
      if (content != pool.Get(now.content)) now.content = pool.Add(content);
    }
    std::vector<Version> kept;
    if (!durable) {
      kept.assign(sector.versions.begin() + sector.first, sector.versions.begin() + sector.settled);
    }
    kept.push_back(now);
    sector.versions = std::move(kept);
    sector.first = 0;
    sector.settled = sector.newest();
  }
  undecided_ = false;
  size_ = max_size_ = bytes.size();
  min_size_ = durable ? size_ : std::min(min_size_, size_);
  return std::nullopt;
}

std::optional<std::string> ImageModel::CheckRead(const ContentPool& pool, const Mark& since,
                                                 uint64_t offset_bytes,
                                                 std::span<const std::byte> bytes) const {
  const SectorRange range(offset_bytes, bytes.size());
  for (uint64_t s = range.first; s < range.end; ++s) {
    const Sector& sector = sectors_[s];
    const uint64_t from = std::max(offset_bytes, s * kSectorBytes);
    const uint64_t to = std::min(offset_bytes + bytes.size(), (s + 1) * kSectorBytes);
    const auto part = bytes.subspan(from - offset_bytes, to - from);
    const uint32_t oldest = s < since.settled.size() ? since.settled[s] : 0;
    bool right = false;
    for (uint32_t n = oldest; !right && n <= sector.newest(); ++n) {
      right = std::memcmp(pool.Get(sector.versions[n].content).data() + (from - s * kSectorBytes),
                          part.data(), part.size()) == 0;
    }
    if (right) continue;
    return StrCat("a read of sector ", s, " shows ", DescribeContent(part), ", right is ",
                  DescribeContent(pool.Get(sector.versions.back().content)), " or one of ",
                  sector.newest() - oldest, " before it");
  }
  return std::nullopt;
}

}  // namespace volfs::sim
