#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include "control/stream/checksum.h"
#include "control/stream/compression.h"
#include "control/stream/format.h"

namespace volfs::stream {

// Writes one stream: Begin, then Data and Zeros in ascending order, then End.
//
// Thread-safety: none. Cost: two passes of XXH3 over the bytes, one of zstd if the header says
// `compressed`; no memory that grows.
class Encoder {
 public:
  // Takes all of the bytes, or returns an error, after which the encoder is not used any more.
  using Sink = std::function<Status(std::span<const std::byte>)>;

  // Requires: CheckHeader(header) is ok.
  Encoder(const Header& header, Sink sink);

  Status Begin();
  // Requires: 1 to kMaxRecordBytes of data, behind all earlier records and inside of the image.
  Status Data(uint64_t offset_bytes, std::span<const std::byte> data);
  // Requires: a range that is not empty, as above, of any length.
  Status Zeros(uint64_t offset_bytes, uint64_t length_bytes);
  Status End();

  [[nodiscard]] const Totals& totals() const { return totals_; }
  [[nodiscard]] uint64_t written_bytes() const { return written_bytes_; }

 private:
  Status Write(std::span<const std::byte> bytes);
  Status Put(Kind kind, uint64_t offset_bytes, uint64_t length_bytes,
             std::span<const std::byte> payload);

  const Header header_;
  const Sink sink_;
  Checksum all_;
  Checksum record_;
  std::unique_ptr<Compressor> compressor_;
  uint64_t seed_ = 0;  // of the next record's checksum
  uint64_t next_bytes_ = 0;
  uint64_t written_bytes_ = 0;
  Totals totals_;
};

}  // namespace volfs::stream
