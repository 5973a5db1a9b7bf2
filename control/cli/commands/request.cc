#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <ctime>
#include <optional>

#include "blockstore/base/str_cat.h"
#include "blockstore/io/posix_descriptor.h"
#include "control/cli/client.h"
#include "control/cli/clone_wait.h"
#include "control/cli/commands/commands.h"
#include "control/cli/frozen_request.h"
#include "control/cli/host/image_contents.h"
#include "control/cli/process/bounded.h"
#include "control/cli/process/failure.h"
#include "control/cli/process/files.h"
#include "control/cli/process/output.h"
#include "control/cli/process/supervisor.h"
#include "control/cli/target.h"
#include "control/text/io.h"
#include "control/text/json.h"
#include "control/text/name.h"
#include "control/text/size.h"

namespace volfs::cli {
namespace {

// Returns " size=S type=T", the given keys. Reports malformed values before it asks the daemon.
Result<std::string> Keys(const std::string& size, const std::string& type,
                         const std::string& node) {
  std::string keys;
  if (!size.empty()) {
    ASSIGN_OR_RETURN(const uint64_t bytes, ParseSize(size));
    keys += StrCat(" size=", bytes);
  }
  if (!type.empty()) {
    RETURN_IF_ERROR(CheckName(type, "type"));
    keys += StrCat(" type=", type);
  }
  if (!node.empty()) {
    RETURN_IF_ERROR(CheckName(node, "node"));
    keys += StrCat(" node=", node);
  }
  return keys;
}

// Reports a new volume or snapshot: its name, and the further words of the reply.
void PrintMade(const Common& common, const Reply& reply) {
  if (common.json) {
    Print(JsonLine(ReplyObject(reply)));
    return;
  }
  std::string line = StrCat(reply.Get("volume"), reply.Get("snapshot"));
  if (const auto status = reply.Get("status"); !status.empty()) line += ": " + status;
  if (const auto size = ParseNumber(reply.Get("size"))) line += ", " + FormatSize(*size);
  if (const auto node = reply.Get("node"); !node.empty()) line += ", on node " + node;
  Print(line + "\n");
}

void TellHowToGrow(const Client& client, const std::string& volume) {
  PrintNote(StrCat(
      volume, " is larger than its source. To grow its contents:", kNoteBreak,
      "a filesystem without partitions:  volfs attach ", volume, " --mount ", client.mountpoint(),
      "; then resize2fs", kNoteBreak,
      "    /dev/loopN (ext2-4), or, mounted, xfs_growfs or btrfs filesystem resize max", kNoteBreak,
      "a partition table:  sgdisk -e /dev/loopN (GPT), then growpart or parted"));
}

struct Look {
  std::string contents;
  std::string advice;
};

// Returns the contents of the image and the advice about them. Returns nothing if we may not read
// it, or if its node makes us wait: the copy is made in any case.
Look LookInto(const Client& client, const std::string& volume) {
  constexpr std::chrono::seconds kLookPatience{2};
  const auto said = AnswerWithin(kLookPatience, [&]() -> std::string {
    const Descriptor fd(::open(client.ImagePath(volume).c_str(), O_RDONLY | O_CLOEXEC));
    const std::vector<Contents> contents = fd.ok() ? ContentsOf(fd.get()) : std::vector<Contents>();
    return StrCat(ContentsText(contents), "\n", AdviceFor(contents, "/dev/loopN", false));
  });
  const std::string text = said.value_or("\n");
  const size_t end = std::min(text.find('\n'), text.size() - 1);
  return {text.substr(0, end), text.substr(end + 1)};
}

// Reports a copy. Its contents come last: looking at them takes reads, which a node may delay.
void PrintCopied(const Common& common, const Client& client, const Reply& reply) {
  const std::string volume = reply.Get("volume");
  if (common.json) {
    const Look look = LookInto(client, volume);
    const JsonObject about = {{"contents", look.contents}, {"advice", look.advice}};
    JsonObject object = ReplyObject(reply);
    object.insert(object.end(), about.begin(), about.end());
    Print(JsonLine(object));
    return;
  }
  PrintMade(common, reply);
  (void)FlushOutput();
  const std::string advice = LookInto(client, volume).advice;
  if (advice.empty()) return;
  PrintNote(StrCat(
      volume,
      " has the UUIDs of its source, too. Where both are used (/dev/loopN is as `volfs attach ",
      volume, "` tells):", AsNoteLines(advice)));
}

// The common part of `clone` and `restore`: writes `words` and the options' keys to `file`.
Status MakeFrom(const Common& common, Targets& targets, const CloneOptions& options,
                const std::string& file, const std::string& words) {
  ASSIGN_OR_RETURN(std::string keys, Keys(options.size, options.type, options.node));
  if (options.linked) keys += " linked=1";
  if (options.verify) keys += " verify=1";
  ASSIGN_OR_RETURN(const Client client, targets.Mount());
  ASSIGN_OR_RETURN(const std::string source, targets.Image(options.source));
  const Result<uint64_t> source_size = client.ImageSize(source);  // a refusal tells what is wrong

  Status unclean = OkStatus();
  ASSIGN_OR_RETURN(const Reply reply, AskFrozen(client, {source, "volfs clone", options.freeze},
                                                file, words + keys, unclean));
  PrintCopied(common, client, reply);
  RETURN_IF_ERROR(FlushOutput());
  const std::string volume = reply.Get("volume");
  if (!unclean.ok()) return UncleanCopy(volume, unclean.error());
  const std::optional<uint64_t> size = ParseNumber(reply.Get("size"));
  if (options.wait) RETURN_IF_ERROR(WaitForClone(client, volume));
  const bool larger = source_size.ok() && size && *size > source_size.value();
  if (larger && !common.json) TellHowToGrow(client, volume);
  return OkStatus();
}

// The sentence that the daemon kept for the refusal of a file operation; nothing if the newest one
// is about something else. `path` is the image's, below the mount.
std::optional<std::string> LastError(const Client& client, std::string_view path, int os_errno) {
  const Result<std::string> text = client.ReadControl("last_error");
  const char* errno_name = strerrorname_np(os_errno);
  if (!text.ok() || errno_name == nullptr) return std::nullopt;
  const std::vector<std::string_view> lines = SplitLines(text.value());
  if (lines.empty()) return std::nullopt;
  const std::string mark = StrCat(" ", errno_name, " ");
  const size_t at = lines.front().find(mark);
  if (at == std::string_view::npos) return std::nullopt;
  if (lines.front().substr(0, at).find(path) == std::string_view::npos) return std::nullopt;
  return std::string(lines.front().substr(at + mark.size()));
}

bool IsSnapshot(const std::string& name) { return name.find('@') != std::string::npos; }

// "db@tuesday" for the target "tuesday" or "db@tuesday" of a snapshot of db.
Result<std::string> SnapshotTarget(Targets& targets, const std::string& from,
                                   const std::string& to) {
  const std::string volume = from.substr(0, from.find('@'));
  ASSIGN_OR_RETURN(const std::string name, targets.Image(to));
  if (!IsSnapshot(name)) return StrCat(volume, "@", name);
  if (name.substr(0, name.find('@')) == volume) return name;
  return UsageFailure(StrCat(to, ": a snapshot stays with its volume, ", volume));
}

Status RemoveOne(const Common& common, const std::string& argument) {
  Targets targets(common.mount);
  ASSIGN_OR_RETURN(const std::string name, targets.Image(argument));
  ASSIGN_OR_RETURN(const Client client, targets.Mount());
  ASSIGN_OR_RETURN(const Reply reply, client.Ask("delete", name));
  PrintDone(common, ReplyObject(reply));
  return OkStatus();
}

}  // namespace

Status Create(const Common& common, const CreateOptions& options) {
  Targets targets(common.mount);
  ASSIGN_OR_RETURN(const std::string name, targets.NewVolume(options.name));
  ASSIGN_OR_RETURN(const uint64_t size, ParseSize(options.size));
  ASSIGN_OR_RETURN(std::string keys, Keys("", options.type, options.node));
  if (!options.io.empty()) {
    ASSIGN_OR_RETURN(const bool native, ParseIo(options.io));
    keys += StrCat(" io=", IoText(native));
  }
  ASSIGN_OR_RETURN(const Client client, targets.Mount());
  ASSIGN_OR_RETURN(const Reply reply, client.Ask("create", StrCat(name, " ", size, keys)));
  PrintMade(common, reply);
  return OkStatus();
}

Status Clone(const Common& common, const CloneOptions& options) {
  Targets targets(common.mount);
  ASSIGN_OR_RETURN(std::string words, targets.Image(options.source));
  if (options.freeze.wanted() && IsSnapshot(words)) {
    return UsageFailure(StrCat(words, ": a snapshot does not change; there is nothing to freeze"));
  }
  if (!options.name.empty()) {
    ASSIGN_OR_RETURN(const std::string name, targets.NewVolume(options.name));
    words += " " + name;
  }
  return MakeFrom(common, targets, options, "clone", words);
}

Status Restore(const Common& common, const CloneOptions& options) {
  Targets targets(common.mount);
  ASSIGN_OR_RETURN(const std::string source, targets.Image(options.source));
  if (!IsSnapshot(source)) {
    return UsageFailure(
        StrCat(source, ": name a snapshot, VOLUME@SNAP; `volfs clone` copies volumes"));
  }
  ASSIGN_OR_RETURN(const std::string name, targets.NewVolume(options.name));
  return MakeFrom(common, targets, options, "restore", StrCat(source, " ", name));
}

Status Revert(const Common& common, const std::string& snapshot) {
  Targets targets(common.mount);
  ASSIGN_OR_RETURN(const std::string source, targets.Image(snapshot));
  if (!IsSnapshot(source)) {
    return UsageFailure(StrCat(source, ": name the snapshot to go back to, VOLUME@SNAP"));
  }
  ASSIGN_OR_RETURN(const Client client, targets.Mount());
  ASSIGN_OR_RETURN(const Reply reply, client.Ask("revert", source));
  JsonObject done = ReplyObject(reply);
  done.push_back({"snapshot", source});
  PrintDone(common, done);
  return OkStatus();
}

Status Snapshot(const Common& common, const SnapshotOptions& options) {
  Targets targets(common.mount);
  ASSIGN_OR_RETURN(const std::string volume, targets.Volume(options.source));
  ASSIGN_OR_RETURN(const std::string name, NameFromTemplate(options.name, std::time(nullptr)));
  RETURN_IF_ERROR(CheckName(name, "snapshot"));
  ASSIGN_OR_RETURN(const Client client, targets.Mount());
  Status unclean = OkStatus();
  ASSIGN_OR_RETURN(const Reply reply, AskFrozen(client, {volume, "volfs snapshot", options.freeze},
                                                "snapshot", StrCat(volume, " ", name), unclean));
  PrintMade(common, reply);
  RETURN_IF_ERROR(FlushOutput());
  if (!unclean.ok()) return UncleanCopy(reply.Get("snapshot"), unclean.error());
  return OkStatus();
}

Status Move(const Common& common, const std::string& from, const std::string& to) {
  Targets targets(common.mount);
  ASSIGN_OR_RETURN(const std::string source, targets.Image(from));
  std::string target;
  if (IsSnapshot(source)) {
    ASSIGN_OR_RETURN(target, SnapshotTarget(targets, source, to));
  } else {
    ASSIGN_OR_RETURN(target, targets.Volume(to));
  }
  ASSIGN_OR_RETURN(const Client client, targets.Mount());
  const std::string old_path = client.ImagePath(source);
  const std::string new_path = client.ImagePath(target);
  const Waiting waiting(client.mountpoint());
  // Never overwrites an existing volume. A plain rename would succeed there if both are the same
  // name.
  if (::renameat2(AT_FDCWD, old_path.c_str(), AT_FDCWD, new_path.c_str(), RENAME_NOREPLACE) == 0) {
    PrintDone(common, {{IsSnapshot(target) ? "snapshot" : "volume", target}, {"from", source}});
    return OkStatus();
  }
  const int os_errno = errno;
  const std::string subject = os_errno == EEXIST ? target : source;
  const std::string below = old_path.substr(client.mountpoint().size() + 1);
  if (auto sentence = LastError(client, below, os_errno)) return Failure(os_errno, *sentence);
  if (os_errno == ENOENT) return Failure(os_errno, subject + ": no such volume or snapshot");
  if (os_errno == EEXIST) return Failure(os_errno, subject + ": exists already");
  return Failure(os_errno, StrCat(subject, ": ", std::strerror(os_errno)));
}

Status Cancel(const Common& common, const std::string& name) {
  Targets targets(common.mount);
  ASSIGN_OR_RETURN(const std::string volume, targets.Volume(name));
  ASSIGN_OR_RETURN(const Client client, targets.Mount());
  ASSIGN_OR_RETURN(const Reply reply, client.Ask("cancel", volume));
  PrintDone(common, ReplyObject(reply));
  return OkStatus();
}

Status Remove(const Common& common, const std::vector<std::string>& names) {
  std::optional<Errc> first;
  for (const std::string& name : names) {
    const Status removed = RemoveOne(common, name);
    if (removed.ok()) continue;
    PrintError("volfs rm", removed.error());
    if (!first) first = removed.error().code;
  }
  if (first) return SilentFailure(*first);
  return OkStatus();
}

}  // namespace volfs::cli
