#include "control/stream/format.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "blockstore/base/str_cat.h"
#include "control/stream/checksum.h"
#include "control/text/name.h"

namespace volfs::stream {
namespace {

// A transfer that changes line ends, or drops the eighth bit, changes it.
constexpr std::array<unsigned char, 8> kMagic = {0x89, 'V', 'F', 'S', '\r', '\n', 0x1a, '\n'};

constexpr uint32_t kIncremental = 1;
constexpr uint32_t kMayBeCompressed = 2;
constexpr uint32_t kKnownFeatures = kIncremental | kMayBeCompressed;

constexpr Id kFacetBits = (Id{1} << kIdFacetBits) - 1;

Error Refused(std::string_view sentence) { return Error{Errc::kIo, std::string(sentence)}; }

// Appends integers, little endian.
class Writer {
 public:
  template <typename T>
  void Put(T value) {
    for (size_t i = 0; i < sizeof(T); ++i) {
      bytes_.push_back(static_cast<std::byte>(static_cast<uint64_t>(value) >> (8 * i)));
    }
  }
  void Put(std::string_view text) {
    const auto raw = std::as_bytes(std::span(text));
    bytes_.insert(bytes_.end(), raw.begin(), raw.end());
  }
  [[nodiscard]] Bytes& bytes() { return bytes_; }

 private:
  Bytes bytes_;
};

// Takes integers off the front. Requires: there are enough bytes.
class Reader {
 public:
  explicit Reader(std::span<const std::byte> bytes) : rest_(bytes) {}
  template <typename T>
  T Take() {
    uint64_t value = 0;
    for (size_t i = 0; i < sizeof(T); ++i) value |= std::to_integer<uint64_t>(rest_[i]) << (8 * i);
    rest_ = rest_.subspan(sizeof(T));
    return static_cast<T>(value);
  }
  std::string TakeText(size_t length) {
    std::string text(length, '\0');
    std::transform(rest_.begin(), rest_.begin() + static_cast<ptrdiff_t>(length), text.begin(),
                   [](std::byte b) { return static_cast<char>(b); });
    rest_ = rest_.subspan(length);
    return text;
  }

