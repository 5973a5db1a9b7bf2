#include "blockstore/store/open_diff.h"

#include <algorithm>
#include <cstring>

namespace volfs {
namespace {

Error NothingFollows() { return Error{Errc::kNoData, "there is nothing after this offset"}; }

}  // namespace

// A head that is still written may get data where the host sees a hole.
ImageDiff OpenDiff::Walk(const ByteRange& range) const {
  const auto holes = after_pin_ != nullptr ? ImageDiff::Holes::kAsked : ImageDiff::Holes::kIgnored;
  return {before_->image(), *after_, holes, range};
}

ImageDiff OpenDiff::Ranges() const { return Walk({0, UINT64_MAX}); }

// The host is not asked for holes: the bytes that are read have the zeros.
Status OpenDiff::ReadAt(std::span<std::byte> out, uint64_t offset_bytes) const {
  std::memset(out.data(), 0, out.size());
  ImageDiff changes(before_->image(), *after_, ImageDiff::Holes::kIgnored,
                    {offset_bytes, out.size()});
  while (const std::optional<ChangedRange> change = changes.Next()) {
    const ByteRange& bytes = change->bytes;
    if (change->zero) continue;
    RETURN_IF_ERROR(after_->ReadAt(
        out.subspan(bytes.offset_bytes - offset_bytes, bytes.length_bytes), bytes.offset_bytes));
  }
  return OkStatus();
}

Result<uint64_t> OpenDiff::SeekData(uint64_t offset_bytes) const {
  const std::optional<ChangedRange> change = Walk({offset_bytes, UINT64_MAX}).Next();
  if (!change) return NothingFollows();
  return change->bytes.offset_bytes;
}

Result<uint64_t> OpenDiff::SeekHole(uint64_t offset_bytes) const {
  if (offset_bytes >= size_bytes()) return NothingFollows();
  ImageDiff changes = Walk({offset_bytes, UINT64_MAX});
  uint64_t hole = offset_bytes;
  // A range of data may be followed by one of zeros at once.
  while (const std::optional<ChangedRange> change = changes.Next()) {
    if (change->bytes.offset_bytes > hole) break;
    hole = change->bytes.end();
  }
  return hole;
}

}  // namespace volfs
