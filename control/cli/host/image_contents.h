#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace volfs::cli {

// The contents of an image, told by the signatures at known places. They matter when a copy is used
// beside its source, because a copy has its source's UUIDs too.

enum class ContentsKind : uint8_t { kXfs, kBtrfs, kLvm, kMdRaid, kExt, kSwap, kLuks, kGpt, kMbr };

struct Contents {
  ContentsKind kind;
  int partition = 0;      // 0 is the image itself; partitions are numbered as by the kernel
  std::string uuid = {};  // the bytes of a UUID that must not be there twice; "" for other kinds
};

// Returns the contents of the image or device that `fd` reads, and of its partitions (GPT; MBR,
// logical ones too). Unknown or unreadable contents are left out. Reads at most some 6 KiB of each
// place.
std::vector<Contents> ContentsOf(int fd);

// Returns whether both hold a thing that must not be there twice.
bool AreTwins(const std::vector<Contents>& one, const std::vector<Contents>& other);

// Returns the contents for programs: "gpt,ext@p1,xfs@p2", "" if nothing is known.
std::string ContentsText(const std::vector<Contents>& contents);

// Returns the advice for a user of the copy on the machine that has its source: one line for each
// thing that needs it, two blanks and a sentence. Returns "" if nothing needs it: ext4, swap and
// LUKS are only found twice by their UUID. `device` is the image's device ("/dev/loop0").
// `read_only` says that the image is attached read-only.
std::string AdviceFor(const std::vector<Contents>& contents, std::string_view device,
                      bool read_only);

}  // namespace volfs::cli