 private:
  std::span<const std::byte> rest_;
};

struct NameLengths {
  uint16_t volume, snapshot, base;
  [[nodiscard]] size_t sum() const { return size_t{volume} + snapshot + base; }
};

NameLengths LengthsIn(std::span<const std::byte> fixed) {
  Reader read(fixed.subspan(kFixedHeaderBytes - 8));
  NameLengths lengths{};
  lengths.volume = read.Take<uint16_t>();
  lengths.snapshot = read.Take<uint16_t>();
  lengths.base = read.Take<uint16_t>();
  return lengths;
}

uint32_t FeaturesOf(const Header& header) {
  return (header.incremental() ? kIncremental : 0) | (header.compressed ? kMayBeCompressed : 0);
}

bool IsIdentity(Id id) { return id != kNoId && (id & kFacetBits) == 0 && id >> 63 == 0; }

// The values that no Header holds: flags that this version does not know, and reserved bytes.
Status CheckFlags(uint32_t features, const Header& header, uint16_t reserved) {
  if (features == FeaturesOf(header) && reserved == 0) return OkStatus();
  return Refused("the stream's header contradicts itself");
}

}  // namespace

Status CheckHeader(const Header& header) {
  RETURN_IF_ERROR(CheckName(header.volume, "volume"));
  RETURN_IF_ERROR(CheckName(header.snapshot, "snapshot"));
  if (header.incremental()) RETURN_IF_ERROR(CheckName(header.base, "base"));
  const bool fits = IsIdentity(header.id) && header.base.empty() != header.incremental() &&
                    (!header.incremental() || IsIdentity(header.base_id)) &&
                    header.base_id != header.id && header.size_bytes <= kMaxVolumeBytes &&
                    header.start_bytes <= header.size_bytes;
  return fits ? OkStatus() : Refused("the stream's header contradicts itself");
}

Bytes EncodeHeader(const Header& header) {
  Writer write;
  for (const unsigned char byte : kMagic) write.Put(byte);
  write.Put(kVersion);
  write.Put(FeaturesOf(header));
  write.Put(header.size_bytes);
  write.Put(header.start_bytes);
  write.Put(header.id);
  write.Put(header.created_ns);
  write.Put(header.base_id);
  write.Put(static_cast<uint16_t>(header.volume.size()));
  write.Put(static_cast<uint16_t>(header.snapshot.size()));
  write.Put(static_cast<uint16_t>(header.base.size()));
  write.Put(uint16_t{0});
  for (const std::string* name : {&header.volume, &header.snapshot, &header.base}) {
    write.Put(std::string_view(*name));
  }
  Checksum sum;
  sum.Add(write.bytes());
  write.Put(sum.value());
  return std::move(write.bytes());
}

Result<size_t> HeaderRestBytes(std::span<const std::byte> fixed) {
  const auto magic = std::as_bytes(std::span(kMagic));
  if (!std::equal(magic.begin(), magic.end(), fixed.begin())) {
    return Refused("this is no stream of `volfs send`");
  }
  Reader read(fixed.subspan(kMagic.size()));
  const auto version = read.Take<uint32_t>();
  const auto features = read.Take<uint32_t>();
  if (version != kVersion || (features & ~kKnownFeatures) != 0) {
    return Refused(StrCat("the stream was made by a newer volfs (version ", version, ", features ",
                          features, "); this one reads version ", kVersion));
  }
  const NameLengths lengths = LengthsIn(fixed);
  for (const size_t length : {lengths.volume, lengths.snapshot, lengths.base}) {
    if (length > kMaxNameBytes) return Refused("the stream's header holds no legal names");
  }
  return lengths.sum() + kChecksumBytes;
}

Result<Header> DecodeHeader(std::span<const std::byte> bytes) {
  const NameLengths lengths = LengthsIn(bytes);
  const size_t checked = kFixedHeaderBytes + lengths.sum();
  Checksum sum;
  sum.Add(bytes.first(checked));
  if (Reader(bytes.subspan(checked)).Take<uint64_t>() != sum.value()) {
    return Refused("the stream's header is damaged");
  }
  Reader read(bytes.subspan(kMagic.size() + sizeof(kVersion)));
  const auto features = read.Take<uint32_t>();
  Header header;
  header.compressed = (features & kMayBeCompressed) != 0;
  header.size_bytes = read.Take<uint64_t>();
  header.start_bytes = read.Take<uint64_t>();
  header.id = read.Take<Id>();
  header.created_ns = read.Take<int64_t>();
  header.base_id = read.Take<Id>();
  (void)read.TakeText(3 * sizeof(uint16_t));  // the lengths of the names
  const auto reserved = read.Take<uint16_t>();
  header.volume = read.TakeText(lengths.volume);
  header.snapshot = read.TakeText(lengths.snapshot);
  header.base = read.TakeText(lengths.base);
  RETURN_IF_ERROR(CheckFlags(features, header, reserved));
  RETURN_IF_ERROR(CheckHeader(header));
  return header;
}

Bytes EncodeRecordHeader(const RecordHeader& header) {
  Writer write;
  write.Put(static_cast<uint32_t>(header.kind));
  write.Put(header.stored_bytes);
  write.Put(header.offset_bytes);
  write.Put(header.length_bytes);
  return std::move(write.bytes());
}

void AppendChecksum(Bytes& bytes, uint64_t checksum) {
  Writer write;
  write.Put(checksum);
  bytes.insert(bytes.end(), write.bytes().begin(), write.bytes().end());
}

RecordHeader DecodeRecordHeader(std::span<const std::byte> bytes) {
  Reader read(bytes);
  RecordHeader header;
  header.kind = static_cast<Kind>(read.Take<uint32_t>());
  header.stored_bytes = read.Take<uint32_t>();
  header.offset_bytes = read.Take<uint64_t>();
  header.length_bytes = read.Take<uint64_t>();
  header.checksum = read.Take<uint64_t>();
  return header;
}

Bytes EncodeEnd(const Totals& totals, uint64_t checksum_of_all) {
  Writer write;
  write.Put(totals.records);
  write.Put(totals.data_bytes);
  write.Put(totals.zero_bytes);
  write.Put(checksum_of_all);
  return std::move(write.bytes());
}

Totals DecodeEnd(std::span<const std::byte> bytes, uint64_t& checksum_of_all) {
  Reader read(bytes);
  Totals totals;
  totals.records = read.Take<uint64_t>();
  totals.data_bytes = read.Take<uint64_t>();
  totals.zero_bytes = read.Take<uint64_t>();
  checksum_of_all = read.Take<uint64_t>();
  return totals;
}

}  // namespace volfs::stream
