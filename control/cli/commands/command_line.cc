#include "control/cli/commands/command_line.h"

#include <CLI/CLI.hpp>
#include <map>

#include "blockstore/base/str_cat.h"
#include "control/cli/commands/command_variables.h"
#include "control/cli/completion.h"
#include "control/cli/mount_helper.h"
#include "control/cli/process/failure.h"
#include "control/cli/process/output.h"
#include "control/text/name.h"

namespace volfs::cli {
namespace {

constexpr std::string_view kCheckCommand = "volfs check";

}  // namespace

// Builds the commands. Each Add declares the options and the action of one command.
class CommandBuilder {
 public:
  CommandBuilder(CLI::App& app, CommandVariables& line, const CommandLineParts& parts)
      : app_(app), line_(line), parts_(parts) {}

  void AddAll() {
    TakesMount(&app_);  // before the command is as good as behind it
    TakesJson(&app_);
    AddMount();
    AddUnmount();
    AddCreate();
    AddClone();
    AddSnapshot();
    AddRestore();
    AddRevert();
    AddRemove();
    AddPrune();
    AddResize();
    AddMove();
    AddCancel();
    AddList();
    AddStatus();
    AddMap();
    AddDiff();
    AddEvents();
    AddAttach();
    AddDetach();
    AddNode();
    AddCheck();
    AddDoctor();
    AddCompletion();
  }

  // The commands at and below `app`, for completion.
  [[nodiscard]] CommandShape ShapeOf(const CLI::App& app) const {
    CommandShape shape{app.get_name(), app.get_description(), {}, {}, {}};
    for (const CLI::Option* option : app.get_options()) {
      option->get_positional() ? shape.words.push_back(WordOf(option))
                               : shape.options.push_back(OptionOf(option));
    }
    for (const CLI::App* below : app.get_subcommands([](const CLI::App*) { return true; })) {
      shape.below.push_back(ShapeOf(*below));
    }
    return shape;
  }

 private:
  using Function = std::function<Status()>;

  CLI::App* Add(CLI::App& parent, const std::string& name, const std::string& says) {
    CLI::App* command = parent.add_subcommand(name, says);
    command->set_help_flag("-h,--help", "Print this help and exit");
    return command;
  }

  CLI::App* Add(const std::string& name, const std::string& says) { return Add(app_, name, says); }

  void Does(CLI::App* command, const std::string& name, Function function) {
    TakesJson(command);
    command->callback([&line = line_, name = "volfs " + name, function = std::move(function)] {
      line.name = name;
      line.run = [name, function] { return Report(name, function()); };
    });
  }

  void TakesMount(CLI::App* command) {
    Option(command, "--mount", line_.common.mount, "MNT",
           "The mount, if no path tells it; default: VOLFS_MOUNT", WordKind::kMount);
  }

  void TakesJson(CLI::App* command) {
    command->add_flag("-J,--json", line_.common.json, "Print JSON; a failure as JSON, too");
  }

  [[nodiscard]] WordShape WordOf(const CLI::Option* option) const {
    const auto known = words_.find(option);
    WordShape word = known == words_.end() ? WordShape{} : known->second;
    word.repeats = option->get_items_expected_max() > 1;
    return word;
  }

  [[nodiscard]] OptionShape OptionOf(const CLI::Option* option) const {
    OptionShape shape{{}, option->get_description(), std::nullopt};
    for (const std::string& name : option->get_snames()) shape.spellings.push_back("-" + name);
    for (const std::string& name : option->get_lnames()) shape.spellings.push_back("--" + name);
    if (option->get_items_expected_max() > 0) shape.word = WordOf(option);
    return shape;
  }

  template <typename Value>
  CLI::Option* Word(CLI::App* command, const std::string& name, Value& value,
                    const std::string& says, WordKind kind = WordKind::kText) {
    return MaybeWord(command, name, value, says, kind)->required();
  }

  template <typename Value>
  CLI::Option* MaybeWord(CLI::App* command, const std::string& name, Value& value,
                         const std::string& says, WordKind kind = WordKind::kText) {
    CLI::Option* word = command->add_option(name, value, says)->type_name("");
    words_[word] = {kind, {}, false};
    return word;
  }

  template <typename Value>
  CLI::Option* Option(CLI::App* command, const std::string& name, Value& value,
                      const std::string& type, const std::string& says,
                      WordKind kind = WordKind::kText) {
    return MaybeWord(command, name, value, says, kind)->type_name(type);
  }

