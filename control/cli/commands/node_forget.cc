#include <algorithm>
#include <chrono>
#include <filesystem>
#include <memory>
#include <utility>

#include "blockstore/base/str_cat.h"
#include "blockstore/node/forget.h"
#include "blockstore/node/opener.h"
#include "control/cli/commands/commands.h"
#include "control/cli/host/state_directory.h"
#include "control/cli/mount_helper.h"
#include "control/cli/offline_node.h"
#include "control/cli/process/bounded.h"
#include "control/cli/process/failure.h"
#include "control/cli/process/output.h"
#include "control/cli/process/supervisor.h"
#include "control/text/name.h"

namespace volfs::cli {
namespace {

// One `volfs node forget`: first everything is opened, under the locks, and looked at; only then
// something is changed.
class Forgetting {
 public:
  Forgetting(const Common& common, const NodeForgetOptions& options)
      : common_(common),
        options_(options),
        registry_(options.registry.empty() ? NodeRegistryFile() : options.registry) {}

  Status Run() {
    for (const std::string& given : SplitNodeDirectories(options_.directories)) {
      ASSIGN_OR_RETURN(const std::string path, NodeDirectoryOf(given));
      RETURN_IF_ERROR(Open(path));
    }
    const auto listed = ReadNodeRegistry(registry_);
    std::vector<std::string> listed_paths;
    listed_paths.reserve(listed.size());
    for (const auto& [uuid, path] : listed) listed_paths.push_back(path);
    FindSilent(listed_paths);
    for (const auto& [uuid, path] : listed) RETURN_IF_ERROR(OpenListed(uuid, path));
    RETURN_IF_ERROR(LookWherePeersSawIt());
    RETURN_IF_ERROR(CheckKnown());
    return Forget();
  }

 private:
  [[nodiscard]] bool IsOpen(const std::string& path) const {
    return std::any_of(nodes_.begin(), nodes_.end(), [&](const auto& node) {
      std::error_code error;
      return std::filesystem::equivalent(node->path(), path, error);
    });
  }

  Status Open(const std::string& path) {
    if (IsOpen(path)) return OkStatus();
    Result<std::unique_ptr<Node>> node = OpenOffline(path);
    if (!node.ok()) {
      Error error = node.error();
      error.message += "; nothing was changed";
      return error;
    }
    if (node.value()->uuid() == options_.uuid) {
      return Error{
          Errc::kProtected,
          StrCat(path, ": is that node, ", node.value()->name(),
                 ", and it can be opened; only a node that is lost for good is forgotten "
                 "(`volfs rm` deletes volumes, and a directory that is no longer wanted can "
                 "be removed first)")};
    }
    nodes_.push_back(std::move(node.value()));
    return OkStatus();
  }

  // The lost one may be on a server that does not answer.
  void FindSilent(const std::vector<std::string>& paths) {
    constexpr auto kLimit = std::chrono::seconds(2);
    const std::vector<std::string> found = LookAtPaths(paths, kLimit).silent;
    silent_.insert(silent_.end(), found.begin(), found.end());
  }

  [[nodiscard]] bool IsSilent(const std::string& path) const {
    return std::find(silent_.begin(), silent_.end(), path) != silent_.end();
  }

  [[nodiscard]] Result<std::string> ListedDirectory(const std::string& path) const {
    if (!IsSilent(path)) return NodeDirectoryOf(path);
    return Error{Errc::kNodeDown, StrCat(path, ": does not answer")};
  }

  // One that cannot be looked at is no reason to leave the others as they are, but for one that is
  // mounted: its daemon may know the lost node, too.
  Status OpenListed(const std::string& uuid, const std::string& listed) {
    if (uuid == options_.uuid) in_registry_ = true;
    const Result<std::string> path = ListedDirectory(listed);
    const Status opened = path.ok() ? Open(path.value()) : Status(path.error());
    if (opened.ok() || opened.error().code == Errc::kLocked ||
        opened.error().code == Errc::kProtected) {
      return opened;
    }
    if (uuid == options_.uuid) return OkStatus();
    PrintNote(StrCat("volfs node forget: warning: node ", uuid, " cannot be asked: ",
                     path.ok() ? opened.error().message : path.error().message, kNoteBreak,
                     "if it was mounted with the lost one: mount its disk, and run this again with "
                     "its directory"));
    return OkStatus();
  }

