#include "control/cli/completion.h"

#include <algorithm>
#include <array>
#include <set>

#include "blockstore/base/safe_text.h"
#include "blockstore/base/str_cat.h"
#include "control/cli/client.h"
#include "control/cli/host/mountinfo.h"
#include "control/cli/process/failure.h"
#include "control/cli/process/files.h"
#include "control/cli/process/output.h"
#include "control/cli/target.h"
#include "control/text/name.h"

namespace volfs::cli {
namespace {

// ---- the names of a mount

std::vector<std::string> Listed(const std::string& directory) {
  const auto names = ListDirectory(directory);
  return names.ok() ? names.value() : std::vector<std::string>{};
}

// "db@" for each volume with snapshots; behind the "@" the snapshots.
std::vector<std::string> SnapshotsFor(const Client& client, const std::string& typed) {
  const size_t at = typed.find('@');
  const std::string volume = typed.substr(0, at);
  const bool has_volume = at != typed.npos;
  std::vector<std::string> names =
      Listed(client.PathOf(has_volume ? StrCat("snapshots/", volume) : "snapshots"));
  for (std::string& name : names) name = has_volume ? StrCat(volume, "@", name) : StrCat(name, "@");
  return names;
}

std::vector<std::string> TypesOn(const Client& client) {
  std::set<std::string> types;
  for (const std::string& node : Listed(client.PathOf("control/nodes"))) {
    const auto offered = client.ReadControl(StrCat("nodes/", node, "/types"));
    if (!offered.ok()) continue;
    for (const std::string_view word : SplitWords(offered.value())) {
      for (const std::string& type : SplitAt(word, ','))
        types.insert(type.substr(0, type.find(':')));
    }
  }
  std::vector<std::string> names(types.begin(), types.end());
  for (std::string& name : names) std::erase(name, '\n');
  return names;
}

std::vector<std::string> Mountpoints() {
  std::vector<std::string> paths;
  const auto mounts = ReadMountInfo();
  if (!mounts.ok()) return paths;
  for (const MountEntry& mount : VolfsMounts(mounts.value())) paths.push_back(mount.mountpoint);
  return paths;
}

std::vector<std::string> ReadNames(WordKind kind, const std::string& typed,
                                   const std::string& mount) {
  if (kind == WordKind::kMount) return Mountpoints();
  const Result<Client> client = Targets(mount).Mount();
  if (!client.ok()) return {};
  if (kind == WordKind::kNode) return Listed(client.value().PathOf("control/nodes"));
  if (kind == WordKind::kType) return TypesOn(client.value());
  if (kind == WordKind::kSnapshot) return SnapshotsFor(client.value(), typed);
  std::vector<std::string> names = Listed(client.value().PathOf("volumes"));
  if (kind == WordKind::kImage) {
    const std::vector<std::string> snapshots = SnapshotsFor(client.value(), typed);
    names.insert(names.end(), snapshots.begin(), snapshots.end());
  }
  return names;
}

// ---- the command line so far

// The state behind the words that stand before the one that is being typed.
struct Place {
  const CommandShape* command = nullptr;
  const OptionShape* option = nullptr;  // its word comes next
  size_t position = 0;                  // of the next word that is no option
  bool only_words = false;              // behind "--"
  std::string mount;
};

const OptionShape* FindOption(const CommandShape& command, const std::string& spelling) {
  for (const OptionShape& option : command.options) {
    const auto& all = option.spellings;
    if (std::find(all.begin(), all.end(), spelling) != all.end()) return &option;
  }
  return nullptr;
}

const CommandShape* FindCommand(const CommandShape& command, const std::string& name) {
  const auto found = std::find_if(command.below.begin(), command.below.end(),
                                  [&](const CommandShape& one) { return one.name == name; });
  return found == command.below.end() ? nullptr : &*found;
}

void GiveWord(Place& place, const OptionShape& option, const std::string& word) {
  if (option.word->kind == WordKind::kMount) place.mount = word;
}

void PassOption(Place& place, const std::string& word) {
  const size_t equals = word.find('=');
  const OptionShape* option = FindOption(*place.command, word.substr(0, equals));
  if (option == nullptr || !option->word) return;
  if (equals == word.npos) {
    place.option = option;
  } else {
    GiveWord(place, *option, word.substr(equals + 1));
  }
}

void Pass(Place& place, const std::string& word) {
  if (place.option != nullptr) {
    GiveWord(place, *place.option, word);
    place.option = nullptr;
  } else if (word == "--") {
    place.only_words = true;
  } else if (!place.only_words && word.starts_with('-')) {
    PassOption(place, word);
  } else if (const CommandShape* below = FindCommand(*place.command, word)) {
    place.command = below;
  } else {
    ++place.position;
  }
}

// ---- suggestions

class Suggester {
 public:
  Suggester(const NamesOnMount& names, std::string mount)
      : names_(names), mount_(std::move(mount)) {}

