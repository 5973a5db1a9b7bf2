// Goal: the documents for people (PROTOCOL.md, control/help) agree with the parser.
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <regex>
#include <set>
#include <string>
#include <string_view>

#include "control/request/request.h"
#include "control/tree/control_tree.h"
#include "control/tree/fixed_entry.h"
#include "tests/support/store_fixture.h"

namespace volfs {
namespace {

std::string Protocol() {
  std::ifstream file(VOLFS_SOURCE_DIR "/control/PROTOCOL.md");
  EXPECT_TRUE(file) << "control/PROTOCOL.md cannot be read";
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

bool HasLine(std::string_view text, const std::string& line) {
  return ("\n" + std::string(text) + "\n").find("\n" + line + "\n") != std::string::npos;
}

TEST(ProtocolTest, TheDocumentHasEachUsageLine) {
  const std::string protocol = Protocol();
  for (const RequestSpec& spec : RequestTable()) {
    EXPECT_TRUE(HasLine(protocol, UsageLine(spec.kind))) << UsageLine(spec.kind);
  }
}

TEST(ProtocolTest, TheDocumentMarksWhatIsDestructive) {
  const std::string protocol = Protocol();
  for (const RequestSpec& spec : RequestTable()) {
    const std::string row = "| `" + std::string(spec.file) + "` | " +
                            (spec.destructive ? "with its LF" : "at once") + " |";
    EXPECT_NE(protocol.find(row), std::string::npos) << row;
  }
}

TEST(ProtocolTest, TheDocumentNamesEachErrnoOfARequest) {
  const std::string protocol = Protocol();
  for (const Errc code :
       {Errc::kTooBig, Errc::kInvalid, Errc::kNameTooLong, Errc::kNotFound, Errc::kExists,
        Errc::kDenied, Errc::kProtected, Errc::kReadOnly, Errc::kBusy, Errc::kRange, Errc::kNoNode,
        Errc::kNodeDown, Errc::kWrongRegion, Errc::kNoSpace, Errc::kQuota, Errc::kIo,
        Errc::kInterrupted, Errc::kNoMemory, Errc::kNoFiles}) {
    const std::string cell = "`" + std::string(ErrnoName(code)) + "`";
    EXPECT_NE(protocol.find(cell), std::string::npos) << cell;
  }
}

TEST(ProtocolTest, HelpHasEachUsageLineAndKey) {
  const std::string help = HelpText();
  for (const RequestSpec& spec : RequestTable()) {
    EXPECT_TRUE(HasLine(help, UsageLine(spec.kind))) << UsageLine(spec.kind);
    for (const std::string_view key : spec.keys) {
      EXPECT_TRUE(key.empty() || help.find("\n  " + std::string(key) + "=") != std::string::npos)
          << key;
    }
  }
  EXPECT_EQ(help.back(), '\n');
}

TEST(ProtocolTest, UsageLinesAreWhatTheContractSays) {
  EXPECT_EQ(UsageLine(RequestKind::kClone),
            "clone: SRC [NAME] [size=SIZE] [type=TYPE] [node=NODE] [linked=0|1] [verify=0|1] "
            "[id=TOKEN] | NAME resume=1");
  EXPECT_EQ(UsageLine(RequestKind::kSnapshot), "snapshot: VOLUME NAME");
  EXPECT_EQ(UsageLine(RequestKind::kRestore),
            "restore: VOLUME@SNAP NAME [size=SIZE] [type=TYPE] [node=NODE] [linked=0|1] "
            "[verify=0|1] [id=TOKEN]");
  EXPECT_EQ(UsageLine(RequestKind::kRevert), "revert: VOLUME@SNAP");
  EXPECT_EQ(UsageLine(RequestKind::kCreate),
            "create: NAME SIZE [type=TYPE] [node=NODE] [io=native|daemon]");
  EXPECT_EQ(UsageLine(RequestKind::kResize), "resize: NAME SIZE");
  EXPECT_EQ(UsageLine(RequestKind::kDelete), "delete: NAME|VOLUME@SNAP");
  EXPECT_EQ(UsageLine(RequestKind::kCancel), "cancel: NAME");
}

// ---- the files

using Paths = std::set<std::string>;

// Adds "volumes/db/size" as "volumes/NAME/size".
void AddTree(ControlTree& tree, uint64_t directory, const std::string& path, Paths& paths) {
  const auto entries = tree.List(directory);
  ASSERT_TRUE(entries.ok()) << path;
  for (const ControlEntry& entry : entries.value()) {
    std::string name = entry.name;
    if (path == "volumes/") name = "NAME";
    if (path == "nodes/") name = "NODE";
    if (path == "snapshots/") name = "V";
    if (path == "snapshots/V/") name = "S";
    if (entry.directory) {
      AddTree(tree, entry.ino, path + name + "/", paths);
    } else {
      paths.insert(path + name);
    }
  }
}

Paths OfTheTree() {
  StoreFixture fixture;
  fixture.MakeVolume("db", 4096);
  EXPECT_TRUE(fixture.store().TakeSnapshot("db", "s", Caller{}).ok());
  ControlTree tree(fixture.store(), {});
  Paths paths = {"watch/volumes/NAME"};
  AddTree(tree, inode::kControl, "", paths);
  for (const FixedEntry& entry : FixedEntries()) {
    if (entry.listing == Listing::kUnlisted) paths.insert("watch/" + std::string(entry.name));
  }
  return paths;
}

std::string Between(const std::string& text, const std::string& from, const std::string& to) {
  const size_t begin = text.find(from);
  const size_t end = text.find(to, begin + from.size());
  EXPECT_TRUE(begin != text.npos && end != text.npos) << from;
  return begin == text.npos ? "" : text.substr(begin, end - begin);
}

// Adds each name in code, `...`, where `where` matches its beginning.
void AddNames(const std::string& text, const std::regex& where, const std::string& directory,
              Paths& paths) {
  const std::regex code("`([a-zA-Z_./]+)`");
  for (std::sregex_iterator row(text.begin(), text.end(), where), end; row != end; ++row) {
    const std::string cell = row->str(1);
    for (std::sregex_iterator name(cell.begin(), cell.end(), code); name != end; ++name) {
      paths.insert(directory + name->str(1));
    }
  }
}

Paths OfTheDocument() {
  const std::regex first_cell("\n\\|([^|]+)\\|");
  const std::regex item("\n- ([^:]+):");
  const std::regex everything("([^\n]+)");
  const std::string protocol = Protocol();
  Paths paths;
  AddNames(Between(protocol, "The effects:", "Without NAME"), first_cell, "", paths);
  AddNames(Between(protocol, "\n## 7. ", "\n**status**"), first_cell, "", paths);
  AddNames(Between(protocol, "\n**volumes/NAME/**", "\n**snapshots/V/S/**"), first_cell,
           "volumes/NAME/", paths);
  AddNames(Between(protocol, "\n**snapshots/V/S/**", "\n**nodes/NODE/**"), first_cell,
           "snapshots/V/S/", paths);
  AddNames(Between(protocol, "\n**nodes/NODE/**", "one value and a newline each"), everything,
           "nodes/NODE/", paths);
  AddNames(Between(protocol, "\n## 8. ", "\n`events` and"), item, "watch/", paths);
  AddNames(Between(protocol, "\n## 9. ", "\n## 10. "), item, "limits/", paths);
  return paths;
}

TEST(ProtocolTest, TheDocumentHasTheFilesOfTheTree) {
  EXPECT_EQ(OfTheDocument(), OfTheTree());
  EXPECT_GT(OfTheTree().size(), 40U);
}

}  // namespace
}  // namespace volfs
