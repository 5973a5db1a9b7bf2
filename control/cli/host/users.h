#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace volfs::cli {

// A process that uses a file.
struct User {
  int pid = 0;
  std::string command;
  std::string how;   // "open", "working directory", "root directory", "program", "mapped"
  std::string path;  // of what it uses
};

// The processes that use a path for which `matches` is true: each path once for each process, with
// the first way in the order above. This process is left out; of other users' processes only root
// sees what they use. Reads links in /proc and touches no file that they point at.
using PathPredicate = std::function<bool(std::string_view)>;
std::vector<User> FindUsers(const PathPredicate& matches, const std::string& proc = "/proc");

// The processes, one of each other namespace of mounts, in which the filesystem with this device
// number ("0:52") is mounted too: `how` is "mounted in its namespace", `path` its mountpoint there.
// Only root sees those of other users.
std::vector<User> FindOtherNamespaces(std::string_view device, const std::string& proc = "/proc");

// "1234 bash: working directory /mnt/v/volumes"; one line, safe to print, whatever the process
// calls itself.
std::string UserText(const User& user);

}  // namespace volfs::cli