  void Chooses(const CLI::Option* option, WordKind kind, std::vector<std::string> choices) {
    words_[option] = {kind, std::move(choices), false};
  }

  void AddMount() {
    CLI::App* command = Add("mount", "Mount nodes; returns when the mount is usable");
    MaybeWord(command, "PATHS", line_.mount_paths,
              "NODE_DIR... MOUNTPOINT (DIR1:DIR2 is two directories, if there is no such path)",
              WordKind::kDirectory);
    command->add_flag("-f,--foreground", line_.mount.foreground, "Stay in the foreground");
    CLI::Option* options = Option(command, "-o", line_.mount.options, "OPT,...",
                                  "Mount options, with commas between them");
    Chooses(options->delimiter(',')->allow_extra_args(false), WordKind::kChoices,
            parts_.mount_options);
    Option(command, "--config", line_.mount.config_file, "FILE",
           "A TOML file: nodes, types of new nodes, limits, options", WordKind::kFile);
    TakesJson(command);
    command->callback([this] {
      line_.name = "volfs mount";
      line_.run = [this] { return Mount(); };
    });
  }

  int Mount() {
    std::vector<std::string>& paths = line_.mount_paths;
    const bool configured = !line_.mount.config_file.empty();  // that may name all of them
    if (!configured && paths.size() < 2) {
      return Report(line_.name, UsageFailure("give at least one node directory and then the "
                                             "mountpoint: volfs mount NODE_DIR... MOUNTPOINT"));
    }
    if (!paths.empty()) line_.mount.mountpoint = paths.back();
    if (!paths.empty()) paths.pop_back();
    if (line_.mount.foreground) {  // there is no watcher
      const Status answer = CheckNodeDirectoriesAnswer(paths);
      if (!answer.ok()) return Report(line_.name, answer);
    }
    line_.mount.nodes = SplitNodeDirectories(paths);
    line_.mount.json = line_.common.json;
    return parts_.mount(line_.mount);
  }

  void AddUnmount() {
    CLI::App* command = Add("umount", "Unmount; returns when the daemon is gone");
    Word(command, "MNT", line_.first, "The mountpoint", WordKind::kMount);
    command->add_flag("--force", line_.flag,
                      "Unmount even if acknowledged data cannot be made durable");
    Does(command, "umount", [this] { return Unmount(line_.common, line_.first, line_.flag); });
  }

  void AddCreate() {
    CLI::App* command = Add("create", "Make an empty volume");
    Word(command, "NAME", line_.create.name, "The new volume's name");
    Word(command, "SIZE", line_.create.size,
         "Bytes, or with K M G T P or KiB ... (1024) or KB MB ... (1000)");
    Option(command, "--type", line_.create.type, "TYPE", "Its volume type", WordKind::kType);
    Option(command, "--node", line_.create.node, "NODE", "The node that it shall live on",
           WordKind::kNode);
    CLI::Option* io = Option(command, "--io", line_.create.io, "native|daemon",
                             "The kernel or the daemon serves it; see volfs-create(1)");
    Chooses(io, WordKind::kChoice, {"native", "daemon"});
    TakesMount(command);
    Does(command, "create", [this] { return Create(line_.common, line_.create); });
  }

  void TakesCloneOptions(CLI::App* command) {
    CloneOptions& options = line_.clone;
    Option(command, "--size", options.size, "SIZE", "Its size, not less than the source's");
    Option(command, "--type", options.type, "TYPE", "Its volume type, if not the source's",
           WordKind::kType);
    Option(command, "--node", options.node, "NODE", "The node that it shall live on",
           WordKind::kNode);
    command->add_flag("--linked", options.linked,
                      "On the source's node, sharing its blocks: whole at once");
    command->add_flag("--verify", options.verify,
                      "Read each copied range back from the disk, and compare");
    command->add_flag("--wait", options.wait,
                      "Wait until it is whole, with a progress bar on a terminal");
    TakesMount(command);
  }

  void TakesFreezing(CLI::App* command, FreezeOptions& freeze) {
    command->add_flag("--freeze", freeze.filesystems,
                      "Freeze the filesystem that is mounted from SRC meanwhile; needs root");
    Option(command, "--agent", freeze.agent, "SOCKET",
           "Have a QEMU guest agent freeze its guest instead, whose disk SRC is", WordKind::kFile);
  }

