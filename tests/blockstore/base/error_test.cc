// Goal: each Errc has one row of texts, and the row says the same as the contract's section 3.
#include "blockstore/base/error.h"

#include <gtest/gtest.h>

#include <cerrno>

namespace volfs {
namespace {

// ENOSYS makes the kernel never ask again and report success for ever.
TEST(ErrcTest, NeverSuccessAndNeverEnosys) {
  for (size_t i = 0; i < kErrcs; ++i) {
    EXPECT_GT(ErrnoOf(static_cast<Errc>(i)), 0);
    EXPECT_NE(ErrnoOf(static_cast<Errc>(i)), ENOSYS);
  }
}

// Goal: a reply and last_error print the errno that write(2) returns (T1).
TEST(ErrcTest, EveryCodeHasTheNameOfItsErrno) {
  for (size_t i = 0; i < kErrcs; ++i) {
    EXPECT_EQ(ErrnoName(static_cast<Errc>(i)).front(), 'E');
  }
  EXPECT_EQ(ErrnoName(Errc::kBusy), "EBUSY");
  EXPECT_EQ(ErrnoName(Errc::kLocked), "EBUSY");
  EXPECT_EQ(ErrnoName(Errc::kNotSupported), "EOPNOTSUPP");
}

TEST(ErrcTest, CorruptionAndLocksLookOrdinaryToUsers) {
  EXPECT_EQ(ErrnoOf(Errc::kCorrupt), EIO);
  EXPECT_EQ(ErrnoOf(Errc::kLocked), EBUSY);
  EXPECT_EQ(ErrnoOf(Errc::kNoData), ENXIO);
  EXPECT_EQ(ErrnoOf(Errc::kNodeDown), EHOSTDOWN);
}

TEST(ErrcTest, AnErrnoOfSeveralCodesMeansTheOrdinaryOne) {
  EXPECT_EQ(ErrcOfErrno(EIO), Errc::kIo);
  EXPECT_EQ(ErrcOfErrno(EBUSY), Errc::kBusy);
  EXPECT_EQ(ErrcOfErrno(ETXTBSY), Errc::kBusy);
  EXPECT_EQ(ErrcOfErrno(EUCLEAN), Errc::kCorrupt);
  EXPECT_EQ(ErrcOfErrno(EMFILE), Errc::kNoFiles);
  EXPECT_EQ(ErrcOfErrno(ENOTCONN), Errc::kIo) << "not in the table";
}

int ExitCodeOfErrno(int os_errno) { return ExitCodeOf(ErrcOfErrno(os_errno)); }

TEST(ErrcTest, ExitCodesOfErrnos) {
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

TEST(ErrcTest, ExitCodesOfTheStoresWords) {
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

}  // namespace
}  // namespace volfs
