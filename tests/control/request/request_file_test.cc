// Goal: shells, tee, dd and Python use a request file as their users expect. No way of cutting the
// bytes into writes executes half a line that could destroy data (traps T2-T4).
// Method: an executor that records its requests and refuses volumes named "busy...".
#include "control/request/request_file.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <atomic>
#include <string>
#include <string_view>
#include <vector>

#include "blockstore/base/str_cat.h"

namespace volfs {
namespace {

using enum RequestKind;

class Writer {
 public:
  explicit Writer(RequestKind kind) : file(kind) {}

  Result<size_t> Write(std::string_view bytes) {
    return file.Write(
        bytes, [this](const Request& request) { return Execute(request); },
        [this](RequestKind, const std::string& line, const Error& error) {
          refused.push_back(line);
          refused_codes.push_back(error.code);
        });
  }
  size_t Written(std::string_view bytes) {
    const Result<size_t> result = Write(bytes);
    EXPECT_TRUE(result.ok()) << bytes << ": " << (result.ok() ? "" : result.error().message);
    return result.ok() ? result.value() : 0;
  }
  Errc Refusal(std::string_view bytes) {
    const Result<size_t> result = Write(bytes);
    EXPECT_FALSE(result.ok()) << bytes;
    return result.ok() ? Errc::kIo : result.error().code;
  }
  std::string Read() { return file.Read(65'536); }

  RequestFile file;
  std::vector<std::string> executed;
  std::vector<std::string> refused;
  std::vector<Errc> refused_codes;

 private:
  Result<std::string> Execute(const Request& request) {
    executed.push_back(Canonical(request));
    if (request.volume.rfind("busy", 0) == 0) {
      return Error{Errc::kBusy, request.volume + ": it is\nbeing copied"};
    }
    return "volume=" + (request.name.empty() ? request.volume : request.name);
  }
};

using Lines = std::vector<std::string>;

TEST(RequestFileTest, ExecutesALine) {
  Writer w(kClone);
  EXPECT_EQ(w.Written("db copy\n"), 8U);
  EXPECT_EQ(w.executed, Lines{"db copy"});
  EXPECT_EQ(w.Read(), "ok volume=copy\n");
  EXPECT_EQ(w.Read(), "");
  EXPECT_EQ(w.Read(), "");
}

TEST(RequestFileTest, ARefusalIsTheErrorOfTheWrite) {
  Writer w(kClone);
  EXPECT_EQ(w.Refusal("busy\n"), Errc::kBusy);
  EXPECT_EQ(w.Read(), "error EBUSY busy: it is\\x0abeing copied\n") << "one line, whatever it says";
  EXPECT_EQ(w.refused, Lines{"busy"});
  EXPECT_EQ(w.Written("db\n"), 3U) << "told once";
}

TEST(RequestFileTest, TwoLinesInOneWrite) {
  Writer w(kClone);
  EXPECT_EQ(w.Written("a x\nb y\n"), 8U);
  EXPECT_EQ(w.executed, (Lines{"a x", "b y"}));
  EXPECT_EQ(w.Read(), "ok volume=x\n");
  EXPECT_EQ(w.Read(), "ok volume=y\n");
  EXPECT_EQ(w.Read(), "");
}

// The write counts the bytes before the refused line as taken, so a shell writes the rest again.
TEST(RequestFileTest, TheFirstRefusedLineEndsTheWrite) {
  Writer w(kClone);
  const std::string_view bytes = "a x\nbusy y\nc z\n";
  EXPECT_EQ(w.Written(bytes), 4U);
  EXPECT_EQ(w.Refusal(bytes.substr(4)), Errc::kBusy);
  EXPECT_EQ(w.executed, (Lines{"a x", "busy y"})) << "c was never asked for";
  EXPECT_EQ(w.refused.size(), 1U);
  EXPECT_EQ(w.Read(), "ok volume=x\n");
  EXPECT_EQ(w.Read().substr(0, 11), "error EBUSY");
  EXPECT_EQ(w.Read(), "") << "one reply a line";
  EXPECT_EQ(w.Written("c z\n"), 4U);
}

TEST(RequestFileTest, TheFirstLinesErrorIsReturnedAtOnce) {
  Writer w(kClone);
  EXPECT_EQ(w.Refusal("busy\nb\n"), Errc::kBusy);
  EXPECT_EQ(w.executed, Lines{"busy busy-clone"});
}

// python3 -u writes the LF of print() separately.
TEST(RequestFileTest, TextWithoutLineFeedIsOneRequest) {
  Writer w(kClone);
  EXPECT_EQ(w.Written("db"), 2U);
  EXPECT_EQ(w.executed, Lines{"db db-clone"}) << "at once";
  EXPECT_EQ(w.Written("\n"), 1U);
  EXPECT_EQ(w.executed.size(), 1U);
  EXPECT_EQ(w.Read(), "ok volume=db-clone\n");
  EXPECT_EQ(w.Read(), "") << "the lone LF has no reply";
  EXPECT_EQ(w.Refusal("\n"), Errc::kInvalid) << "a second LF is an empty line";
}

TEST(RequestFileTest, TheLineFeedThatIsOwedMayBringMore) {
  Writer w(kClone);
  EXPECT_EQ(w.Written("a x"), 3U);
  EXPECT_EQ(w.Written("\nb y\n"), 5U);
  EXPECT_EQ(w.executed, (Lines{"a x", "b y"}));
  EXPECT_EQ(w.Written("c z"), 3U);
  EXPECT_EQ(w.Written("d q\n"), 4U) << "no LF: another request";
  EXPECT_EQ(w.Refusal("\n"), Errc::kInvalid);
}

TEST(RequestFileTest, TheLineFeedOfARefusedTextDoesNothing) {
  Writer w(kClone);
  EXPECT_EQ(w.Refusal("busy"), Errc::kBusy);
  EXPECT_EQ(w.Written("\n"), 1U);
  EXPECT_EQ(w.refused.size(), 1U);
}

TEST(RequestFileTest, ATailWithoutLineFeedIsExecutedToo) {
  Writer w(kClone);
  EXPECT_EQ(w.Written("a x\nb y"), 7U);
  EXPECT_EQ(w.executed, (Lines{"a x", "b y"}));
  EXPECT_EQ(w.Written("\n"), 1U);
}

TEST(RequestFileTest, HalfANameNeverDeletes) {
  for (const RequestKind kind : {kDelete, kRevert, kResize, kCancel}) {
    Writer w(kind);
    const std::string line = kind == kRevert ? "db@s" : kind == kResize ? "db 1G" : "db";
    EXPECT_EQ(w.Refusal(line), Errc::kInvalid);
    EXPECT_EQ(w.Written("\n"), 1U);
    EXPECT_TRUE(w.executed.empty()) << line;
    EXPECT_EQ(w.Written(line + "\n"), line.size() + 1);
    EXPECT_EQ(w.executed.size(), 1U);
  }
}

TEST(RequestFileTest, HalfANameAtTheEndOfAWriteNeverDeletes) {
  Writer w(kDelete);
  EXPECT_EQ(w.Written("a\nb\ndata"), 4U);
  EXPECT_EQ(w.Refusal("data"), Errc::kInvalid);
  EXPECT_EQ(w.executed, (Lines{"a", "b"}));
}

// With dd bs=1 the first byte is a request (contract.md 6). A destructive request is never so
// short.
TEST(RequestFileTest, OneByteAtATime) {
  Writer w(kDelete);
  for (const char c : std::string("db\n")) (void)w.Write(std::string(1, c));
  EXPECT_TRUE(w.executed.empty());
  Writer snapshot(kSnapshot);
  EXPECT_EQ(snapshot.Refusal("d"), Errc::kInvalid);
}

TEST(RequestFileTest, EmptyWritesAndLines) {
  Writer w(kClone);
  EXPECT_EQ(w.Written(""), 0U);
  EXPECT_EQ(w.Refusal("\n"), Errc::kInvalid);
  EXPECT_EQ(w.Refusal("\n\n"), Errc::kInvalid);
  EXPECT_EQ(w.Written("a x\n\nb y\n"), 4U);
  EXPECT_EQ(w.Refusal("\nb y\n"), Errc::kInvalid);
  EXPECT_EQ(w.executed, Lines{"a x"});
}

TEST(RequestFileTest, LongLines) {
  Writer w(kClone);
  for (const size_t bytes : {4096, 65'536, 1 << 20}) {
    EXPECT_EQ(w.Refusal(std::string(bytes, 'a') + "\n"), Errc::kTooBig);
    EXPECT_EQ(w.Refusal(std::string(bytes, 'a')), Errc::kTooBig);
    EXPECT_EQ(w.Written("\n"), 1U);
  }
  EXPECT_LT(w.refused.front().size(), 300U) << "not all of it in last_error";
  EXPECT_EQ(w.Written("db" + std::string(kMaxRequestBytes - 3, ' ') + "\n"), kMaxRequestBytes);
}

TEST(RequestFileTest, TenThousandAtOnce) {
  Writer w(kClone);
  std::string bytes;
  for (int i = 0; i < 10'000; ++i) bytes += StrCat("v", i, " c", i, '\n');
  EXPECT_EQ(w.Written(bytes), bytes.size());
  EXPECT_EQ(w.executed.size(), 10'000U);
}

// The kernel may cut a long write(2) anywhere. The writer then sends the tail again.
TEST(RequestFileTest, ACutWriteExecutesWholeLinesOnly) {
  Writer w(kClone);
  std::string bytes;
  while (bytes.size() <= RequestFile::kMaxUncutBytes) bytes += "volume copy\n";
  const size_t whole = bytes.size();
  EXPECT_EQ(w.Written(bytes + "vol"), whole);
  EXPECT_EQ(w.executed.size(), whole / 12);
  EXPECT_EQ(w.Written("volume copy"), 11U) << "the writer's own next write";
  EXPECT_EQ(w.executed.size(), whole / 12 + 1);
}

TEST(RequestFileTest, RepliesAreReadInPiecesAndNeverTwoAtOnce) {
  Writer w(kClone);
  EXPECT_EQ(w.Written("a x\nb y\n"), 8U);
  EXPECT_EQ(w.file.Read(3), "ok ");
  EXPECT_EQ(w.file.Read(0), "");
  EXPECT_EQ(w.file.Read(100), "volume=x\n");
  EXPECT_EQ(w.file.Read(100), "ok volume=y\n");
  EXPECT_EQ(w.file.Read(100), "");
  EXPECT_EQ(w.Written("c z\n"), 4U);
  EXPECT_EQ(w.file.Read(100), "ok volume=z\n") << "after the end of file, more";
}

TEST(RequestFileTest, ReadingFirstGivesTheUsageLine) {
  for (const RequestSpec& spec : RequestTable()) {
    Writer w(spec.kind);
    EXPECT_EQ(w.Read(), UsageLine(spec.kind) + "\n");
    EXPECT_EQ(w.Read(), "");
  }
  Writer w(kClone);
  EXPECT_EQ(w.file.Read(6), "clone:");
  EXPECT_EQ(w.Written("a x\n"), 4U);
  EXPECT_EQ(w.Read(), "ok volume=x\n") << "not the rest of the usage line";
}

TEST(RequestFileTest, RepliesBelongToOneOpenFile) {
  Writer a(kClone);
  Writer b(kClone);
  EXPECT_EQ(a.Written("secret x\n"), 9U);
  EXPECT_EQ(b.Read(), UsageLine(kClone) + "\n");
  EXPECT_EQ(b.Read(), "");
}

TEST(RequestFileTest, AReaderThatNeverReadsCostsABoundedQueue) {
  Writer w(kClone);
  constexpr size_t kLost = 5;
  for (size_t i = 0; i < RequestFile::kMaxReplies + kLost; ++i) {
    EXPECT_GT(w.Written(StrCat("v c", i, '\n')), 0U);
  }
  EXPECT_EQ(w.Read(), "lost 5\n");
  for (size_t i = kLost; i < RequestFile::kMaxReplies + kLost; ++i) {
    EXPECT_EQ(w.Read(), StrCat("ok volume=c", i, '\n'));
  }
  EXPECT_EQ(w.Read(), "");
}

TEST(RequestFileTest, AReplyThatIsBeingReadIsNotDropped) {
  Writer w(kClone);
  EXPECT_GT(w.Written("v first\n"), 0U);
  EXPECT_EQ(w.file.Read(3), "ok ");
  for (size_t i = 0; i < RequestFile::kMaxReplies + 1; ++i) {
    EXPECT_GT(w.Written(StrCat("v c", i, '\n')), 0U);
  }
  EXPECT_EQ(w.Read(), "volume=first\n");
  EXPECT_EQ(w.Read(), "lost 2\n");
  EXPECT_EQ(w.Read(), "ok volume=c2\n");
}

TEST(RequestFileTest, RefusedLinesAreReportedEscaped) {
  Writer w(kDelete);
  EXPECT_EQ(w.Refusal("db\x1b[2J\n"), Errc::kInvalid);
  EXPECT_EQ(w.refused, Lines{"db\\x1b[2J"});
  EXPECT_EQ(w.refused_codes, std::vector<Errc>{Errc::kInvalid});
}

TEST(RequestFileTest, CrLfIsRefusedWithAHint) {
  Writer w(kDelete);
  EXPECT_EQ(w.Refusal("db\r\n"), Errc::kInvalid);
  EXPECT_NE(w.Read().find("CR LF"), std::string::npos);
}

// Trap T4: writers that share an open file do not interleave.
TEST(RequestFileTest, ConcurrentWritersTakeTurns) {
  constexpr int kWrites = 200;
  RequestFile file(kClone);
  std::atomic<int> inside = 0;
  std::atomic<int> executed = 0;
  std::atomic<int> overlaps = 0;
  const Executor execute = [&](const Request& request) -> Result<std::string> {
    if (inside.fetch_add(1) != 0) ++overlaps;
    YieldThread();
    ++executed;
    --inside;
    return "volume=" + request.name;
  };
  const auto body = [&] {
    for (int i = 0; i < kWrites; ++i) {
      EXPECT_TRUE(file.Write("a x\nb y\n", execute, nullptr).ok());
      (void)file.Read(100);
    }
  };
  Thread first("first", body);
  Thread second("second", body);
  first.Join();
  second.Join();
  EXPECT_EQ(overlaps, 0);
  EXPECT_EQ(executed, 4 * kWrites);
}

// An executor may read the same open file: no lock is held while it runs.
TEST(RequestFileTest, NoLockIsHeldWhileExecuting) {
  RequestFile file(kClone);
  const Executor execute = [&](const Request&) -> Result<std::string> {
    EXPECT_EQ(file.Read(100), "");
    return std::string();
  };
  EXPECT_TRUE(file.Write("a\n", execute, nullptr).ok());
  EXPECT_EQ(file.Read(100), "ok\n");
}

// The writer does as libc: it writes the rest after a short count and stops at an error. In any
// grouping of whole lines into writes, the executor sees the lines before the first bad one.
RC_GTEST_PROP(RequestFileProperty, TheGroupingOfLinesDoesNotMatter, ()) {
  const auto lines = *rc::gen::container<std::vector<std::string>>(
      rc::gen::element<std::string>("a x\n", "b y\n", "busy z\n", "a=b\n", "\n"));
  Writer grouped(kClone);
  Writer single(kClone);
  std::string all;
  bool stopped = false;
  for (const std::string& line : lines) {
    all += line;
    if (!stopped) stopped = !single.Write(line).ok();
  }
  for (std::string_view rest = all; !rest.empty();) {
    const Result<size_t> taken = grouped.Write(rest);
    if (!taken.ok()) break;
    rest.remove_prefix(taken.value());
  }
  RC_ASSERT(grouped.executed == single.executed);
  RC_ASSERT(grouped.refused == single.refused);
}

}  // namespace
}  // namespace volfs
