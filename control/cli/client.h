#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "blockstore/base/error.h"

namespace volfs::cli {

// Names and values, in the order of the daemon's answer.
using Fields = std::vector<std::pair<std::string, std::string>>;

// Returns the value of the first field of that name, "" if there is none.
std::string ValueOf(const Fields& fields, std::string_view name);

// The answer to a request that was carried out: "ok volume=db-clone status=creating ...".
struct Reply {
  Fields fields;
  [[nodiscard]] std::string Get(std::string_view key) const { return ValueOf(fields, key); }
};

// Reads the words after "ok"; a word that is not KEY=VALUE is skipped.
Reply ParseReply(std::string_view line);

// Makes a refusal readable: returns the sentence of "error EBUSY db: a clone of it ...". If the
// reply has another form (an older daemon, no reply at all), it returns `request` and strerror's
// words.
Error ParseRefusal(std::string_view reply, int os_errno, std::string_view request);

// One mounted volfs, seen by its files only. Errors carry the errno of the call that failed.
// Thread-safety: any thread; the path is its only state.
class Client {
 public:
  explicit Client(std::string mountpoint) : mountpoint_(std::move(mountpoint)) {}

  [[nodiscard]] const std::string& mountpoint() const { return mountpoint_; }
  [[nodiscard]] std::string PathOf(std::string_view relative) const;

  // "db" -> volumes/db, "db@monday" -> snapshots/db/monday.
  [[nodiscard]] std::string ImagePath(std::string_view name) const;

  // Writes `line` (without LF) to control/FILE and reads the reply on the same descriptor.
  [[nodiscard]] Result<Reply> Ask(std::string_view file, std::string_view line) const;

  // Reads control/RELATIVE.
  [[nodiscard]] Result<std::string> ReadControl(std::string_view relative) const;

  // Reads one value of a volume: control/volumes/NAME/FIELD without its LF.
  [[nodiscard]] Result<std::string> Field(std::string_view volume, std::string_view field) const;

  // Reads all about a volume or snapshot, as of one moment: its info.json. A field without a value
  // is "null".
  [[nodiscard]] Result<Fields> Info(std::string_view name) const;

  // Returns kNotFound, with a sentence, if there is no volume of that name.
  [[nodiscard]] Status CheckVolume(std::string_view volume) const;

  // Returns the directory of a volume or snapshot below control/: "volumes/db",
  // "snapshots/db/monday". kNotFound, with a sentence, if there is no such image.
  [[nodiscard]] Result<std::string> ControlDirectory(std::string_view name) const;

  // Returns the size of a volume's or snapshot's image, in bytes.
  [[nodiscard]] Result<uint64_t> ImageSize(std::string_view name) const;

 private:
  std::string mountpoint_;
};

}  // namespace volfs::cli
