#include "control/stream/encoder.h"

#include <cassert>
#include <utility>

namespace volfs::stream {

Encoder::Encoder(const Header& header, Sink sink)
    : header_(header), sink_(std::move(sink)), next_bytes_(header.start_bytes) {
  if (header.compressed) compressor_ = std::make_unique<Compressor>();
}

Status Encoder::Begin() {
  const Bytes bytes = EncodeHeader(header_);
  RETURN_IF_ERROR(Write(bytes));
  seed_ = all_.value();
  return OkStatus();
}

Status Encoder::Data(uint64_t offset_bytes, std::span<const std::byte> data) {
  assert(!data.empty() && data.size() <= kMaxRecordBytes);
  totals_.data_bytes += data.size();
  if (compressor_ != nullptr) {
    const std::span<const std::byte> fewer = compressor_->Compress(data);
    if (!fewer.empty()) return Put(Kind::kCompressed, offset_bytes, data.size(), fewer);
  }
  return Put(Kind::kData, offset_bytes, data.size(), data);
}

Status Encoder::Zeros(uint64_t offset_bytes, uint64_t length_bytes) {
  totals_.zero_bytes += length_bytes;
  return Put(Kind::kZero, offset_bytes, length_bytes, {});
}

Status Encoder::End() {
  const Bytes payload = EncodeEnd(totals_, all_.value());
  return Put(Kind::kEnd, header_.size_bytes, 0, payload);
}

Status Encoder::Put(Kind kind, uint64_t offset_bytes, uint64_t length_bytes,
                    std::span<const std::byte> payload) {
  assert(offset_bytes >= next_bytes_ && length_bytes <= header_.size_bytes - offset_bytes);
  next_bytes_ = offset_bytes + length_bytes;
  if (kind != Kind::kEnd) ++totals_.records;
  Bytes bytes = EncodeRecordHeader(
      {kind, static_cast<uint32_t>(payload.size()), offset_bytes, length_bytes, 0});
  record_.Reset(seed_++);
  record_.Add(bytes);
  record_.Add(payload);
  AppendChecksum(bytes, record_.value());
  RETURN_IF_ERROR(Write(bytes));
  return payload.empty() ? OkStatus() : Write(payload);
}

Status Encoder::Write(std::span<const std::byte> bytes) {
  all_.Add(bytes);
  written_bytes_ += bytes.size();
  return sink_(bytes);
}

}  // namespace volfs::stream
