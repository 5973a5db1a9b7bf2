#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>

#include "control/stream/checksum.h"
#include "control/stream/format.h"

namespace volfs::stream {

// Reads one stream that may hold anything: it may be cut, damaged, out of order, or made to harm.
//
// Invariants:
//   D1  A record that Next returns is one that an Encoder has written, at this place of this
//       stream, but for a chance of 2^-64.
//   D2  The records of a stream are in ascending order, do not overlap, and lie inside of the image
//       and behind Header::start_bytes.
//   D3  Next returns nothing, the end, only if all records came and no byte follows.
//   D4  No length is used before it is checked: memory is at most two records and a header.
//
// Thread-safety: none. After an error it is not used any more.
class Decoder {
 public:
  // Fills the beginning of `out`, at least one byte of it. Returns how many bytes; 0 is the end of
  // the input.
  using Source = std::function<Result<size_t>(std::span<std::byte> out)>;

  explicit Decoder(Source source);

  // Called once, first.
  Result<Header> Begin();
  // Returns the next record, whose data are good until the next call; nothing at the end.
  Result<std::optional<Record>> Next();

  // Returns whether the error was the early end of the input: a resumed transfer may bring the
  // rest.
  [[nodiscard]] bool cut() const { return cut_; }
  [[nodiscard]] const Totals& totals() const { return totals_; }

 private:
  // Fills `out`. Returns an error if the input ends before.
  Status Fill(std::span<std::byte> out);
  [[nodiscard]] Status CheckShape(const RecordHeader& record) const;
  Status CheckEnd(std::span<const std::byte> payload, uint64_t checksum_of_all);
  Result<Record> RecordOf(const RecordHeader& header);

  const Source source_;
  Header header_;
  Checksum all_;
  Checksum record_;
  Bytes payload_;
  Bytes data_;
  uint64_t seed_ = 0;  // of the next record's checksum
  uint64_t next_bytes_ = 0;
  bool cut_ = false;
  Totals totals_;
};

}  // namespace volfs::stream
