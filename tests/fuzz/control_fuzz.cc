// Does everything that a program can do below control/: look up any name, list, open, read at any
// offset, write any bytes. No call ends the process, blocks, or puts control bytes into the text
// read. Every listed name can be looked up.
#include <algorithm>
#include <string>

#include "control/text/name.h"
#include "control/tree/control_tree.h"
#include "tests/fuzz/fuzz_targets.h"
#include "tests/fuzz/store_template.h"

namespace volfs::fuzz {
namespace {

void Fill(Store& store) {
  for (const char* name : {"db", "web.img"}) {
    CreateRequest request;
    request.name = name;
    request.size_bytes = 40'000;
    request.node = "a";
    Require(store.Create(request, Caller{}).ok(), "the template is made");
  }
  Require(store.TakeSnapshot("db", "monday", Caller{}).ok(), "the template is made");
  Require(store.Clone({.source = "web.img", .name = "half", .node = "b"}, Caller{}).ok(),
          "the template is made");
}

StoreTemplate& Template() {
  static StoreTemplate made(Fill);
  return made;
}

std::string AnyName(Decisions& in) {
  static constexpr const char* kNames[] = {"help",          "clone",   "snapshot",    "restore",
                                           "revert",        "create",  "resize",      "delete",
                                           "cancel",        "resume",  "status",      "volumes",
                                           "nodes",         "limits",  "watch",       "events",
                                           "config",        "metrics", "types",       "last_error",
                                           "copy_rate",     "db",      "web.img",     "half",
                                           "map",           "size",    "io",          "state",
                                           "progress",      "a",       "b",           "copy_jobs",
                                           "diff",          "ranges",  "ranges.json", "monday..",
                                           "monday..monday"};
  const size_t which = in.Below(std::size(kNames) + 4);
  return which < std::size(kNames) ? kNames[which] : in.Text(140);
}

// Checks a text of fields, which people read in a terminal.
void CheckText(const std::string& text) {
  Require(
      std::all_of(text.begin(), text.end(),
                  [](char c) { return c == '\n' || c == '\t' || static_cast<uint8_t>(c) >= ' '; }),
      "what is read has no control bytes");
}

void Use(Decisions& in, ControlTree& tree, uint64_t ino) {
  const Caller caller{in.Below(2) == 0 ? 0u : 1000u, 0, {}};
  const bool for_write = in.Below(2) == 0;
  const auto file = tree.Open(ino, for_write, caller);
  if (!file.ok()) return;
  if (for_write) {
    const std::string line = in.Text(200) + (in.Below(4) == 0 ? "" : "\n");
    const auto taken = file.value()->Write(line, caller);
    Require(!taken.ok() || taken.value() <= line.size(), "a write takes no more than there is");
    Require(taken.ok() || OneLine(taken.error().message) == taken.error().message,
            "an error is one line");
  }
  const size_t most = in.Below(5000) + 1;
  uint64_t at = in.Below(8) == 0 ? in.Number() : 0;
  for (int reads = 0; reads < 4; ++reads) {
    const auto part = file.value()->Read(most, at);
    if (!part.ok() || !part.value() || part.value()->empty()) return;
    Require(part.value()->size() <= most, "a read gets no more than it asked for");
    CheckText(*part.value());
    at += part.value()->size();
  }
}

void ListAll(ControlTree& tree, uint64_t ino) {
  const auto entries = tree.List(ino);
  if (!entries.ok()) return;
  for (const ControlEntry& entry : entries.value()) {
    const auto found = tree.Lookup(ino, entry.name);
    Require(found.ok() && found.value().ino == entry.ino, "what is listed is found");
    const auto stat = tree.Stat(entry.ino);
    Require(stat.ok() && stat.value().directory == entry.directory, "what is listed is there");
  }
}

void Walk(Decisions& in, ControlTree& tree) {
  uint64_t ino = inode::kControl;
  for (size_t depth = in.Below(4) + 1; depth > 0; --depth) {
    const auto entry = tree.Lookup(ino, AnyName(in));
    if (!entry.ok()) break;
    ino = entry.value().ino;
  }
  if (in.Below(16) == 0) ino = in.Number();
  if (!tree.Owns(ino)) return;
  (void)tree.Stat(ino);
  ListAll(tree, ino);
  Use(in, tree, ino);
}

}  // namespace

void control(Input input) {
  Template().Restore();
  const auto store = Template().Open(false);
  Require(store.ok(), "the template can be opened");
  ControlTree tree(*store.value(), ControlConfig{});
  Decisions in(input);
  for (int walks = 0; walks < 12 && !in.empty(); ++walks) Walk(in, tree);
  ListAll(tree, inode::kControl);
}

}  // namespace volfs::fuzz
