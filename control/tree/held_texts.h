#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "blockstore/base/error.h"
#include "blockstore/base/runtime.h"

namespace volfs {

// The texts that open files and directories show, each as it was when that file was opened. Files
// that were opened while nothing changed share one text, however many they are. What one user holds
// beyond that is bounded: whoever keeps files open while the state changes would otherwise make the
// daemon keep each state.
//
// Bounds: kMaxOfUser bytes of different texts a user (who opened a text first has it), kMaxOfAll
// of all users but the owner of the mount and root, who can always look at it. The first text of a
// user is never refused by the first bound, so that there is none that cannot be read. A text of at
// most kSmall bytes is not counted; it costs no more than the handle that it belongs to.
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

  // `file` tells files apart (an inode number). kNoMemory: `user` holds too much already.
  Result<Text> Hold(uint32_t user, uint64_t file, std::string text);

  [[nodiscard]] size_t bytes() const;  // of all different texts that are held

 private:
  struct Table;
  struct Held;
  // Shared with the texts, which may outlive this object.
  const std::shared_ptr<Table> table_;
};

}  // namespace volfs
