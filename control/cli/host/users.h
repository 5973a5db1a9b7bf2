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
  std::string path;  // of the file that it uses
};

// Returns the processes that use a path for which `matches` is true, each path once per process,
// with the first way in the order above. This process is left out. Only root sees the files that
// other users' processes use. Reads links in /proc and touches no file that they point at.
using PathPredicate = std::function<bool(std::string_view)>;
std::vector<User> FindUsers(const PathPredicate& matches, const std::string& proc = "/proc");

// Returns one process of each other namespace of mounts in which the filesystem with this device
// number ("0:52") is mounted too. Its `how` is "mounted in its namespace", its `path` the
// mountpoint there. Only root sees processes of other users.
std::vector<User> FindOtherNamespaces(std::string_view device, const std::string& proc = "/proc");

// Returns "1234 bash: working directory /mnt/v/volumes" as one line that is safe to print, even if
// the process chose a harmful name.
std::string UserText(const User& user);

}  // namespace volfs::cli
