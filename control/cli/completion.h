#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "blockstore/base/error.h"

namespace volfs::cli {

// Completes a command line that is being typed in a shell. `volfs completion SHELL` prints a script
// that asks `volfs __complete WORDS...` at each press of the tab key, so that the options of the
// command and the names of the mount have no second list.

// The meaning of a word of a command line.
enum class WordKind {
  kText,      // nothing to suggest: a new name, a size, a UUID
  kChoice,    // one of WordShape::choices
  kChoices,   // several of them, with commas between them
  kVolume,    // a volume of the mount
  kSnapshot,  // VOLUME@SNAP
  kImage,     // either
  kNode,
  kType,   // a volume type
  kMount,  // where a volfs is mounted
  kFile,
  kDirectory,
};

struct WordShape {
  WordKind kind = WordKind::kText;
  std::vector<std::string> choices = {};
  bool repeats = false;
};

struct OptionShape {
  std::vector<std::string> spellings;  // "-J", "--json"
  std::string says;
  std::optional<WordShape> word;  // that follows it; nothing for a flag
};

// The commands as a tree, without their parser.
struct CommandShape {
  std::string name;
  std::string says;
  std::vector<OptionShape> options;
  std::vector<WordShape> words;  // in their order
  std::vector<CommandShape> below;
};

struct Suggestion {
  std::string text;
  std::string says = {};
  bool operator==(const Suggestion&) const = default;
};
// The shell itself completes these.
inline constexpr std::string_view kSuggestFiles = ":files";
inline constexpr std::string_view kSuggestDirectories = ":directories";

// Returns the names of one kind on a mount, for the word that was typed so far. `mount` is that of
// --mount, "" if there is none.
using NamesOnMount = std::function<std::vector<std::string>(WordKind kind, const std::string& typed,
                                                            const std::string& mount)>;

// Reads the names from the files of the mount. A mount that cannot be found or asked has none.
std::vector<std::string> ReadNamesOnMount(WordKind kind, const std::string& typed,
                                          const std::string& mount);

// Suggests the last of `words`, the command line without the program's name, of which an empty last
// word says that nothing of it was typed yet. Each suggestion begins with the text of that word.
std::vector<Suggestion> Complete(const CommandShape& program, const std::vector<std::string>& words,
                                 const NamesOnMount& names = ReadNamesOnMount);

// The first word of a command line of which the others are to be completed.
inline constexpr std::string_view kCompleteWord = "__complete";

// The shells that have a script.
std::vector<std::string> CompletionShells();

// Returns the script of a shell. kInvalid names the shells that there are.
Result<std::string> CompletionScript(const std::string& shell);

}  // namespace volfs::cli