  // This machine's list is short of a node that was mounted elsewhere.
  Status LookWherePeersSawIt() {
    std::vector<std::string> paths;
    for (const auto& node : nodes_) paths.push_back(TracesOf(*node, options_.uuid).path);
    std::erase_if(paths, [&](const std::string& path) { return path.empty() || IsSilent(path); });
    FindSilent(paths);
    for (const std::string& path : paths) {
      const Result<std::string> real = ListedDirectory(path);
      if (!real.ok() || IsOpen(real.value())) continue;
      const size_t before = nodes_.size();
      const Status opened = Open(real.value());
      nodes_.resize(before);  // another node, which the user did not name, in its place
      if (!opened.ok() &&
          (opened.error().code == Errc::kLocked || opened.error().code == Errc::kProtected)) {
        return opened;
      }
    }
    return OkStatus();
  }

  [[nodiscard]] Status CheckKnown() const {
    std::string known;
    for (const auto& node : nodes_) {
      if (TracesOf(*node, options_.uuid).known) return OkStatus();
      for (const PeerRecord& peer : node->contents().peers) {
        if (IsOpenUuid(peer.uuid) || known.find(peer.uuid) != std::string::npos) continue;
        known += StrCat(kNoteBreak, peer.uuid, "  ", peer.name, " (last at ", peer.path, ")");
      }
    }
    if (in_registry_) return OkStatus();
    return Error{Errc::kNotFound,
                 StrCat(Printable(options_.uuid), ": no node that could be asked knows it",
                        known.empty() ? "" : "; nodes that are known, but not there:", known)};
  }

  [[nodiscard]] bool IsOpenUuid(const std::string& uuid) const {
    return std::any_of(nodes_.begin(), nodes_.end(),
                       [&](const auto& node) { return node->uuid() == uuid; });
  }

  // The registry last: it makes the node known until all others have forgotten it.
  Status Forget() {
    const Waiting waiting(Waiting::For::kSync);
    for (const auto& node : nodes_) {
      const NodeTraces traces = TracesOf(*node, options_.uuid);
      if (!traces.known) continue;
      RETURN_IF_ERROR(ForgetNode(*node, options_.uuid));
      Tell(node->name(), traces);
    }
    return in_registry_ ? ForgetInRegistry(registry_, options_.uuid) : OkStatus();
  }

  static std::string Joined(const std::vector<std::string>& names) {
    std::string text;
    for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
    return text;
  }

  void Tell(const std::string& node, const NodeTraces& traces) const {
    if (common_.json) {
      return PrintDone(common_, {{"node", node},
                                 {"forgot", options_.uuid},
                                 {"name", traces.name},
                                 {"released", JsonStrings(traces.held)},
                                 {"in_error", JsonStrings(traces.needing)}});
    }
    std::string text = StrCat("node ", node, ": forgot node ",
                              traces.name.empty() ? options_.uuid : traces.name, "\n");
    if (!traces.held.empty()) {
      text += StrCat("  released the holds of its clones: ", Joined(traces.held), "\n");
    }
    if (!traces.needing.empty()) {
      text +=
          StrCat("  clones here that need it, and stay in error: ", Joined(traces.needing), "\n");
    }
    Print(text);
  }

  const Common& common_;
  const NodeForgetOptions& options_;
  const std::string registry_;
  bool in_registry_ = false;
  std::vector<std::string> silent_;  // paths of the registry that did not answer
  std::vector<std::unique_ptr<Node>> nodes_;
};

}  // namespace

Status ForgetLostNode(const Common& common, const NodeForgetOptions& options) {
  return Forgetting(common, options).Run();
}

}  // namespace volfs::cli
