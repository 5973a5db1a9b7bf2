#pragma once

#include <string>
#include <vector>

namespace volfs {

struct CommandRun {
  int exit_code = -1;
  std::string output;  // of both streams
};

// Runs `volfs WORDS...` (any command but mount) in a process of its own, because a node's lock
// belongs to a process.
CommandRun RunVolfsCommand(std::vector<std::string> words);

}  // namespace volfs
