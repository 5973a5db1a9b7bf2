#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace volfs::cli {

// What an image holds, told by the signatures at known places, and what of it is in the way of
// using a copy beside its source: a copy has the UUIDs of its source too.

enum class ContentsKind : uint8_t { kXfs, kBtrfs, kLvm, kMdRaid, kExt, kSwap, kLuks, kGpt, kMbr };

struct Contents {
  ContentsKind kind;
  int partition = 0;      // 0: the image itself; else as the kernel numbers them
  std::string uuid = {};  // the bytes of what must not be there twice; "" of the other kinds
};

// What is in the image or device that `fd` reads, and in its partitions (GPT; MBR, logical ones
// too). What is unknown or cannot be read is left out. Reads at most some 6 KiB of each place.
std::vector<Contents> ContentsOf(int fd);

// Whether something that must not be there twice is in both.
bool AreTwins(const std::vector<Contents>& one, const std::vector<Contents>& other);

// For programs: "gpt,ext@p1,xfs@p2"; "" if nothing is known.
std::string ContentsText(const std::vector<Contents>& contents);

// What to do before the copy is used on the machine that has its source, a line of two blanks and a
// sentence for each thing that needs it; "" if nothing does: ext4, swap and LUKS are only found
// twice by their UUID. `device` is the image's ("/dev/loop0"); `read_only`: it is attached so.
std::string AdviceFor(const std::vector<Contents>& contents, std::string_view device,
                      bool read_only);

}  // namespace volfs::cli
