#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "blockstore/base/error.h"
#include "blockstore/base/units.h"

// A snapshot, or its difference to an older one, as a stream of bytes for pipes (STREAM.md is
// normative). The folder is pure: it moves bytes between buffers and callbacks, and knows no file.
namespace volfs::stream {

inline constexpr uint32_t kVersion = 1;

// The greatest number of image bytes in one record. A reader needs memory for two of them, for any
// stream.
inline constexpr size_t kMaxRecordBytes = size_t{1} << 20;

// The part of a stream before its first record.
struct Header {
  std::string volume;       // its name at the sender's
  std::string snapshot;     // its name there, which it gets at the receiver's too
  Id id = kNoId;            // identifies the snapshot wherever it is received
  int64_t created_ns = 0;   // nanoseconds since 1970
  uint64_t size_bytes = 0;  // of the image
  std::string base{};       // of an incremental stream: the older snapshot's name and ...
  Id base_id = kNoId;       // ... identity; kNoId: the stream is full, and lies over zeros
  // The first record begins here or later: an earlier stream of the same snapshot was cut, and has
  // brought the bytes before it.
  uint64_t start_bytes = 0;
  bool compressed = false;  // records may be compressed
  [[nodiscard]] bool incremental() const { return base_id != kNoId; }
  friend bool operator==(const Header&, const Header&) = default;
};

// A range of the image: its new bytes, or zeros.
struct Record {
  uint64_t offset_bytes = 0;
  uint64_t length_bytes = 0;
  std::span<const std::byte> data{};  // of length_bytes; empty: the range reads as zeros
  [[nodiscard]] uint64_t end() const { return offset_bytes + length_bytes; }
};

// The part of a stream behind its last record.
struct Totals {
  uint64_t records = 0;
  uint64_t data_bytes = 0;  // of the image, before compression
  uint64_t zero_bytes = 0;
  friend bool operator==(const Totals&, const Totals&) = default;
};

// ---- the bytes; for encoder.cc and decoder.cc only

enum class Kind : uint32_t { kData = 1, kCompressed = 2, kZero = 3, kEnd = 4 };

// The beginning of a record. Its payload, of `stored_bytes`, follows.
struct RecordHeader {
  static constexpr size_t kBytes = 32;
  Kind kind = Kind::kEnd;
  uint32_t stored_bytes = 0;
  uint64_t offset_bytes = 0;
  uint64_t length_bytes = 0;
  uint64_t checksum = 0;  // of the fields before it and the payload
};

// Bytes of the header before the names; it tells their lengths.
inline constexpr size_t kFixedHeaderBytes = 64;
inline constexpr size_t kChecksumBytes = 8;
inline constexpr size_t kEndPayloadBytes = 32;

using Bytes = std::vector<std::byte>;

// Returns the header with its checksum. Requires: CheckHeader(header) is ok.
Bytes EncodeHeader(const Header& header);
// Returns the number of bytes that follow `fixed`, which has kFixedHeaderBytes: names and checksum.
// Refuses a stream of another kind or version.
Result<size_t> HeaderRestBytes(std::span<const std::byte> fixed);
// Decodes the result of EncodeHeader. Requires: HeaderRestBytes has taken its beginning.
Result<Header> DecodeHeader(std::span<const std::byte> bytes);
// Returns an error if a value is outside of its limits, or values contradict each other.
Status CheckHeader(const Header& header);

// Encodes all fields but the checksum.
Bytes EncodeRecordHeader(const RecordHeader& header);
void AppendChecksum(Bytes& bytes, uint64_t checksum);
// Requires: `bytes` has RecordHeader::kBytes.
RecordHeader DecodeRecordHeader(std::span<const std::byte> bytes);

// Encodes and decodes the payload of the end record. Requires: `bytes` has kEndPayloadBytes.
Bytes EncodeEnd(const Totals& totals, uint64_t checksum_of_all);
Totals DecodeEnd(std::span<const std::byte> bytes, uint64_t& checksum_of_all);

}  // namespace volfs::stream