  void AddClone() {
    CLI::App* command =
        Add("clone", "Copy a volume as it is at this instant, also while it is in use");
    Word(command, "SRC", line_.clone.source, "A volume, or VOLUME@SNAP", WordKind::kImage);
    MaybeWord(command, "NAME", line_.clone.name, "The new volume's name, if not SRC-clone");
    TakesFreezing(command, line_.clone.freeze);
    TakesCloneOptions(command);
    command->footer(kSameUuids);
    Does(command, "clone", [this] { return Clone(line_.common, line_.clone); });
  }

  void AddSnapshot() {
    CLI::App* command = Add("snapshot", "Keep a read-only image of this instant");
    Word(command, "SRC", line_.snapshot.source, "The volume", WordKind::kVolume);
    Word(command, "NAME", line_.snapshot.name, "Its name, or a template of strftime(3)");
    TakesFreezing(command, line_.snapshot.freeze);
    TakesMount(command);
    Does(command, "snapshot", [this] { return Snapshot(line_.common, line_.snapshot); });
  }

  void AddRestore() {
    CLI::App* command = Add("restore", "Make a volume from a snapshot");
    Word(command, "SRC@SNAP", line_.clone.source, "The snapshot", WordKind::kSnapshot);
    Word(command, "NAME", line_.clone.name, "The new volume's name");
    TakesCloneOptions(command);
    command->footer(kSameUuids);
    Does(command, "restore", [this] { return Restore(line_.common, line_.clone); });
  }

  void AddRevert() {
    CLI::App* command = Add("revert", "Put a volume back to one of its snapshots");
    Word(command, "SRC@SNAP", line_.first, "The snapshot; later writes are lost",
         WordKind::kSnapshot);
    TakesMount(command);
    Does(command, "revert", [this] { return Revert(line_.common, line_.first); });
  }

  void AddRemove() {
    CLI::App* command = Add("rm", "Delete volumes and snapshots");
    Word(command, "NAME", line_.names, "Volumes, or VOLUME@SNAP", WordKind::kImage);
    TakesMount(command);
    Does(command, "rm", [this] { return Remove(line_.common, line_.names); });
  }

  void AddPrune() {
    CLI::App* command = Add("prune", "Delete a volume's snapshots, but those that rules keep");
    Word(command, "VOLUME", line_.prune.volume, "The volume", WordKind::kVolume);
    for (KeepRule& rule : line_.prune.rules)
      Option(command, rule.option, rule.count, "N", rule.says);
    command->add_flag("--dry-run", line_.prune.dry_run, "Delete nothing; say what would be");
    TakesMount(command);
    Does(command, "prune", [this] { return Prune(line_.common, line_.prune); });
  }

  void AddResize() {
    CLI::App* command = Add("resize", "Give a volume another size");
    Word(command, "NAME", line_.first, "The volume", WordKind::kVolume);
    Word(command, "SIZE", line_.second, "Its new size; smaller only where the mount allows it");
    TakesMount(command);
    Does(command, "resize", [this] { return Resize(line_.common, line_.first, line_.second); });
  }

  void AddMove() {
    CLI::App* command = Add("mv", "Rename a volume or a snapshot");
    Word(command, "A", line_.first, "Its name now", WordKind::kImage);
    Word(command, "B", line_.second, "Its new name; nothing is ever replaced");
    TakesMount(command);
    Does(command, "mv", [this] { return Move(line_.common, line_.first, line_.second); });
  }

  void AddCancel() {
    CLI::App* command = Add("cancel", "Stop a clone that is not whole, and delete it");
    Word(command, "NAME", line_.first, "The clone", WordKind::kVolume);
    TakesMount(command);
    Does(command, "cancel", [this] { return Cancel(line_.common, line_.first); });
  }

  void AddList() {
    CLI::App* command = Add("ls", "List the volumes, or snapshots");
    CLI::Option* of = MaybeWord(command, "VOLUME", line_.list.volume, "With -s", WordKind::kVolume);
    command->add_flag("-l", line_.list.details, "With status, size, node, type and progress");
    of->needs(command->add_flag("-s", line_.list.snapshots, "Snapshots instead, of VOLUME or all"));
    TakesMount(command);
    Does(command, "ls", [this] { return List(line_.common, line_.list); });
  }

