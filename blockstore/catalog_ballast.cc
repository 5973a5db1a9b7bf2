#include "blockstore/catalog_ballast.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "blockstore/catalog_format.h"
#include "blockstore/node_directory.h"
#include "blockstore/runtime.h"

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

Status WriteBallast(NodeDirectory& directory) {
  constexpr uint64_t kPieceBytes = 256 * 1024;
  VOLFS_ASSIGN(const auto file, directory.Open(kBallastName, OpenMode::kCreateNew));
  std::vector<std::byte> piece(kPieceBytes);
  uint64_t state = Random64() | 1;
  for (uint64_t at = 0; at < kBallastBytes; at += kPieceBytes) {
    FillRandom(piece, state);
    const uint64_t length = std::min(kPieceBytes, kBallastBytes - at);
    VOLFS_TRY(file->WriteAt(std::span(piece).first(length), at));
  }
  // No sync: the room is taken from now on, and if a crash takes the bytes, the next open sees it.
  return OkStatus();
}

}  // namespace

Status MakeBallast(NodeDirectory& directory) {
  (void)RemoveBallast(directory);  // a short one of a crash
  Status written = WriteBallast(directory);
  if (!written.ok()) (void)RemoveBallast(directory);
  return written;
}

bool HasBallast(NodeDirectory& directory) {
  const auto file = directory.Open(kBallastName, OpenMode::kReadOnly);
  if (!file.ok()) return false;
  const Result<uint64_t> size_bytes = file.value()->Size();
  return size_bytes.ok() && size_bytes.value() >= kBallastBytes;
}

bool RemoveBallast(NodeDirectory& directory) { return directory.Remove(kBallastName).ok(); }

bool HasRoomForBallast(NodeDirectory& directory) {
  const Result<SpaceInfo> space = directory.Space();
  return space.ok() && space.value().free_bytes >= 4 * kBallastBytes;
}

}  // namespace volfs::catalog
