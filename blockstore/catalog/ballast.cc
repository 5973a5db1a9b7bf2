#include "blockstore/catalog/ballast.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "blockstore/base/runtime.h"
#include "blockstore/base/str_cat.h"
#include "blockstore/catalog/format.h"
#include "blockstore/io/node_directory.h"

namespace volfs::catalog {
namespace {

// xorshift64*: the kernel's generator would be too slow for megabytes, and nothing here is secret.
void FillRandom(std::vector<std::byte>& bytes, uint64_t& state) {
  for (size_t at = 0; at + sizeof state <= bytes.size(); at += sizeof state) {
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    const uint64_t value = state * 0x2545f4914f6cdd1d;
    std::memcpy(&bytes[at], &value, sizeof value);
  }
}

// Each piece is written out by itself: of an extent that is cut in two, btrfs would give nothing
// back.
Status Append(NodeFile& file, uint64_t at) {
  std::vector<std::byte> piece(kBallastPieceBytes);
  uint64_t state = Random64() | 1;
  for (; at < kBallastBytes; at += piece.size()) {
    FillRandom(piece, state);
    RETURN_IF_ERROR(
        file.WriteAt(std::span(piece).first(std::min(piece.size(), kBallastBytes - at)), at));
    RETURN_IF_ERROR(file.WaitWritten({at, piece.size()}));
  }
  return file.SyncData();
}

// A ballast file that a crash left may have its size, but not its blocks.
uint64_t RealBytes(NodeFile& file) {
  const Result<uint64_t> size_bytes = file.Size();
  const Result<uint64_t> allocated_bytes = file.AllocatedBytes();
  if (!size_bytes.ok() || !allocated_bytes.ok()) return 0;
  const uint64_t bytes = std::min(size_bytes.value(), kBallastBytes);
  return allocated_bytes.value() < bytes ? 0 : bytes / kBallastPieceBytes * kBallastPieceBytes;
}

}  // namespace

uint64_t BallastBytes(NodeDirectory& directory) {
  const auto file = directory.Open(kBallastName, OpenMode::kReadOnly);
  return file.ok() ? RealBytes(*file.value()) : 0;
}

Status FillBallast(NodeDirectory& directory) {
  const uint64_t had_bytes = BallastBytes(directory);
  if (had_bytes == 0) (void)directory.Remove(kBallastName);  // a hollow one of a crash
  const OpenMode mode = had_bytes == 0 ? OpenMode::kCreateNew : OpenMode::kReadWrite;
  ASSIGN_OR_RETURN(const auto file, directory.Open(kBallastName, mode));
  Status filled = Append(*file, had_bytes);
  if (filled.ok() && had_bytes == 0) filled = directory.SyncNames();
  if (!filled.ok()) (void)ShrinkBallast(directory, had_bytes);
  return filled;
}

bool ShrinkBallast(NodeDirectory& directory, uint64_t bytes) {
  if (bytes == 0) return directory.Remove(kBallastName).ok();
  const auto file = directory.Open(kBallastName, OpenMode::kReadWrite);
  return file.ok() && file.value()->SetSize(bytes).ok();
}

Error NothingNew(const NodeDirectory& directory, uint64_t missing_bytes) {
  const std::string why =
      missing_bytes == 0
          ? "the rest is kept for deleting"
          : StrCat(missing_bytes, " bytes of the node's reserve are missing, and these come first");
  return Error{Errc::kNoSpace,
               StrCat("node directory ", directory.display_path(), ": no space for anything new: ",
                      why, "; delete volumes or snapshots, or make its filesystem larger")};
}

}  // namespace volfs::catalog
