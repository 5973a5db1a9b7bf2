// A stream of any bytes is refused, or is complete: its records stay inside of the image, ascend,
// and add up to the totals. The first byte chooses whether the checksums are made right, so that
// the checks behind them are reached, too.
#include <algorithm>
#include <string>
#include <vector>

#include "control/stream/decoder.h"
#include "control/text/name.h"
#include "tests/fuzz/fuzz_targets.h"

namespace volfs::fuzz {
namespace {

using stream::Bytes;

void Write(Bytes& bytes, size_t at, uint64_t value) {
  for (size_t i = 0; i < 8; ++i) bytes[at + i] = static_cast<std::byte>(value >> (8 * i));
}

// Puts the checksum of the header into its place. Returns where the records begin, 0 for nowhere.
size_t MendHeader(Bytes& bytes) {
  if (bytes.size() < stream::kFixedHeaderBytes) return 0;
  const auto rest = stream::HeaderRestBytes(std::span(bytes).first(stream::kFixedHeaderBytes));
  if (!rest.ok()) return 0;
  const size_t end = stream::kFixedHeaderBytes + rest.value();
  if (end > bytes.size()) return 0;
  stream::Checksum sum;
  sum.Add(std::span(bytes).first(end - stream::kChecksumBytes));
  Write(bytes, end - stream::kChecksumBytes, sum.value());
  return end;
}

void MendRecords(Bytes& bytes, size_t at) {
  stream::Checksum all;
  all.Add(std::span(bytes).first(at));
  uint64_t seed = all.value();
  while (at + stream::RecordHeader::kBytes <= bytes.size()) {
    const std::span<std::byte> rest = std::span(bytes).subspan(at);
    const stream::RecordHeader record = stream::DecodeRecordHeader(rest);
    const size_t length = stream::RecordHeader::kBytes + size_t{record.stored_bytes};
    if (length > rest.size()) return;
    if (record.kind == stream::Kind::kEnd && record.stored_bytes == stream::kEndPayloadBytes) {
      Write(bytes, at + length - sizeof(uint64_t), all.value());
    }
    stream::Checksum sum(seed++);
    sum.Add(rest.first(stream::RecordHeader::kBytes - stream::kChecksumBytes));
    sum.Add(rest.subspan(stream::RecordHeader::kBytes, record.stored_bytes));
    Write(bytes, at + stream::RecordHeader::kBytes - stream::kChecksumBytes, sum.value());
    all.Add(rest.first(length));
    at += length;
  }
}

void Read(std::span<const std::byte> bytes) {
  stream::Decoder decoder([&](std::span<std::byte> to) -> Result<size_t> {
    Require(to.size() <= stream::kMaxRecordBytes, "no more is read at once than a record");
    const size_t got = std::min(to.size(), bytes.size());
    std::copy_n(bytes.begin(), got, to.begin());
    bytes = bytes.subspan(got);
    return got;
  });
  const auto header = decoder.Begin();
  if (!header.ok()) return;
  Require(stream::CheckHeader(header.value()).ok(), "a header that was taken is legal");
  Require(stream::DecodeHeader(stream::EncodeHeader(header.value())).ok(), "and can be sent on");
  uint64_t next = header.value().start_bytes;
  stream::Totals totals;
  for (;;) {
    const auto record = decoder.Next();
    if (!record.ok()) {
      Require(OneLine(record.error().message) == record.error().message, "an error is one line");
      return;
    }
    if (!record.value()) break;
    const stream::Record& r = *record.value();
    Require(r.offset_bytes >= next && r.length_bytes > 0, "records ascend");
    Require(r.length_bytes <= header.value().size_bytes - r.offset_bytes, "and stay inside");
    Require(r.data.empty() || r.data.size() == r.length_bytes, "data are as long as their range");
    next = r.end();
    ++totals.records;
    (r.data.empty() ? totals.zero_bytes : totals.data_bytes) += r.length_bytes;
  }
  Require(totals == decoder.totals(), "the totals are those of the records");
  Require(bytes.empty(), "nothing is left behind the end");
}

}  // namespace

void stream(Input input) {
  if (input.empty()) return;
  const std::span<const std::byte> raw = std::as_bytes(input.subspan(1));
  Bytes bytes(raw.begin(), raw.end());
  if (input[0] % 2 == 0) {
    if (const size_t at = MendHeader(bytes)) MendRecords(bytes, at);
  }
  Read(bytes);
}

}  // namespace volfs::fuzz
