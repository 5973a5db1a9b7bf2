// Goal: exit codes are those of contract.md section 3, and messages say the errno (trap T1).
#include "control/cli/process/failure.h"

#include <gtest/gtest.h>

#include <cerrno>

#include "blockstore/base/str_cat.h"
#include "control/cli/client.h"
#include "control/cli/process/output.h"

namespace volfs::cli {
namespace {

int ExitCodeOfErrno(int os_errno) { return ExitCodeOf(Failure(os_errno, "x").code); }

TEST(FailureTest, ExitCodesOfErrnos) {
  EXPECT_EQ(ExitCodeOfErrno(EIO), 1);
  EXPECT_EQ(ExitCodeOfErrno(EACCES), 1);
  EXPECT_EQ(ExitCodeOfErrno(ERANGE), 1);
  EXPECT_EQ(ExitCodeOfErrno(ENOTCONN), 1);
  EXPECT_EQ(ExitCodeOfErrno(EINVAL), 2);
  EXPECT_EQ(ExitCodeOfErrno(ENAMETOOLONG), 2);
  EXPECT_EQ(ExitCodeOfErrno(ENOENT), 3);
  EXPECT_EQ(ExitCodeOfErrno(EEXIST), 4);
  EXPECT_EQ(ExitCodeOfErrno(EBUSY), 5);
  EXPECT_EQ(ExitCodeOfErrno(ENOSPC), 6);
  EXPECT_EQ(ExitCodeOfErrno(EDQUOT), 6);
  EXPECT_EQ(ExitCodeOfErrno(ENODEV), 7);
  EXPECT_EQ(ExitCodeOfErrno(EHOSTDOWN), 7);
  EXPECT_EQ(ExitCodeOfErrno(EUCLEAN), 9);
  EXPECT_EQ(ExitCodeOfErrno(0), 1);
}

TEST(FailureTest, ExitCodesOfTheStoresWords) {
  EXPECT_EQ(ExitCodeOf(Errc::kInvalid), 2);
  EXPECT_EQ(ExitCodeOf(Errc::kNotFound), 3);
  EXPECT_EQ(ExitCodeOf(Errc::kExists), 4);
  EXPECT_EQ(ExitCodeOf(Errc::kBusy), 5);
  EXPECT_EQ(ExitCodeOf(Errc::kNoSpace), 6);
  EXPECT_EQ(ExitCodeOf(Errc::kNoNode), 7);
  EXPECT_EQ(ExitCodeOf(Errc::kLocked), 8);
  EXPECT_EQ(ExitCodeOf(Errc::kCorrupt), 9);
  EXPECT_EQ(ExitCodeOf(Errc::kIo), 1);
  EXPECT_EQ(ExitCodeOf(Errc::kNoData), 1);
}

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
