#include "blockstore/node/opener.h"

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <set>
#include <span>

#include "blockstore/base/log.h"
#include "blockstore/base/runtime.h"
#include "blockstore/base/sabotage.h"
#include "blockstore/base/str_cat.h"
#include "blockstore/io/posix_node.h"
#include "blockstore/node/open_directory.h"

namespace volfs {
namespace {

namespace fs = std::filesystem;

Error PathError(Errc code, const std::string& path, const std::string& why) {
  return Error{code, StrCat("node directory ", path, ": ", why)};
}

Result<std::string> CheckDirectory(const std::string& path) {
  std::error_code error;
  const fs::path real = fs::canonical(path, error);
  if (error) return PathError(Errc::kNotFound, path, error.message());
  if (!fs::is_directory(real, error)) return PathError(Errc::kInvalid, path, "not a directory");
  return real.string();
}

std::string NameFromPath(const std::string& path, const std::set<std::string>& taken) {
  std::string base = fs::path(path).filename().string();
  for (char& c : base) {
    const bool fine = std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '.' || c == '_';
    if (!fine) c = '-';
  }
  base = base.substr(0, 100);
  if (base.empty() || std::isalnum(static_cast<unsigned char>(base[0])) == 0) base = "n" + base;
  std::string name = base;
  for (int n = 2; taken.contains(name); ++n) name = StrCat(base, "-", n);
  return name;
}

Status CheckNotKnown(const std::string& path, const std::vector<std::unique_ptr<Node>>& open,
                     const NodeOpenOptions& options) {
  const auto remedy = [](const std::string& uuid) {
    return "; mount its disk, or, if that node is lost for good: volfs node forget " + uuid;
  };
  for (const auto& [uuid, known] : ReadNodeRegistry(options.registry)) {
    if (known == path) {
      return PathError(
          Errc::kInvalid, path,
          StrCat("it is empty, but was node ", uuid, " when it was last mounted", remedy(uuid)));
    }
  }
  for (const auto& node : open) {
    for (const PeerRecord& peer : node->contents().peers) {
      if (peer.path == path) {
        return PathError(Errc::kInvalid, path,
                         StrCat("it is empty, but node ", node->name(), " knows it as node ",
                                peer.name, remedy(peer.uuid)));
      }
    }
  }
  return OkStatus();
}

Result<std::unique_ptr<Node>> OpenOne(const std::string& path, const NodeOpenOptions& options) {
  RETURN_IF_ERROR(CheckTrusted(path));
  ASSIGN_OR_RETURN(std::unique_ptr<NodeLock> lock,
                   NodeLock::Take(path, options.access, options.lock_wait));
  ASSIGN_OR_RETURN(std::unique_ptr<NodeDirectory> directory,
                   OpenNodeDirectory(path, options.access));
  return Node::Open(std::move(directory), std::move(lock));
}

// Returns the trouble with `other`, which `node` knows as `peer`; empty if it is the one expected.
std::string TroubleBetween(const Node& node, const PeerRecord& peer, const Node& other) {
  const auto known = node.lineage().known.find(other.uuid());
  if (known != node.lineage().known.end()) {
    const auto mine = other.lineage().known.find(node.uuid());
    const MountId told = mine == other.lineage().known.end() ? 0 : mine->second.told;
    const Kinship kinship = Compare(other.lineage().mounts, told, known->second.mounts);
    std::string trouble =
        KinshipTrouble(kinship, other.name(), other.lineage().newest(), node.name(), peer.path);
    if (!trouble.empty()) return trouble;
  }
  // The only evidence for nodes that no volfs with lineages has mounted together.
  if (other.record().generation >= peer.generation) return "";
  return StrCat("an older copy of node ", other.name(), ": node ", node.name(),
                " was mounted with generation ", peer.generation, " of it, this is generation ",
                other.record().generation, "; mount the newest copy");
}

Status CheckLineages(const std::vector<std::unique_ptr<Node>>& nodes,
                     const std::vector<std::string>& accept) {
  if (Sabotaged(Sabotage::kIgnoreGeneration)) return OkStatus();
  for (const auto& node : nodes) {
    for (const PeerRecord& peer : node->contents().peers) {
      for (const auto& other : nodes) {
        if (other->uuid() != peer.uuid) continue;
        const std::string trouble = TroubleBetween(*node, peer, *other);
        if (trouble.empty()) continue;
        const std::string newest = MountText(other->lineage().newest());
        if (std::find(accept.begin(), accept.end(), newest) == accept.end()) {
          return PathError(Errc::kCorrupt, other->path(), trouble);
        }
        LogWarning(StrCat("node directory ", other->path(), " is accepted: ", trouble));
      }
    }
  }
  return OkStatus();
}

Status KeepTwinsAway(std::span<const std::unique_ptr<Node>> nodes, const std::string& locks) {
  for (const auto& node : nodes) {
    ASSIGN_OR_RETURN(std::unique_ptr<TwinLock> lock,
                     TwinLock::Take(locks, node->uuid(), node->name(), node->path()));
    node->Keep(std::move(lock));
  }
  return OkStatus();
}

Status CheckDistinct(const std::vector<std::unique_ptr<Node>>& nodes) {
  for (size_t i = 0; i < nodes.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      if (nodes[i]->uuid() == nodes[j]->uuid()) {
        return Error{Errc::kExists, StrCat("node directories ", nodes[j]->path(), " and ",
                                           nodes[i]->path(), " are copies of one node (UUID ",
                                           nodes[i]->uuid(), "); mount one of them")};
      }
      if (nodes[i]->name() == nodes[j]->name()) {
        return Error{Errc::kExists,
                     StrCat("node directories ", nodes[j]->path(), " and ", nodes[i]->path(),
                            " are both named ", nodes[i]->name(), "; mount one of them")};
      }
    }
  }
  return OkStatus();
}

// Writes the whole file anew and renames it into place.
Status WriteRegistry(const std::string& file,
                     const std::vector<std::pair<std::string, std::string>>& lines) {
  std::error_code error;
  fs::create_directories(fs::path(file).parent_path(), error);
  const std::string temporary = StrCat(file, ".", Random64());
  std::ofstream out(temporary);
  for (const auto& [uuid, path] : lines) out << uuid << ' ' << path << '\n';
  out.close();
  if (out) fs::rename(temporary, file, error);
  if (out && !error) return OkStatus();
  return Error{Errc::kIo, StrCat("cannot write ", file, ": ", error.message())};
}

// Returns whether a directory is gone for good (one of a test, say). A directory that cannot be
// tested, as its filesystem was shut down, is not.
bool IsGone(const std::string& path) {
  std::error_code error;
  return !fs::exists(path, error) && !error;
}

// Losing it costs only a check, so a failure is a warning.
void UpdateRegistry(const NodeOpenOptions& options,
                    const std::vector<std::unique_ptr<Node>>& nodes) {
  const std::string& file = options.registry;
  if (file.empty()) return;
  auto lines = ReadNodeRegistry(file);
  for (const auto& node : nodes) {
    std::erase_if(lines, [&](const auto& line) {
      return line.first == node->uuid() || line.second == node->path();
    });
    lines.emplace_back(node->uuid(), node->path());
  }
  std::erase_if(lines, [&](const auto& line) {
    return options.is_gone ? options.is_gone(line.second) : IsGone(line.second);
  });
  if (lines.size() > kMaxKnownNodes) {
    lines.erase(lines.begin(), lines.end() - static_cast<ptrdiff_t>(kMaxKnownNodes));
  }
  if (const Status written = WriteRegistry(file, lines); !written.ok()) {
    LogWarning(written.error().message);
  }
}

// In two steps. A node may remember only mounts of another that are durable there. The remembered
// mount must be this one, or a copy made just before it would pass for the newest.
Status RecordMounts(const std::vector<std::unique_ptr<Node>>& nodes) {
  for (const auto& node : nodes) RETURN_IF_ERROR(node->GrowGeneration());
  for (const auto& node : nodes) {
    std::vector<const Node*> others;
    for (const auto& other : nodes) {
      if (other != node) others.push_back(other.get());
    }
    RETURN_IF_ERROR(node->RecordPeers(others));
  }
  return OkStatus();
}

}  // namespace

