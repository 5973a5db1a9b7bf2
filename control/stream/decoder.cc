#include "control/stream/decoder.h"

#include <array>
#include <utility>

#include "blockstore/base/str_cat.h"
#include "control/stream/compression.h"

namespace volfs::stream {
namespace {

// Names the place, not the values: these may be anything.
Error Damaged(uint64_t records) {
  return Error{Errc::kIo, StrCat("the stream is damaged after its record ", records)};
}

}  // namespace

Decoder::Decoder(Source source) : source_(std::move(source)) {}

Result<Header> Decoder::Begin() {
  Bytes bytes(kFixedHeaderBytes);
  RETURN_IF_ERROR(Fill(bytes));
  ASSIGN_OR_RETURN(const size_t rest, HeaderRestBytes(bytes));
  bytes.resize(kFixedHeaderBytes + rest);
  RETURN_IF_ERROR(Fill(std::span(bytes).subspan(kFixedHeaderBytes)));
  ASSIGN_OR_RETURN(header_, DecodeHeader(bytes));
  seed_ = all_.value();
  next_bytes_ = header_.start_bytes;
  return header_;
}

Result<std::optional<Record>> Decoder::Next() {
  const uint64_t checksum_of_all = all_.value();
  std::array<std::byte, RecordHeader::kBytes> bytes;
  RETURN_IF_ERROR(Fill(bytes));
  const RecordHeader header = DecodeRecordHeader(bytes);
  RETURN_IF_ERROR(CheckShape(header));
  payload_.resize(header.stored_bytes);
  RETURN_IF_ERROR(Fill(payload_));
  record_.Reset(seed_++);
  record_.Add(std::span(bytes).first(bytes.size() - kChecksumBytes));
  record_.Add(payload_);
  if (record_.value() != header.checksum) return Damaged(totals_.records);
  if (header.kind == Kind::kEnd) {
    RETURN_IF_ERROR(CheckEnd(payload_, checksum_of_all));
    return std::optional<Record>();
  }
  ASSIGN_OR_RETURN(const Record record, RecordOf(header));
  return std::optional(record);
}

// Checks each number by itself and against the header, before any of them is used.
Status Decoder::CheckShape(const RecordHeader& record) const {
  const uint64_t size = header_.size_bytes;
  const bool inside = record.offset_bytes >= next_bytes_ && record.offset_bytes <= size &&
                      record.length_bytes <= size - record.offset_bytes;
  const bool bounded = record.length_bytes >= 1 && record.length_bytes <= kMaxRecordBytes;
  bool right = false;
  switch (record.kind) {
    case Kind::kData:
      right = bounded && record.stored_bytes == record.length_bytes;
      break;
    case Kind::kCompressed:
      right = bounded && header_.compressed && record.stored_bytes >= 1 &&
              record.stored_bytes < record.length_bytes;
      break;
    case Kind::kZero:
      right = record.length_bytes >= 1 && record.stored_bytes == 0;
      break;
    case Kind::kEnd:
      right = record.offset_bytes == size && record.stored_bytes == kEndPayloadBytes;
      break;
  }
  if (!inside || !right) return Damaged(totals_.records);
  return OkStatus();
}

Result<Record> Decoder::RecordOf(const RecordHeader& header) {
  ++totals_.records;
  next_bytes_ = header.offset_bytes + header.length_bytes;
  Record record{header.offset_bytes, header.length_bytes, payload_};
  if (header.kind == Kind::kZero) {
    totals_.zero_bytes += header.length_bytes;
    return record;
  }
  totals_.data_bytes += header.length_bytes;
  if (header.kind == Kind::kCompressed) {
    data_.resize(header.length_bytes);
    if (!Decompress(payload_, data_)) return Damaged(totals_.records - 1);
    record.data = data_;
  }
  return record;
}

Status Decoder::CheckEnd(std::span<const std::byte> payload, uint64_t checksum_of_all) {
  uint64_t told_checksum = 0;
  const Totals told = DecodeEnd(payload, told_checksum);
  if (told != totals_ || told_checksum != checksum_of_all) return Damaged(totals_.records);
  std::byte more{};
  ASSIGN_OR_RETURN(const size_t got, source_({&more, 1}));
  if (got == 0) return OkStatus();
  return Error{Errc::kIo, "bytes follow the end of the stream; send one snapshot at a time"};
}

Status Decoder::Fill(std::span<std::byte> out) {
  const std::span<const std::byte> all = out;
  while (!out.empty()) {
    ASSIGN_OR_RETURN(const size_t got, source_(out));
    if (got == 0) {
      cut_ = true;
      return Error{Errc::kIo, "the stream was cut: it ends before its end record"};
    }
    out = out.subspan(got);
  }
  all_.Add(all);
  return OkStatus();
}

}  // namespace volfs::stream
