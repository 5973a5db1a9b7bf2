// Goal: what people read (PROTOCOL.md, control/help) says what the parser does.
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <string>
#include <string_view>

#include "control/errno_name.h"
#include "control/request.h"

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
        Errc::kInterrupted}) {
    const std::string cell = "`" + std::string(ErrcName(code)) + "`";
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
            "clone: SRC [NAME] [size=SIZE] [type=TYPE] [node=NODE] [linked=0|1] [id=TOKEN] "
            "| NAME resume=1");
  EXPECT_EQ(UsageLine(RequestKind::kSnapshot), "snapshot: VOLUME NAME");
  EXPECT_EQ(UsageLine(RequestKind::kRestore),
            "restore: VOLUME@SNAP NAME [size=SIZE] [type=TYPE] [node=NODE] [linked=0|1] "
            "[id=TOKEN]");
  EXPECT_EQ(UsageLine(RequestKind::kRevert), "revert: VOLUME@SNAP");
  EXPECT_EQ(UsageLine(RequestKind::kCreate), "create: NAME SIZE [type=TYPE] [node=NODE]");
  EXPECT_EQ(UsageLine(RequestKind::kResize), "resize: NAME SIZE");
  EXPECT_EQ(UsageLine(RequestKind::kDelete), "delete: NAME|VOLUME@SNAP");
  EXPECT_EQ(UsageLine(RequestKind::kCancel), "cancel: NAME");
}

}  // namespace
}  // namespace volfs