Status JoinNodes(const std::vector<std::unique_ptr<Node>>& nodes,
                 const std::vector<std::string>& accept) {
  RETURN_IF_ERROR(CheckDistinct(nodes));
  RETURN_IF_ERROR(CheckLineages(nodes, accept));
  return RecordMounts(nodes);
}

namespace {

bool HasLayers(const std::string& path) {
  std::error_code error;
  return fs::exists(path + "/layers", error) && !fs::is_empty(path + "/layers", error);
}

}  // namespace

Result<DirectoryKind> ClassifyDirectory(const std::string& path) {
  std::error_code error;
  std::set<std::string> names;
  for (fs::directory_iterator it(path, error), end; !error && it != end; it.increment(error)) {
    names.insert(it->path().filename().string());
  }
  if (error) return PathError(Errc::kIo, path, error.message());
  names.erase("lost+found");
  if (names.empty()) return DirectoryKind::kEmpty;
  const bool has_catalog = names.contains("catalog.db");
  for (const char* ours :
       {"lock", "layers", "ballast", "catalog.db", "catalog.db-wal", "catalog.db-journal"}) {
    names.erase(ours);
  }
  if (has_catalog) return DirectoryKind::kNode;
  return names.empty() && !HasLayers(path) ? DirectoryKind::kUnfinished : DirectoryKind::kOther;
}

Status InitNode(const std::string& path, NodeRecord record) {
  ASSIGN_OR_RETURN(const DirectoryKind kind, ClassifyDirectory(path));
  if (kind == DirectoryKind::kOther) {
    return PathError(Errc::kInvalid, path, "neither empty nor a node; use an empty directory");
  }
  RETURN_IF_ERROR(CheckOwners(path));
  std::error_code error;
  fs::permissions(path, fs::perms::owner_all, error);
  if (error) return PathError(Errc::kIo, path, error.message());
  if (record.name.empty()) record.name = NameFromPath(path, {});
  if (record.region.empty()) record.region = "default";
  if (record.types.empty()) record.types.push_back({.name = "standard"});
  ASSIGN_OR_RETURN(std::unique_ptr<NodeLock> lock, NodeLock::Take(path));
  ASSIGN_OR_RETURN(std::unique_ptr<NodeDirectory> directory, OpenNodeDirectory(path));
  return Node::Init(*directory, std::move(record));
}

