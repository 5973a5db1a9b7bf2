#pragma once

#include <cstdint>

// Constants of the catalog's format; FORMAT.md says what they mean and is normative.
// Those that can be set at compile time are for simulations, which make thousands of nodes a
// second; a database keeps the page size that it was made with.
#ifndef VOLFS_CATALOG_PAGE_BYTES
#define VOLFS_CATALOG_PAGE_BYTES 4096
#endif
#ifndef VOLFS_CATALOG_BALLAST_BYTES
#define VOLFS_CATALOG_BALLAST_BYTES (8 * 1024 * 1024)
#endif
#ifndef VOLFS_CATALOG_LOG_BYTES
#define VOLFS_CATALOG_LOG_BYTES (1024 * 1024)
#endif

namespace volfs::catalog {

inline constexpr int32_t kApplicationId = 0x766f6c66;  // "volf"
inline constexpr int64_t kFormatVersion = 1;

inline constexpr int kPageBytes = VOLFS_CATALOG_PAGE_BYTES;
static_assert(kPageBytes >= 512 && kPageBytes <= 65536 && (kPageBytes & (kPageBytes - 1)) == 0);

inline constexpr uint64_t kBallastBytes = VOLFS_CATALOG_BALLAST_BYTES;

// The log (catalog.db-wal). It keeps the first of these always; from the second on it is moved into
// the database in the background; with the third the next commit does that first.
inline constexpr uint64_t kLogKeptBytes = VOLFS_CATALOG_LOG_BYTES;
inline constexpr uint64_t kLogLongBytes = 4 * kLogKeptBytes;
inline constexpr uint64_t kLogMaxBytes = 16 * kLogKeptBytes;

// The database's file grows in steps of this size and keeps room for this many more pages than it
// uses. A commit that makes something new leaves that many pages, so that one that frees something
// finds room.
inline constexpr uint64_t kDatabaseStepBytes = uint64_t{16} * kPageBytes;
inline constexpr uint64_t kSparePages = 32;
inline constexpr uint64_t kSpareAfterGrowth = 16;
// A request for something new needs so many spare pages before it begins, as it may need some
// itself.
inline constexpr uint64_t kSpareBeforeGrowth = 20;

inline constexpr uint64_t kBallastPieceBytes = kBallastBytes / 8;
inline constexpr char kBallastName[] = "ballast";
inline constexpr char kDatabaseName[] = "catalog.db";
inline constexpr char kWalName[] = "catalog.db-wal";

// Feature bits that this program knows, of each mask.
inline constexpr uint64_t kKnownRefuse = 0;    // an unknown one: do not open
inline constexpr uint64_t kKnownReadOnly = 0;  // an unknown one: open, but change nothing
                                               // (unknown bits of the third mask: no matter)
inline constexpr uint64_t kIgnoreLineage = 1;  // of the third: mounts have ids (FORMAT.md 4.5)

inline constexpr uint64_t kMaxNameBytes = 128;
inline constexpr uint64_t kMaxTextBytes = 64 * 1024;

// No layer has more blocks: kMaxVolumeBytes in blocks of the least size, 512 bytes.
inline constexpr uint64_t kMaxBlocks = uint64_t{1} << 54;

// The states of a presence row; 1 and 2 are BlockState's.
inline constexpr int64_t kRowPresent = 1;
inline constexpr int64_t kRowZero = 2;
inline constexpr int64_t kRowMixed = 3;  // one chunk, two bits a block

}  // namespace volfs::catalog
