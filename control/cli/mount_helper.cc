#include "control/cli/mount_helper.h"

#include <chrono>
#include <filesystem>

#include "blockstore/base/str_cat.h"
#include "control/cli/process/bounded.h"
#include "control/cli/process/failure.h"
#include "control/cli/process/files.h"
#include "control/cli/process/supervisor.h"

namespace volfs::cli {
namespace {

// The letters of "-sfnv". Sloppy, no mtab and verbose say nothing to us.
Status ParseLetters(const std::string& word, MountHelperCall& call) {
  for (const char letter : std::string_view(word).substr(1)) {
    if (letter == 'f') {
      call.fake = true;
    } else if (letter != 's' && letter != 'n' && letter != 'v' && letter != 'w' && letter != 'r') {
      return UsageFailure(StrCat("-", letter, ": unknown option"));
    }
    if (letter == 'r') call.arguments.options.emplace_back("ro");
  }
  return OkStatus();
}

// -o OPTS, -t TYPE, -N NAMESPACE: letters with a word of their own.
bool TakesWord(const std::string& word) { return word == "-o" || word == "-t" || word == "-N"; }

}  // namespace

bool IsMountHelperName(std::string_view program) {
  return program == kMountHelperName || program == "mount.fuse.volfs";
}

Result<MountHelperCall> ParseMountHelper(const std::vector<std::string>& words) {
  MountHelperCall call;
  call.arguments.through_helper = true;
  std::vector<std::string> paths;
  for (size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    if (TakesWord(word)) {
      if (++i == words.size()) return UsageFailure(word + ": a word is missing behind it");
      if (word != "-o") continue;
      const std::vector<std::string> options = SplitAt(words[i], ',');
      call.arguments.options.insert(call.arguments.options.end(), options.begin(), options.end());
    } else if (word.starts_with('-') && word.size() > 1) {
      RETURN_IF_ERROR(ParseLetters(word, call));
    } else {
      paths.push_back(word);
    }
  }
  if (paths.size() != 2) return UsageFailure("usage: mount.volfs DIR1:DIR2 MNT [-sfnv] [-o OPTS]");
  call.arguments.mountpoint = paths[1];
  call.arguments.nodes = SplitNodeDirectories({paths[0]});
  return call;
}

std::vector<std::string> SplitNodeDirectories(const std::vector<std::string>& words) {
  std::vector<std::string> directories;
  for (const std::string& word : words) {
    const Touching touching(StrCat("node directory ", word));
    std::error_code error;
    if (std::filesystem::exists(word, error)) {
      directories.push_back(word);
      continue;
    }
    const std::vector<std::string> parts = SplitAt(word, ':');
    directories.insert(directories.end(), parts.begin(), parts.end());
  }
  return directories;
}

Status CheckNodeDirectoriesAnswer(const std::vector<std::string>& paths) {
  const PathsFound found = LookAtPaths(paths, std::chrono::seconds(kPatienceSeconds));
  if (found.silent.empty()) return OkStatus();
  return Error{Errc::kNodeDown, StrCat("node directory ", found.silent.front(),
                                       " does not answer (", kPatienceSeconds, " s)")};
}

}  // namespace volfs::cli