std::vector<std::pair<std::string, std::string>> ReadNodeRegistry(const std::string& file) {
  std::vector<std::pair<std::string, std::string>> lines;
  std::ifstream in(file);
  std::string line;
  while (std::getline(in, line)) {
    const size_t space = line.find(' ');
    if (space == std::string::npos || space + 1 == line.size()) continue;
    lines.emplace_back(line.substr(0, space), line.substr(space + 1));
  }
  return lines;
}

Status ForgetInRegistry(const std::string& file, const std::string& uuid) {
  auto lines = ReadNodeRegistry(file);
  const size_t gone = std::erase_if(lines, [&](const auto& line) { return line.first == uuid; });
  return gone == 0 ? OkStatus() : WriteRegistry(file, lines);
}

Result<std::vector<std::unique_ptr<Node>>> OpenNodes(const std::vector<std::string>& paths,
                                                     const NodeOpenOptions& options) {
  const auto touch = [&](const std::string& path) {
    if (options.touching) options.touching(StrCat("node directory ", path), false);
  };
  const auto sync = [&](const std::string& path) {
    if (options.touching) options.touching(StrCat("node directory ", path), true);
  };
  const bool reads = options.access == NodeAccess::kReadOnly;
  std::vector<std::string> real;
  for (const std::string& path : paths) {
    touch(path);
    ASSIGN_OR_RETURN(std::string one, CheckDirectory(path));
    if (std::find(real.begin(), real.end(), one) != real.end()) {
      return PathError(Errc::kInvalid, path, "it is given twice");
    }
    real.push_back(std::move(one));
  }
  std::vector<std::unique_ptr<Node>> nodes(real.size());
  std::vector<std::unique_ptr<Node>> open;
  std::vector<size_t> fresh;
  std::set<std::string> taken;
  for (size_t i = 0; i < real.size(); ++i) {
    touch(real[i]);
    ASSIGN_OR_RETURN(const DirectoryKind kind, ClassifyDirectory(real[i]));
    if (kind == DirectoryKind::kOther) {
      return PathError(Errc::kInvalid, real[i],
                       "neither empty nor a node; use an empty directory for a new node");
    }
    if (kind == DirectoryKind::kNode) {
      auto node = OpenOne(real[i], options);
      if (node.ok()) {
        taken.insert(node.value()->name());
        nodes[i] = std::move(node.value());
        continue;
      }
      if (node.error().code != Errc::kNotFound) return node.error();
      // A catalog whose making did not finish holds nothing yet, and has no layers beside it.
      if (HasLayers(real[i])) {
        return PathError(
            Errc::kCorrupt, real[i],
            "its catalog is empty, but there are files in layers/, which a new one would "
            "remove; restore catalog.db from a backup, or copy the files away");
      }
    }
    fresh.push_back(i);
  }
  for (auto& node : nodes) {
    if (node) open.push_back(std::move(node));
  }
  for (const size_t i : fresh) {
    RETURN_IF_ERROR(CheckTrusted(real[i]));
    RETURN_IF_ERROR(CheckNotKnown(real[i], open, options));
    if (reads) {
      return PathError(Errc::kNotFound, real[i],
                       "there is no node in it, and a mount with `ro` makes none");
    }
    if (!options.may_init) {
      return PathError(Errc::kInvalid, real[i],
                       "it is empty; a new node is made with `volfs node init` or `-o init`");
    }
  }
  RETURN_IF_ERROR(CheckDistinct(open));
  if (!reads) RETURN_IF_ERROR(KeepTwinsAway(open, options.locks));
  RETURN_IF_ERROR(CheckLineages(open, options.accept));
  for (const size_t i : fresh) {
    NodeRecord record;
    record.name = NameFromPath(real[i], taken);
    record.types = options.new_types;
    taken.insert(record.name);
    sync(real[i]);
    RETURN_IF_ERROR(InitNode(real[i], std::move(record)));
    ASSIGN_OR_RETURN(std::unique_ptr<Node> node, OpenOne(real[i], options));
    open.push_back(std::move(node));
    RETURN_IF_ERROR(KeepTwinsAway({&open.back(), 1}, options.locks));
  }
  // In the order of the command, as new volumes go to the first node.
  std::sort(open.begin(), open.end(), [&](const auto& a, const auto& b) {
    const auto place = [&](const auto& node) {
      return std::find(real.begin(), real.end(), node->path());
    };
    return place(a) < place(b);
  });
  if (reads) return open;
  sync(open.size() == 1 ? open.front()->path() : "of this mount");
  RETURN_IF_ERROR(JoinNodes(open, options.accept));
  UpdateRegistry(options, open);
  return open;
}

}  // namespace volfs