  void AddStatus() {
    CLI::App* command = Add("status", "Show the state of all volumes, or all about one");
    MaybeWord(command, "NAME", line_.status.name, "The volume, or VOLUME@SNAP", WordKind::kImage);
    command->add_flag("--watch", line_.status.watch, "Again and again, until interrupted");
    TakesMount(command);
    Does(command, "status", [this] { return ShowStatus(line_.common, line_.status); });
  }

  void AddMap() {
    CLI::App* command = Add("map", "Show which ranges are in which layer on which node");
    Word(command, "NAME", line_.first, "The volume, or VOLUME@SNAP", WordKind::kImage);
    TakesMount(command);
    Does(command, "map", [this] { return ShowMap(line_.common, line_.first); });
  }

  void AddDiff() {
    CLI::App* command = Add("diff", "Show which ranges have changed since a snapshot");
    Word(command, "V@A", line_.first, "The snapshot", WordKind::kSnapshot);
    MaybeWord(command, "V@B", line_.second, "A later one, if not the volume as it is now",
              WordKind::kSnapshot);
    TakesMount(command);
    Does(command, "diff", [this] { return ShowDiff(line_.common, line_.first, line_.second); });
  }

  void AddEvents() {
    CLI::App* command = Add("events", "Print events from now on, a line each");
    TakesMount(command);
    Does(command, "events", [this] { return ShowEvents(line_.common); });
  }

  void AddAttach() {
    CLI::App* command = Add("attach", "Make a loop device of an image, with its partitions");
    Word(command, "NAME", line_.first, "The volume, or VOLUME@SNAP with --ro", WordKind::kImage);
    command->add_flag("--ro", line_.flag, "Read-only");
    TakesMount(command);
    Does(command, "attach", [this] { return Attach(line_.common, line_.first, line_.flag); });
  }

  void AddDetach() {
    CLI::App* command = Add("detach", "Give up the loop device of an image");
    Word(command, "NAME", line_.first, "The volume, VOLUME@SNAP, or /dev/loopN", WordKind::kImage);
    TakesMount(command);
    Does(command, "detach", [this] { return Detach(line_.common, line_.first); });
  }

  void AddNode() {
    CLI::App* node = Add("node", "Make, change and show nodes");
    node->require_subcommand(1);
    CLI::App* list = Add(*node, "ls", "List the nodes of the mount");
    TakesMount(list);
    Does(list, "node ls", [this] { return ListNodes(line_.common); });

    CLI::App* init = Add(*node, "init", "Make an empty directory a node");
    Word(init, "DIR", line_.node.directory, "The directory; its mode becomes 0700",
         WordKind::kDirectory);
    Option(init, "--name", line_.node.name, "N", "Its name, if not the directory's");
    Option(init, "--region", line_.node.region, "R", "Its region, if not \"default\"");
    Option(init, "--types", line_.node.types, "NAME[:LEAST-GREATEST],...",
           "The volume types that it offers, if not \"standard\"");
    Does(init, "node init", [this] { return InitNodeDirectory(line_.common, line_.node); });

    CLI::App* set = Add(*node, "set", "Change a node that is not mounted");
    Word(set, "DIR", line_.node_set.directory, "The node's directory", WordKind::kDirectory);
    // Not called KEY=VALUE: CLI11 2.4 takes no such name, and ends the program.
    CLI::Option* settings =
        MaybeWord(set, "SETTING", line_.node_set.assignments,
                  "KEY=VALUE: name=N, region=R, types=NAME[:LEAST-GREATEST],...");
    Chooses(settings, WordKind::kChoice, NodeSettings());
    Does(set, "node set", [this] { return SetNode(line_.common, line_.node_set); });

    CLI::App* forget = Add(*node, "forget", "Forget a node that is lost for good");
    Word(forget, "UUID", line_.node_forget.uuid, "The lost node's UUID");
    MaybeWord(forget, "NODE_DIR", line_.node_forget.directories,
              "Nodes that shall forget it, besides those in this machine's list",
              WordKind::kDirectory);
    Option(forget, "--registry", line_.node_forget.registry, "FILE",
           "The list of nodes, if not this machine's", WordKind::kFile);
    Does(forget, "node forget", [this] { return ForgetLostNode(line_.common, line_.node_forget); });
  }

