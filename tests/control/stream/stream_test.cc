// Goal: a stream gives back what went into it, or is refused. It never gives a part of an image
// that is told to be the whole.
// Method: encodes images into memory; cuts, flips, moves and repeats the bytes.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "control/stream/decoder.h"
#include "control/stream/encoder.h"

namespace volfs::stream {
namespace {

constexpr uint64_t kSize = 300'001;  // not a multiple of anything
constexpr size_t kChunk = 4096;

Header FullHeader() {
  Header header;
  header.volume = "db.img";
  header.snapshot = "monday";
  header.id = 0x1122334455667700;
  header.created_ns = 1'700'000'000'123'456'789;
  header.size_bytes = kSize;
  return header;
}

Header IncrementalHeader() {
  Header header = FullHeader();
  header.base = "sunday";
  header.base_id = 0x0011223344556600;
  return header;
}

Bytes Noise(size_t size, uint32_t seed) {
  std::mt19937 random(seed);
  Bytes bytes(size);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random());
  return bytes;
}

// A stream in memory, and where its header and records begin.
struct Encoded {
  Bytes bytes;
  std::vector<size_t> begins;
};

struct Piece {
  uint64_t offset_bytes;
  Bytes data;  // empty: zeros, up to `length_bytes`
  uint64_t length_bytes;
};

Encoded Encode(const Header& header, const std::vector<Piece>& pieces) {
  Encoded out;
  Encoder encoder(header, [&](std::span<const std::byte> bytes) {
    out.bytes.insert(out.bytes.end(), bytes.begin(), bytes.end());
    return OkStatus();
  });
  const auto begins = [&] { out.begins.push_back(out.bytes.size()); };
  begins();
  EXPECT_TRUE(encoder.Begin().ok());
  for (const Piece& piece : pieces) {
    begins();
    EXPECT_TRUE(piece.data.empty() ? encoder.Zeros(piece.offset_bytes, piece.length_bytes).ok()
                                   : encoder.Data(piece.offset_bytes, piece.data).ok());
  }
  begins();
  EXPECT_TRUE(encoder.End().ok());
  begins();
  EXPECT_EQ(encoder.written_bytes(), out.bytes.size());
  return out;
}

std::vector<Piece> SomePieces() {
  std::vector<Piece> pieces;
  for (uint32_t i = 0; i < 12; ++i) {
    const uint64_t at = i * 5 * kChunk;
    if (i % 3 == 2) {
      pieces.push_back({at, {}, 3 * kChunk});
    } else {
      pieces.push_back({at, i % 2 == 0 ? Noise(kChunk, i) : Bytes(kChunk, std::byte{7}), kChunk});
    }
  }
  pieces.push_back({kSize - 1, Noise(1, 99), 1});
  return pieces;
}

// All that a decoder says of some bytes, until it ends or refuses.
struct Decoded {
  std::optional<Header> header;
  Bytes image;  // 0xee where no record came
  Totals totals;
  bool whole = false;
  bool cut = false;
  std::string refused;
};

Decoded Decode(std::span<const std::byte> bytes, size_t at_once = 1000) {
  Decoded out;
  Decoder decoder([&](std::span<std::byte> to) -> Result<size_t> {
    const size_t got = std::min({to.size(), bytes.size(), at_once});
    std::copy_n(bytes.begin(), got, to.begin());
    bytes = bytes.subspan(got);
    return got;
  });
  const Result<Header> header = decoder.Begin();
  if (!header.ok()) {
    out.refused = header.error().message;
    out.cut = decoder.cut();
    return out;
  }
  out.header = header.value();
  if (header.value().size_bytes > 10 * kSize) return out;  // of a test that changes the header
  out.image.assign(header.value().size_bytes, std::byte{0xee});
  for (;;) {
    const Result<std::optional<Record>> record = decoder.Next();
    if (!record.ok()) {
      out.refused = record.error().message;
      out.cut = decoder.cut();
      return out;
    }
    if (!record.value()) break;
    const Record& r = *record.value();
    EXPECT_LE(r.end(), out.image.size());
    const auto to = out.image.begin() + static_cast<ptrdiff_t>(r.offset_bytes);
    r.data.empty() ? void(std::fill_n(to, r.length_bytes, std::byte{0}))
                   : void(std::copy(r.data.begin(), r.data.end(), to));
  }
  out.totals = decoder.totals();
  out.whole = true;
  return out;
}

Bytes ImageOf(const std::vector<Piece>& pieces) {
  Bytes image(kSize, std::byte{0xee});
  for (const Piece& piece : pieces) {
    const auto to = image.begin() + static_cast<ptrdiff_t>(piece.offset_bytes);
    piece.data.empty() ? void(std::fill_n(to, piece.length_bytes, std::byte{0}))
                       : void(std::copy(piece.data.begin(), piece.data.end(), to));
  }
  return image;
}

TEST(StreamTest, GivesBackWhatWentIn) {
  for (const bool compressed : {false, true}) {
    Header header = IncrementalHeader();
    header.compressed = compressed;
    const Encoded stream = Encode(header, SomePieces());
    for (const size_t at_once : {size_t{1}, size_t{7}, size_t{1} << 20}) {
      const Decoded got = Decode(stream.bytes, at_once);
      ASSERT_TRUE(got.whole) << got.refused;
      EXPECT_EQ(*got.header, header);
      EXPECT_EQ(got.image, ImageOf(SomePieces()));
      EXPECT_EQ(got.totals, (Totals{13, 8 * kChunk + 1, 12 * kChunk}));
    }
  }
}

TEST(StreamTest, OfAnEmptyImageIsAHeaderAndAnEnd) {
  Header header = FullHeader();
  header.size_bytes = 0;
  const Decoded got = Decode(Encode(header, {}).bytes);
  EXPECT_TRUE(got.whole) << got.refused;
  EXPECT_EQ(got.totals, Totals{});
}

TEST(StreamTest, CostsFourKiBBlocksLessThanOnePerCent) {
  std::vector<Piece> pieces;
  for (uint32_t i = 0; i < 30; ++i) pieces.push_back({2 * i * kChunk, Noise(kChunk, i), kChunk});
  const double bytes = static_cast<double>(Encode(FullHeader(), pieces).bytes.size());
  EXPECT_LT(bytes, 1.01 * 30 * kChunk + 200);
}

TEST(StreamTest, CompressesDataThatGetsSmallerOnly) {
  Header header = FullHeader();
  header.compressed = true;
  const std::vector<Piece> alike = {{0, Bytes(100'000, std::byte{'a'}), 0}};
  const std::vector<Piece> noise = {{0, Noise(100'000, 1), 0}};
  EXPECT_LT(Encode(header, alike).bytes.size(), 1000u);
  EXPECT_LT(Encode(header, noise).bytes.size(), 100'300u);
  EXPECT_EQ(Decode(Encode(header, alike).bytes).image[99'999], std::byte{'a'});
}

TEST(StreamTest, ACutIsToldApartFromDamage) {
  const Encoded stream = Encode(FullHeader(), SomePieces());
  const std::span<const std::byte> all = stream.bytes;
  const Decoded cut = Decode(all.first(all.size() / 2));
  EXPECT_TRUE(cut.cut);
  EXPECT_FALSE(cut.whole);
  Bytes flipped = stream.bytes;
  flipped[flipped.size() / 2] ^= std::byte{1};
  const Decoded damaged = Decode(flipped);
  EXPECT_FALSE(damaged.cut);
  EXPECT_FALSE(damaged.whole);
}

TEST(StreamTest, ABeginningLaterThanZeroIsTheRestOfACutStream) {
  Header header = FullHeader();
  header.start_bytes = 100'000;
  EXPECT_TRUE(Decode(Encode(header, {{100'000, Noise(10, 1), 10}}).bytes).whole);
  Bytes early = Encode(header, {{200'000, Noise(10, 1), 10}}).bytes;
  EXPECT_EQ(Decode(early).header->start_bytes, 100'000u);
}

TEST(StreamTest, BytesBehindTheEndAreRefused) {
  Encoded stream = Encode(FullHeader(), SomePieces());
  stream.bytes.push_back(std::byte{0});
  EXPECT_FALSE(Decode(stream.bytes).whole);
}

TEST(StreamTest, OtherFilesAreRefusedByTheirFirstBytes) {
  for (const std::string text : {"", "x",
                                 "PK\3\4 a zip file of some length, not a stream of ours, "
                                 "which is longer than the fixed part of a header"}) {
    const Decoded got = Decode(std::as_bytes(std::span(text)));
    EXPECT_FALSE(got.whole);
    EXPECT_FALSE(got.refused.empty());
  }
}

TEST(StreamTest, ANewerVersionAndUnknownFeaturesAreRefusedByName) {
  for (const size_t at : {size_t{8}, size_t{13}}) {
    Bytes bytes = Encode(FullHeader(), {}).bytes;
    bytes[at] ^= std::byte{4};
    EXPECT_NE(Decode(bytes).refused.find("newer volfs"), std::string::npos);
  }
}

// ---- streams that were made to harm: their checksums are right

// Encodes `header` as a record with a right checksum, behind a right stream header.
Bytes Forged(const Header& header, RecordHeader record, const Bytes& payload) {
  Bytes bytes = EncodeHeader(header);
  Checksum seed;
  seed.Add(bytes);
  const Bytes fields = EncodeRecordHeader(record);
  Checksum sum(seed.value());
  sum.Add(fields);
  sum.Add(payload);
  bytes.insert(bytes.end(), fields.begin(), fields.end());
  AppendChecksum(bytes, sum.value());
  bytes.insert(bytes.end(), payload.begin(), payload.end());
  return bytes;
}

TEST(StreamTest, ForgedLengthsAreRefusedBeforeTheyAreUsed) {
  Header header = FullHeader();
  header.compressed = true;
  constexpr uint64_t kMax = ~uint64_t{0};
  const Bytes some(100, std::byte{1});
  const auto expect_refused = [&](const RecordHeader& record, const Bytes& payload = {}) {
    const Decoded got = Decode(Forged(header, record, payload));
    EXPECT_NE(got.refused.find("damaged"), std::string::npos)
        << static_cast<int>(record.kind) << " " << record.offset_bytes;
  };
  expect_refused({Kind::kData, 0xffffffff, 0, 0xffffffff, 0});
  expect_refused({Kind::kData, 100, 0, 101, 0}, some);
  expect_refused({Kind::kData, 100, kSize - 99, 100, 0}, some);
  expect_refused({Kind::kData, 100, kMax - 50, 100, 0}, some);
  expect_refused({Kind::kData, 0, 0, 0, 0});
  expect_refused({Kind::kZero, 0, 1, kMax, 0});
  expect_refused({Kind::kZero, 0, kSize, 1, 0});
  expect_refused({Kind::kZero, 100, 0, 100, 0}, some);
  expect_refused({Kind::kCompressed, 100, 0, 200, 0}, some);  // which zstd refuses
  expect_refused({Kind::kCompressed, 100, 0, kMax, 0}, some);
  expect_refused({Kind::kEnd, 32, kSize, 0, 0}, Bytes(32, std::byte{0}));
  expect_refused({Kind::kEnd, 0, 0, 0, 0});
  expect_refused({static_cast<Kind>(0), 0, 0, 1, 0});
  expect_refused({static_cast<Kind>(5), 100, 0, 100, 0}, some);
}

TEST(StreamTest, HeadersThatContradictThemselvesAreRefused) {
  const auto refused = [](void (*change)(Header&)) {
    Header header = IncrementalHeader();
    change(header);
    return !CheckHeader(header).ok() && !Decode(EncodeHeader(header)).header;
  };
  EXPECT_TRUE(refused([](Header& h) { h.volume = "../etc/passwd"; }));
  EXPECT_TRUE(refused([](Header& h) { h.snapshot = ""; }));
  EXPECT_TRUE(refused([](Header& h) { h.snapshot = "a\nb"; }));
  EXPECT_TRUE(refused([](Header& h) { h.base = ""; }));
  EXPECT_TRUE(refused([](Header& h) { h.base_id = kNoId; }));
  EXPECT_TRUE(refused([](Header& h) { h.base_id = h.id; }));
  EXPECT_TRUE(refused([](Header& h) { h.id = 0x12; }));
  EXPECT_TRUE(refused([](Header& h) { h.id = kNoId; }));
  EXPECT_TRUE(refused([](Header& h) { h.size_bytes = ~uint64_t{0}; }));
  EXPECT_TRUE(refused([](Header& h) { h.start_bytes = h.size_bytes + 1; }));
}

// ---- streams that a transfer spoils

enum class Damage { kCut, kFlip, kSwap, kRepeat, kDrop, kOtherStream, kBurst };

class Spoiler {
 public:
  explicit Spoiler(uint32_t seed) : random_(seed) {}

  Bytes Spoil(const Encoded& stream, const Encoded& other) {
    Bytes bytes = stream.bytes;
    const size_t records = stream.begins.size() - 1;
    const size_t a = Below(records), b = Below(records);
    switch (static_cast<Damage>(Below(7))) {
      case Damage::kCut:
        bytes.resize(Below(bytes.size()));
        break;
      case Damage::kFlip:
        bytes[Below(bytes.size())] ^= static_cast<std::byte>(1 << Below(8));
        break;
      case Damage::kBurst:
        for (size_t i = 0, at = Below(bytes.size()); i < 1 + Below(600); ++i) {
          bytes[(at + i) % bytes.size()] = static_cast<std::byte>(random_());
        }
        break;
      case Damage::kSwap:
        return Join({{stream, 0, std::min(a, b)},
                     {stream, std::max(a, b), std::max(a, b) + 1},
                     {stream, std::min(a, b) + 1, std::max(a, b)},
                     {stream, std::min(a, b), std::min(a, b) + 1},
                     {stream, std::max(a, b) + 1, records}});
      case Damage::kRepeat:
        return Join({{stream, 0, a + 1}, {stream, b, records}});
      case Damage::kDrop:
        return Join({{stream, 0, a}, {stream, std::max(a, b), records}});
      case Damage::kOtherStream:
        return Join({{stream, 0, a}, {other, a, records}});
    }
    return bytes;
  }

 private:
  struct Part {
    const Encoded& from;
    size_t first, end;  // records; the header is the first
  };
  size_t Below(size_t bound) { return random_() % bound; }
  static Bytes Join(const std::vector<Part>& parts) {
    Bytes bytes;
    for (const Part& part : parts) {
      if (part.first >= part.end) continue;
      const auto all = part.from.bytes.begin();
      bytes.insert(bytes.end(), all + static_cast<ptrdiff_t>(part.from.begins[part.first]),
                   all + static_cast<ptrdiff_t>(part.from.begins[part.end]));
    }
    return bytes;
  }
  std::mt19937 random_;
};

TEST(StreamTest, TenThousandSpoiledStreamsAreRefusedOrComplete) {
  Header compressed = FullHeader();
  compressed.compressed = true;
  const Encoded stream = Encode(FullHeader(), SomePieces());
  const Encoded squeezed = Encode(compressed, SomePieces());
  std::vector<Piece> of_other = SomePieces();
  of_other[3].data = Noise(kChunk, 77);
  Header other_header = FullHeader();
  other_header.id += 0x100;
  const Encoded other = Encode(other_header, of_other);
  Spoiler spoiler(1);
  int refused = 0;
  for (int i = 0; i < 10'000; ++i) {
    const Encoded& right = i % 2 == 0 ? stream : squeezed;
    const Bytes bytes = spoiler.Spoil(right, other);
    const Decoded got = Decode(bytes, 1 << 16);
    const bool is_other = bytes == other.bytes;  // all of its records were taken
    ASSERT_EQ(got.whole, bytes == right.bytes || is_other) << i;
    if (!got.whole) ++refused;
    ASSERT_TRUE(!got.whole || is_other || got.image == ImageOf(SomePieces())) << i;
  }
  EXPECT_GT(refused, 9'000);
}

RC_GTEST_PROP(StreamTest, AnyRangesComeBack, ()) {
  const auto lengths =
      *rc::gen::container<std::vector<uint16_t>>(rc::gen::inRange<uint16_t>(1, 5000));
  Header header = FullHeader();
  header.compressed = *rc::gen::arbitrary<bool>();
  std::vector<Piece> pieces;
  uint64_t at = 0;
  for (size_t i = 0; i < lengths.size() && at + lengths[i] <= kSize; ++i) {
    if (i % 3 == 0) {
      pieces.push_back({at, {}, lengths[i]});
    } else if (i % 3 == 1) {
      pieces.push_back({at, Noise(lengths[i], lengths[i]), lengths[i]});
    }
    at += lengths[i];
  }
  const Decoded got = Decode(Encode(header, pieces).bytes);
  RC_ASSERT(got.whole);
  RC_ASSERT(got.image == ImageOf(pieces));
}

}  // namespace
}  // namespace volfs::stream
