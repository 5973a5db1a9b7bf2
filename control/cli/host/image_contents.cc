#include "control/cli/host/image_contents.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <optional>

#include "blockstore/base/str_cat.h"

namespace volfs::cli {
namespace {

using namespace std::string_view_literals;
using enum ContentsKind;

constexpr uint64_t kSector = 512;

// `magic` stands `at` bytes behind the beginning, and `uuid_bytes` of a UUID at `uuid_at`.
struct Signature {
  ContentsKind kind;
  uint64_t at;
  std::string_view magic;
  uint64_t uuid_at = 0;
  size_t uuid_bytes = 0;
};
constexpr std::array kSignatures = {
    Signature{kXfs, 0, "XFSB", 32, 16},
    Signature{kBtrfs, 65536 + 64, "_BHRfS_M", 65536 + 32, 16},
    // An LVM label may be in any of the first four sectors.
    Signature{kLvm, 0 * kSector + 24, "LVM2 001", 0 * kSector + 32, 32},
    Signature{kLvm, 1 * kSector + 24, "LVM2 001", 1 * kSector + 32, 32},
    Signature{kLvm, 2 * kSector + 24, "LVM2 001", 2 * kSector + 32, 32},
    Signature{kLvm, 3 * kSector + 24, "LVM2 001", 3 * kSector + 32, 32},
    Signature{kMdRaid, 0, "\xfc\x4e\x2b\xa9", 16, 16},            // metadata 1.1
    Signature{kMdRaid, 4096, "\xfc\x4e\x2b\xa9", 4096 + 16, 16},  // 1.2
    Signature{kExt, 1024 + 56, "\x53\xef"},
    Signature{kSwap, 4096 - 10, "SWAPSPACE2"},
    Signature{kLuks, 0, "LUKS\xba\xbe"},
};

// A part of a file.
struct Part {
  int fd;
  uint64_t begin_bytes;
  uint64_t length_bytes;

