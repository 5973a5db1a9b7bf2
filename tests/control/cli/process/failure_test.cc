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
