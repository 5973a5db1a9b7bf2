#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "blockstore/base/error.h"
#include "blockstore/base/runtime.h"

namespace volfs {

// The texts that open files and directories show, each as it was when that file was opened. All
// files that were opened between two changes share one text. Further texts are bounded per user,
// because otherwise a user who keeps files open while the state changes would make the daemon keep
// each state.
//
// Bounds: kMaxOfUser bytes of different texts per user (a text counts for the user who opened it
// first), and kMaxOfAll for all users but the owner of the mount and root, who can always look at
// the state. The first bound never refuses a user's first text, so that no text is unreadable. A
// text of at most kSmall bytes is not counted; it costs no more than its handle.
//
// Thread-safety: all methods from any thread; a Text is constant. Locks: mu_, a leaf. Cost of Hold:
// one comparison with the last text of that file.
class HeldTexts {
 public:
  static constexpr size_t kSmall = 256;
  static constexpr size_t kMaxOfUser = size_t{8} << 20;
  static constexpr size_t kMaxOfAll = size_t{32} << 20;

  using Text = std::shared_ptr<const std::string>;

  explicit HeldTexts(uint32_t owner);
  HeldTexts(const HeldTexts&) = delete;
  HeldTexts& operator=(const HeldTexts&) = delete;

  // Returns `text`, shared if it equals the last one of `file`, an inode number. kNoMemory if
  // `user` holds too much already.
  Result<Text> Hold(uint32_t user, uint64_t file, std::string text);

  [[nodiscard]] size_t bytes() const;  // of all different texts that are held

 private:
  struct Table;
  struct Held;
  // Shared with the texts, which may outlive this object.
  const std::shared_ptr<Table> table_;
};

}  // namespace volfs
