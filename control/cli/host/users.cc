#include "control/cli/host/users.h"

#include <unistd.h>

#include <algorithm>
#include <optional>
#include <set>

#include "blockstore/base/str_cat.h"
#include "control/cli/host/mountinfo.h"
#include "control/cli/process/files.h"
#include "control/text/name.h"

namespace volfs::cli {
namespace {

// Collects the files that one process uses.
class Process {
 public:
  Process(const PathPredicate& matches, const std::string& proc, const std::string& pid)
      : matches_(matches), folder_(StrCat(proc, "/", pid)), pid_(std::stoi(pid)) {}

  std::vector<User> Users() {
    AddOpenFiles();
    AddLink("cwd", "working directory");
    AddLink("root", "root directory");
    AddLink("exe", "program");
    AddMappings();
    return std::move(users_);
  }

 private:
  void Add(std::string_view path, const char* how) {
    constexpr std::string_view kDeleted = " (deleted)";
    if (path.ends_with(kDeleted)) path.remove_suffix(kDeleted.size());
    if (!matches_(path)) return;
    const bool known = std::any_of(users_.begin(), users_.end(),
                                   [path](const User& user) { return user.path == path; });
    if (known) return;
    if (!command_) command_ = ReadValue(folder_ + "/comm").value_or("?");
    users_.push_back({pid_, *command_, how, std::string(path)});
  }

  void AddLink(const char* link, const char* how) {
    if (const auto path = ReadLink(StrCat(folder_, "/", link))) Add(*path, how);
  }

  void AddOpenFiles() {
    const auto names = ListDirectory(folder_ + "/fd");
    if (!names.ok()) return;
    for (const std::string& name : names.value()) {
      if (const auto path = ReadLink(StrCat(folder_, "/fd/", name))) Add(*path, "open");
    }
  }

  // proc(5): address perms offset dev inode, blanks, pathname to the end of the line
  void AddMappings() {
    const auto text = ReadFile(folder_ + "/maps");
    if (!text.ok()) return;
    for (const std::string_view line : SplitLines(text.value())) {
      const size_t slash = line.find('/');
      if (slash != line.npos) Add(line.substr(slash), "mapped");
    }
  }

  const PathPredicate& matches_;
  const std::string folder_;
  const int pid_;
  std::optional<std::string> command_;
  std::vector<User> users_;
};

bool IsOther(const std::string& name) {
  constexpr size_t kMaxDigits = 9;
  return name.size() <= kMaxDigits && ParseNumber(name).has_value() &&
         name != std::to_string(::getpid());
}

}  // namespace

std::vector<User> FindUsers(const PathPredicate& matches, const std::string& proc) {
  std::vector<User> users;
  const auto names = ListDirectory(proc);
  if (!names.ok()) return users;
  for (const std::string& name : names.value()) {
    if (!IsOther(name)) continue;
    std::vector<User> found = Process(matches, proc, name).Users();
    users.insert(users.end(), found.begin(), found.end());
  }
  std::stable_sort(users.begin(), users.end(),
                   [](const User& a, const User& b) { return a.pid < b.pid; });
  return users;
}

std::vector<User> FindOtherNamespaces(std::string_view device, const std::string& proc) {
  std::vector<User> users;
  const auto names = ListDirectory(proc);
  if (!names.ok()) return users;
  std::set<std::string> seen = {ReadLink(proc + "/self/ns/mnt").value_or("")};
  for (const std::string& name : names.value()) {
    if (!IsOther(name)) continue;
    const std::string directory = StrCat(proc, "/", name);
    const auto space = ReadLink(directory + "/ns/mnt");
    if (!space || !seen.insert(*space).second) continue;
    const auto text = ReadFile(directory + "/mountinfo");
    if (!text.ok()) continue;
    for (const MountEntry& mount : ParseMountInfo(text.value())) {
      if (mount.device != device) continue;
      users.push_back({std::stoi(name), ReadValue(directory + "/comm").value_or("?"),
                       "mounted in its namespace", mount.mountpoint});
      break;
    }
  }
  return users;
}

std::string UserText(const User& user) {
  return StrCat(user.pid, " ", OneLine(user.command), ": ", user.how, " ", OneLine(user.path));
}

}  // namespace volfs::cli
