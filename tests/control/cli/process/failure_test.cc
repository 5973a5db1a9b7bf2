// Goal: messages name the errno (trap T1).
#include "control/cli/process/failure.h"

#include <gtest/gtest.h>

#include <cerrno>

#include "blockstore/base/str_cat.h"
#include "control/cli/client.h"
#include "control/cli/process/output.h"

namespace volfs::cli {
namespace {

TEST(FailureTest, TheErrnoStandsAtTheEndOfTheFirstLine) {
  EXPECT_EQ(ErrorText(Failure(EBUSY, StrCat("mnt: is in use", kNoteBreak, "loop0"))),
            StrCat("mnt: is in use (EBUSY)", kNoteBreak, "loop0"));
  EXPECT_EQ(ErrorText(UsageFailure("give a name")), "give a name");
}

// contract 3, --json
TEST(FailureTest, AsJsonTheRemedyStandsByItself) {
  EXPECT_EQ(ErrorJson(Failure(EBUSY, "mnt: is in use; end this first")),
            "{\"error\":\"EBUSY\",\"message\":\"mnt: is in use\",\"remedy\":\"end this first\"}\n");
  EXPECT_EQ(ErrorJson(Error{Errc::kNotFound, "db: no such volume"}),
            "{\"error\":\"ENOENT\",\"message\":\"db: no such volume\",\"remedy\":\"\"}\n");
  EXPECT_EQ(ErrorJson(Failure(EBUSY, StrCat("it is in use; end \"this\"; first", kNoteBreak,
                                            "loop0", kNoteBreak, "1 a"))),
            "{\"error\":\"EBUSY\",\"message\":\"it is in use\",\"remedy\":\"end \\\"this\\\"; "
            "first\",\"details\":[\"loop0\",\"1 a\"]}\n");
  EXPECT_EQ(ErrorJson(UsageFailure(StrCat("NAME is required", kNoteBreak, "see: volfs rm --help"))),
            "{\"error\":\"EINVAL\",\"message\":\"NAME is required\",\"remedy\":\"see: volfs rm "
            "--help\"}\n");
}

TEST(FailureTest, TheSentenceOfARefusalIsTakenFromTheReply) {
  const Error error =
      ParseRefusal("error EBUSY db: a clone of it is still being copied", EBUSY, "clone db");
  EXPECT_EQ(ErrorText(error), "db: a clone of it is still being copied (EBUSY)");
  EXPECT_EQ(ExitCodeOf(error.code), 5);
}

TEST(FailureTest, WithoutAReplyTheErrnoMustDo) {
  for (const char* reply : {"", "error", "error EBUSY", "error EBUSY ", "clone: SRC [NAME]"}) {
    EXPECT_EQ(ErrorText(ParseRefusal(reply, EBUSY, "clone db")),
              "clone db: Device or resource busy (EBUSY)")
        << reply;
  }
}

TEST(FailureTest, FieldsOfAReply) {
  const Reply reply = ParseReply("ok volume=db-clone status=creating size=10 node=b x = =y z=");
  EXPECT_EQ(reply.Get("volume"), "db-clone");
  EXPECT_EQ(reply.Get("size"), "10");
  EXPECT_EQ(reply.Get("z"), "");
  EXPECT_EQ(reply.Get("nothing"), "");
  EXPECT_EQ(reply.fields.size(), 5U);
}

}  // namespace
}  // namespace volfs::cli