  // Suggests words of this shape, of which `typed` is there. `before` stands before them, and in
  // the same word of the shell.
  void Words(const WordShape& shape, const std::string& typed, const std::string& before = "") {
    switch (shape.kind) {
      case WordKind::kText:
        return;
      case WordKind::kChoice:
        return All(shape.choices, typed, before);
      case WordKind::kChoices: {
        const size_t comma = typed.rfind(',');
        const size_t begin = comma == typed.npos ? 0 : comma + 1;
        return All(shape.choices, typed.substr(begin), before + typed.substr(0, begin));
      }
      case WordKind::kFile:
        return Add(std::string(kSuggestFiles));
      case WordKind::kDirectory:
        return Add(std::string(kSuggestDirectories));
      default:
        break;
    }
    const bool path = typed.find('/') != typed.npos && shape.kind != WordKind::kMount;
    if (path) return Add(std::string(kSuggestFiles));
    All(names_(shape.kind, typed, mount_), typed, before);
  }

  void Options(const CommandShape& command, const std::string& typed) {
    for (const OptionShape& option : command.options) {
      for (const std::string& spelling : option.spellings) {
        if (spelling.starts_with(typed)) Add(spelling, option.says);
      }
    }
  }

  void Commands(const CommandShape& command, const std::string& typed) {
    for (const CommandShape& below : command.below) {
      if (below.name.starts_with(typed)) Add(below.name, below.says);
    }
  }

  std::vector<Suggestion> Take() { return std::move(suggestions_); }

 private:
  void Add(std::string text, std::string says = "") {
    suggestions_.push_back({std::move(text), std::move(says)});
  }

  void All(const std::vector<std::string>& names, const std::string& typed,
           const std::string& before) {
    for (const std::string& name : names) {
      if (name.starts_with(typed)) Add(before + name);
    }
  }