  void AddCheck() {
    CLI::App* command = Add("check", "Check a store that is not mounted; exit codes as fsck(8)");
    Word(command, "NODE_DIR", line_.check.directories, "All its node directories",
         WordKind::kDirectory);
    command->add_flag("--repair", line_.check.repair,
                      "Mend damage as far as that drops no acknowledged data");
    TakesJson(command);
    command->callback([this] {
      line_.name = kCheckCommand;
      line_.run = [this] { return CheckStore(line_.common, line_.check); };
    });
  }

  void AddDoctor() {
    CLI::App* command = Add("doctor", "Look for common faults, with a remedy for each");
    TakesMount(command);
    Does(command, "doctor", [this] { return Doctor(line_.common); });
  }

  void AddCompletion() {
    CLI::App* command = Add("completion", "Print the completion of commands for a shell");
    CLI::Option* shell = Word(command, "SHELL", line_.first, "bash or zsh");
    Chooses(shell, WordKind::kChoice, CompletionShells());
    Does(command, "completion", [this] { return Completion(line_.common, line_.first); });
  }

  CLI::App& app_;
  CommandVariables& line_;
  const CommandLineParts& parts_;
  std::map<const CLI::Option*, WordShape> words_;
};

namespace {

void Describe(CLI::App& app, const std::string& version) {
  app.description("Block volumes as files, cloned while they are in use.");
  app.name("volfs");
  app.set_help_flag("-h,--help", "Print this help and exit");
  app.set_version_flag("--version", "volfs " + version, "Print the version and exit");
  app.require_subcommand(1);
}

// The names that a word was given before the fault, for "volfs clone: ...".
std::string CommandName(const CLI::App& app) {
  std::string name = "volfs";
  const CLI::App* deepest = &app;
  while (!deepest->get_subcommands().empty()) {
    deepest = deepest->get_subcommands().front();
    name += " " + deepest->get_name();
  }
  return name;
}

std::string HelpBelow(const CLI::App& app, const std::string& parent) {
  std::string text;
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; })) {
    const std::string name =
        parent.empty() ? command->get_name() : parent + " " + command->get_name();
    text += StrCat("volfs ", name, "\n", command->help(), "\n", HelpBelow(*command, name));
  }
  return text;
}

}  // namespace

struct CommandLine::Impl {
  explicit Impl(const CommandLineParts& parts) : builder(app, variables, parts) {
    Describe(app, parts.version);
    builder.AddAll();
  }

  CLI::App app;
  CommandVariables variables;
  CommandBuilder builder;  // the callbacks of `app` call it
};

CommandLine::CommandLine(const CommandLineParts& parts) : impl_(std::make_unique<Impl>(parts)) {}

CommandLine::~CommandLine() = default;

std::optional<int> CommandLine::Parse(int argc, char** argv) {
  if (AsksForJson(argc, argv)) SetErrorForm(ErrorForm::kJson);
  try {
    impl_->app.parse(argc, argv);
    if (impl_->variables.common.json) SetErrorForm(ErrorForm::kJson);
    return std::nullopt;
  } catch (const CLI::Success& help) {
    impl_->app.exit(help);
    return Report("volfs", OkStatus());
  } catch (const CLI::ParseError& error) {
    const std::string name = CommandName(impl_->app);
    if (name == "volfs" && argc > 1 && argv[1][0] != '-') {
      return Report(name, UsageFailure(StrCat("there is no command ", OneLine(argv[1]), kNoteBreak,
                                              "see: volfs --help")));
    }
    PrintError(name,
               UsageFailure(StrCat(OneLine(error.what()), kNoteBreak, "see: ", name, " --help")));
    return name == kCheckCommand ? static_cast<int>(kFsckUsage) : static_cast<int>(kExitUsage);
  }
}

bool CommandLine::foreground() const { return impl_->variables.mount.foreground; }
const std::string& CommandLine::name() const { return impl_->variables.name; }
int CommandLine::Run() const { return impl_->variables.run(); }
CommandShape CommandLine::Shape() const { return impl_->builder.ShapeOf(impl_->app); }

int CommandLine::exit_code_if_hung() const {
  return name() == kCheckCommand ? static_cast<int>(kFsckFailed)
                                 : static_cast<int>(kExitNodeNotThere);
}

std::string CommandLine::HelpOfAll() const {
  return StrCat(impl_->app.help(), "\n", HelpBelow(impl_->app, ""));
}

}  // namespace volfs::cli