  // "" if it is not wholly there.
  [[nodiscard]] std::string Read(uint64_t at, size_t length) const {
    if (at > length_bytes || length > length_bytes - at) return "";
    std::string text(length, '\0');
    const ssize_t got = ::pread(fd, text.data(), length, static_cast<off_t>(begin_bytes + at));
    return got == static_cast<ssize_t>(length) ? text : "";
  }
};

uint64_t Number(std::string_view bytes) {  // little-endian
  uint64_t value = 0;
  for (size_t i = bytes.size(); i-- > 0;) {
    value = value << 8 | static_cast<unsigned char>(bytes[i]);
  }
  return value;
}

void AddContents(const Part& part, int partition, std::vector<Contents>& found) {
  for (const Signature& signature : kSignatures) {
    if (part.Read(signature.at, signature.magic.size()) != signature.magic) continue;
    const bool known = std::any_of(found.begin(), found.end(), [&](const Contents& other) {
      return other.kind == signature.kind && other.partition == partition;
    });
    if (known) continue;
    found.push_back(
        {signature.kind, partition, part.Read(signature.uuid_at, signature.uuid_bytes)});
  }
}

// The part of `whole` that a partition table speaks of, which may speak nonsense.
std::optional<Part> Within(const Part& whole, uint64_t first_sector, uint64_t sectors,
                           uint64_t sector_bytes) {
  const uint64_t all = whole.length_bytes / sector_bytes;
  if (first_sector == 0 || first_sector >= all || sectors == 0) return std::nullopt;
  const uint64_t length = std::min(sectors, all - first_sector) * sector_bytes;
  return Part{whole.fd, whole.begin_bytes + first_sector * sector_bytes, length};
}

// UEFI 2.10, 5.3: the header's entry array begins at the LBA at 72, has the number at 80 and the
// size of an entry at 84. Entry: type GUID (zeros: unused), its own GUID, first and last LBA.
bool AddGptPartitions(const Part& image, uint64_t sector_bytes, std::vector<Contents>& found) {
  constexpr size_t kHeader = 92;
  constexpr size_t kEntry = 128;
  constexpr uint64_t kMaxEntries = 128;
  const std::string header = image.Read(sector_bytes, kHeader);
  if (!header.starts_with("EFI PART")) return false;
  found.push_back({kGpt, 0});
  const std::string_view view = header;
  const uint64_t table = Number(view.substr(72, 8));
  const uint64_t entries = std::min(Number(view.substr(80, 4)), kMaxEntries);
  if (Number(view.substr(84, 4)) != kEntry || table > image.length_bytes / sector_bytes)
    return true;
  const std::string array = image.Read(table * sector_bytes, entries * kEntry);
  for (size_t i = 0; i < array.size() / kEntry; ++i) {
    const std::string_view entry = std::string_view(array).substr(i * kEntry, kEntry);
    const uint64_t first = Number(entry.substr(32, 8));
    const uint64_t last = Number(entry.substr(40, 8));
    if (Number(entry.substr(0, 8)) == 0 || last < first) continue;
    const auto part = Within(image, first, last - first + 1, sector_bytes);
    if (part) AddContents(*part, static_cast<int>(i) + 1, found);
  }
  return true;
}

struct MbrEntry {
  uint8_t type;
  uint64_t first;
  uint64_t sectors;
  [[nodiscard]] bool extended() const { return type == 0x05 || type == 0x0f || type == 0x85; }
};

// The four entries of a boot record at `sector`; none if there is no record. The boot sector of a
// FAT or NTFS ends as one, but has code where the entries' flags are.
std::vector<MbrEntry> ReadBootRecord(const Part& image, uint64_t sector) {
  if (sector >= image.length_bytes / kSector) return {};
  const std::string record = image.Read(sector * kSector, kSector);
  if (!record.ends_with("\x55\xaa")) return {};
  std::vector<MbrEntry> entries;
  for (size_t at = 446; at < 510; at += 16) {
    const std::string_view entry = std::string_view(record).substr(at, 16);
    if ((entry[0] & 0x7f) != 0) return {};
    entries.push_back(
        {static_cast<uint8_t>(entry[4]), Number(entry.substr(8, 4)), Number(entry.substr(12, 4))});
  }
  return entries;
}

// A chain of records, each with one partition (from the record on) and the place of the next record
// (from the beginning of the extended partition on).
void AddLogicalPartitions(const Part& image, uint64_t extended, std::vector<Contents>& found) {
  constexpr int kFirst = 5;
  constexpr int kMax = 60;
  uint64_t record = extended;
  for (int number = kFirst; number < kFirst + kMax; ++number) {
    const std::vector<MbrEntry> entries = ReadBootRecord(image, record);
    if (entries.empty()) return;
    const auto part = Within(image, record + entries[0].first, entries[0].sectors, kSector);
    if (part && entries[0].type != 0) AddContents(*part, number, found);
    if (!entries[1].extended()) return;
    record = extended + entries[1].first;
  }
}

void AddMbrPartitions(const Part& image, std::vector<Contents>& found) {
  const std::vector<MbrEntry> entries = ReadBootRecord(image, 0);
  if (entries.empty()) return;
  found.push_back({kMbr, 0});
  for (size_t i = 0; i < entries.size(); ++i) {
    if (entries[i].extended()) {
      AddLogicalPartitions(image, entries[i].first, found);
    } else if (entries[i].type != 0) {
      const auto part = Within(image, entries[i].first, entries[i].sectors, kSector);
      if (part) AddContents(*part, static_cast<int>(i) + 1, found);
    }
  }
}

std::string_view Word(ContentsKind kind) {
  constexpr std::array<std::string_view, 9> kWords = {"xfs",  "btrfs", "lvm", "mdraid", "ext",
                                                      "swap", "luks",  "gpt", "mbr"};
  return kWords[static_cast<size_t>(kind)];
}

std::string Advice(ContentsKind kind, std::string_view device, bool read_only) {
  switch (kind) {
    case kXfs:
      if (read_only) {
        return StrCat("XFS: beside its source: mount -o ro,norecovery,nouuid ", device, " DIR");
      }
      return StrCat("XFS: beside its source: mount -o nouuid ", device,
                    " DIR\n    for a UUID of its own, after that mount is unmounted: xfs_admin -U "
                    "generate ",
                    device);
    case kBtrfs:
      if (read_only) {
        return StrCat(
            "btrfs: never mount ", device,
            " while its source is mounted: the kernel may take both for one. Clone it, and "
            "btrfstune -u the clone");
      }
      return StrCat(
          "btrfs: before it is mounted beside its source, which the kernel may take for the "
          "same and destroy: btrfstune -u ",
          device);
    case kLvm:
      return StrCat(
          "LVM: give its volume group UUIDs and a name of its own: vgimportclone -n NEW_VG ",
          device);
    case kMdRaid:
      return StrCat(
          "MD RAID: beside its source it is taken for a member of the same array: mdadm "
          "--assemble --update=uuid /dev/mdN ",
          device);
    default:
      return "";
  }
}

}  // namespace

std::vector<Contents> ContentsOf(int fd) {
  const off_t size = ::lseek(fd, 0, SEEK_END);  // a device has no size for stat
  if (size <= 0) return {};
  const Part image{fd, 0, static_cast<uint64_t>(size)};
  std::vector<Contents> found;
  AddContents(image, 0, found);
  if (!found.empty()) return found;  // the start of a filesystem may look like a boot record
  constexpr uint64_t kLargeSector = 4096;
  if (!AddGptPartitions(image, kSector, found) && !AddGptPartitions(image, kLargeSector, found)) {
    AddMbrPartitions(image, found);
  }
  return found;
}

bool AreTwins(const std::vector<Contents>& one, const std::vector<Contents>& other) {
  return std::any_of(one.begin(), one.end(), [&other](const Contents& mine) {
    return std::any_of(other.begin(), other.end(), [&mine](const Contents& theirs) {
      return !mine.uuid.empty() && mine.kind == theirs.kind && mine.uuid == theirs.uuid;
    });
  });
}

std::string ContentsText(const std::vector<Contents>& contents) {
  std::string text;
  for (const Contents& one : contents) {
    text += StrCat(text.empty() ? "" : ",", Word(one.kind));
    if (one.partition != 0) text += StrCat("@p", one.partition);
  }
  return text;
}

std::string AdviceFor(const std::vector<Contents>& contents, std::string_view device,
                      bool read_only) {
  std::string text;
  for (const Contents& one : contents) {
    const std::string place =
        one.partition == 0 ? std::string(device) : StrCat(device, "p", one.partition);
    const std::string advice = Advice(one.kind, place, read_only);
    if (!advice.empty()) text += StrCat(text.empty() ? "" : "\n", "  ", advice);
  }
  return text;
}

}  // namespace volfs::cli