  const NamesOnMount& names_;
  const std::string mount_;
  std::vector<Suggestion> suggestions_;
};

// The word at `position`; the last one may repeat.
const WordShape* WordAt(const CommandShape& command, size_t position) {
  if (command.words.empty()) return nullptr;
  if (position < command.words.size()) return &command.words[position];
  return command.words.back().repeats ? &command.words.back() : nullptr;
}

void SuggestOption(Suggester& suggester, const CommandShape& command, const std::string& typed) {
  const size_t equals = typed.find('=');
  if (equals == typed.npos) return suggester.Options(command, typed);
  const OptionShape* option = FindOption(command, typed.substr(0, equals));
  if (option == nullptr || !option->word) return;
  suggester.Words(*option->word, typed.substr(equals + 1), typed.substr(0, equals + 1));
}

// ---- the scripts

struct Script {
  std::string_view shell;
  std::string_view text;
};

// A shell cuts its words at more characters than blanks ("@" and "=" among them), so the line is
// cut here, and the shell is given the part of each suggestion behind the last such character.
constexpr std::string_view kBash =
    R"(# bash completion for volfs(1), printed by `volfs completion bash`
_volfs() {
  local line=${COMP_LINE:0:COMP_POINT} word current before
  local -a words
  read -ra words <<<"$line"
  ((${#words[@]})) || return 0
  [[ $line == *[[:space:]] ]] && words+=('')
  current=${words[-1]}
  before=${current%"${current##*["$COMP_WORDBREAKS"]}"}
  COMPREPLY=()
  while IFS= read -r word; do
    case $word in
      :directories | :files)
        compopt -o filenames
        [[ $word == :files ]] && word=-f || word=-d
        while IFS= read -r word; do COMPREPLY+=("$word"); done < <(compgen "$word" -- "$current")
        ;;
      *)
        word=${word%%$'\t'*}
        [[ $word == *[=@] ]] && compopt -o nospace
        word=${word#"$before"}
        [[ $word == *[^[:alnum:]_.,:@=/+%-]* ]] && printf -v word %q "$word"
        COMPREPLY+=("$word")
        ;;
    esac
  done < <("${words[0]}" __complete "${words[@]:1}" 2>/dev/null)
}
complete -F _volfs volfs
)";

constexpr std::string_view kZsh = R"(#compdef volfs
# zsh completion for volfs(1), printed by `volfs completion zsh`
_volfs() {
  local line word
  local -a said open
  while IFS= read -r line; do
    case $line in
      :directories) _files -/ ;;
      :files) _files ;;
      *)
        word=${line%%$'\t'*}
        line=${${line#"$word"}#$'\t'}
        if [[ $word == *[=@] ]]; then
          open+=("$word")
        else
          said+=("${word//:/\\:}${line:+:$line}")
        fi
        ;;
    esac
  done < <("${words[1]}" __complete "${(@)words[2,CURRENT]}" 2>/dev/null)
  (( $#said )) && _describe volfs said
  (( $#open )) && compadd -S '' -- "${open[@]}"
  (( $#said + $#open ))
}
if [ "$funcstack[1]" = _volfs ]; then
  _volfs "$@"
else
  compdef _volfs volfs
fi
)";

constexpr std::array<Script, 2> kScripts = {{{"bash", kBash}, {"zsh", kZsh}}};

}  // namespace

std::vector<std::string> ReadNamesOnMount(WordKind kind, const std::string& typed,
                                          const std::string& mount) {
  std::vector<std::string> names = ReadNames(kind, typed, mount);
  // Any user may mount, and on a directory of any name.
  std::erase_if(names, [](const std::string& name) { return SafeText(name) != name; });
  return names;
}

std::vector<Suggestion> Complete(const CommandShape& program, const std::vector<std::string>& words,
                                 const NamesOnMount& names) {
  if (words.empty()) return {};
  Place place;
  place.command = &program;
  for (size_t i = 0; i + 1 < words.size(); ++i) Pass(place, words[i]);
  const std::string& typed = words.back();
  Suggester suggester(names, place.mount);
  if (place.option != nullptr) {
    suggester.Words(*place.option->word, typed);
  } else if (!place.only_words && typed.starts_with('-')) {
    SuggestOption(suggester, *place.command, typed);
  } else {
    suggester.Commands(*place.command, typed);
    const WordShape* word = WordAt(*place.command, place.position);
    if (word != nullptr) suggester.Words(*word, typed);
  }
  return suggester.Take();
}

std::vector<std::string> CompletionShells() {
  std::vector<std::string> shells;
  shells.reserve(kScripts.size());
  for (const Script& script : kScripts) shells.emplace_back(script.shell);
  return shells;
}

Result<std::string> CompletionScript(const std::string& shell) {
  for (const Script& script : kScripts) {
    if (script.shell == shell) return std::string(script.text);
  }
  std::string message = "there is a completion for";
  for (const Script& script : kScripts) message += StrCat(" ", script.shell);
  return UsageFailure(StrCat(message, ", but none for ", OneLine(shell)));
}

}  // namespace volfs::cli
