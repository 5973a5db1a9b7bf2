#pragma once

#include <string>
#include <vector>

namespace volfs {

struct CommandRun {
  int exit_code = -1;
  std::string output;  // of both streams
};

// Runs `volfs WORDS...` (any command but mount) in a process of its own: a node's lock is the
// process's.
CommandRun RunVolfsCommand(std::vector<std::string> words);

}  // namespace volfs
