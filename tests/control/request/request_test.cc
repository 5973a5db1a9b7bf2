// Goal: every line is either one unambiguous request, or refused with the right error. No part of a
// line is ignored.
// Method: examples for each rule of PROTOCOL.md, then random bytes.
#include "control/request/request.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "control/text/name.h"

namespace volfs {
namespace {

using enum RequestKind;

Request Parsed(RequestKind kind, std::string_view line) {
  const Result<Request> request = ParseRequest(kind, line);
  EXPECT_TRUE(request.ok()) << line << ": " << (request.ok() ? "" : request.error().message);
  return request.ok() ? request.value() : Request{};
}

Error Refused(RequestKind kind, std::string_view line) {
  const Result<Request> request = ParseRequest(kind, line);
  EXPECT_FALSE(request.ok()) << line;
  return request.ok() ? Error{Errc::kIo, "it was not refused"} : request.error();
}

void ExpectInvalid(RequestKind kind, std::string_view line) {
  EXPECT_EQ(Refused(kind, line).code, Errc::kInvalid) << line;
}

bool IsPrintable(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c >= ' ' && c < 0x7f; });
}

bool Says(const Error& error, std::string_view words) {
  return error.message.find(words) != std::string::npos;
}

TEST(RequestTest, CloneFillsInItsName) {
  const Request request = Parsed(kClone, "db.img");
  EXPECT_EQ(request.volume, "db.img");
  EXPECT_EQ(request.snapshot, "");
  EXPECT_EQ(request.name, "db-clone.img");
  EXPECT_EQ(Parsed(kClone, "db.img@monday").name, "db-clone.img") << "made from the volume's name";
}

TEST(RequestTest, CloneTakesKeysInAnyOrder) {
  const Request request =
      Parsed(kClone, "db@monday copy id=a=b/c linked=1 node=n2 size=1K type=ssd");
  EXPECT_EQ(request.kind, kClone);
  EXPECT_EQ(request.volume, "db");
  EXPECT_EQ(request.snapshot, "monday");
  EXPECT_EQ(request.name, "copy");
  EXPECT_EQ(request.size_bytes, 1024U);
  EXPECT_EQ(request.type, "ssd");
  EXPECT_EQ(request.node, "n2");
  EXPECT_EQ(request.token, "a=b/c");
  EXPECT_TRUE(request.linked);
  EXPECT_FALSE(request.resume);
  EXPECT_EQ(request, Parsed(kClone, "db@monday copy type=ssd size=1024 id=a=b/c node=n2 linked=1"));
  EXPECT_EQ(Parsed(kClone, "db linked=0 verify=0"), Parsed(kClone, "db"));
  EXPECT_TRUE(Parsed(kClone, "db verify=1").verify);
  EXPECT_EQ(Canonical(Parsed(kClone, "db c id=t verify=1")), "db c verify=1 id=t");
}

TEST(RequestTest, ResumeStandsAlone) {
  const Request request = Parsed(kClone, "copy resume=1");
  EXPECT_EQ(request.volume, "copy");
  EXPECT_EQ(request.name, "");
  EXPECT_TRUE(request.resume);
  for (const std::string_view line :
       {"resume=1", "db copy resume=1", "db@s resume=1", "db resume=1 id=x", "db size=1 resume=1",
        "db resume=0", "db resume=", "db resume=yes", "db resume=1 resume=1"}) {
    ExpectInvalid(kClone, line);
  }
  ExpectInvalid(kRestore, "db@s copy resume=1");
}

TEST(RequestTest, TheOtherKinds) {
  EXPECT_EQ(Parsed(kSnapshot, "db s1").volume, "db");
  EXPECT_EQ(Parsed(kSnapshot, "db s1").name, "s1");
  EXPECT_EQ(Parsed(kRestore, "db@s1 old size=2G").snapshot, "s1");
  EXPECT_EQ(Parsed(kRestore, "db@s1 old size=2G").name, "old");
  EXPECT_EQ(Parsed(kRevert, "db@s1").snapshot, "s1");
  EXPECT_EQ(Parsed(kCreate, "db 10G type=ssd").size_bytes, uint64_t{10} << 30);
  EXPECT_EQ(Parsed(kCreate, "db 0").name, "db");
  EXPECT_EQ(Parsed(kResize, "db 513").size_bytes, 513U);
  EXPECT_EQ(Parsed(kResize, "db 513").volume, "db");
  EXPECT_EQ(Parsed(kDelete, "db").volume, "db");
  EXPECT_EQ(Parsed(kDelete, "db@s").snapshot, "s");
  EXPECT_EQ(Parsed(kCancel, "db").volume, "db");
}

TEST(RequestTest, EachKindRefusesWhatIsNotItsOwn) {
  ExpectInvalid(kSnapshot, "db@s1 s2");
  ExpectInvalid(kSnapshot, "db");
  ExpectInvalid(kSnapshot, "db s1 id=x");
  ExpectInvalid(kRestore, "db old");
  ExpectInvalid(kRestore, "db@s");
  ExpectInvalid(kRevert, "db");
  ExpectInvalid(kRevert, "db@s now");
  ExpectInvalid(kCreate, "db");
  ExpectInvalid(kCreate, "db type=ssd");
  ExpectInvalid(kCreate, "db 1G linked=1");
  ExpectInvalid(kCreate, "db 1G size=1G");
  ExpectInvalid(kResize, "db@s 1G");
  ExpectInvalid(kResize, "db");
  ExpectInvalid(kDelete, "db force=1");
  ExpectInvalid(kDelete, "a b");
  ExpectInvalid(kCancel, "db@s");
}

TEST(RequestTest, BlanksSeparateWordsAsInAShell) {
  EXPECT_EQ(Parsed(kClone, " \t db \t\tcopy  size=1 "), Parsed(kClone, "db copy size=1"));
  EXPECT_EQ(Parsed(kDelete, "db "), Parsed(kDelete, "db"));
  ExpectInvalid(kClone, "db copy size= 1");
  ExpectInvalid(kClone, "db copy size =1");
}

TEST(RequestTest, AnEmptyLineIsRefusedWithTheUsage) {
  for (const RequestSpec& spec : RequestTable()) {
    for (const std::string_view line : {"", " ", "\t \t"}) {
      const Error error = Refused(spec.kind, line);
      EXPECT_EQ(error.code, Errc::kInvalid);
      EXPECT_TRUE(Says(error, "the line is empty")) << error.message;
      EXPECT_TRUE(Says(error, UsageLine(spec.kind).substr(spec.file.size() + 2))) << error.message;
    }
  }
}

TEST(RequestTest, NothingIsIgnored) {
  for (const std::string_view line :
       {"db copy third", "db copy sise=1", "db copy SIZE=1", "db copy size=1 size=1",
        "db copy size=1 size=2", "db copy size=", "db copy type=", "db copy id=", "db copy =1",
        "db copy =", "size=1", "db size=1 copy", "db linked=2", "db linked=", "db linked=true",
        "db --linked", "db copy size=-1", "db copy type=a/b", "db copy node=.."}) {
    ExpectInvalid(kClone, line);
  }
}

TEST(RequestTest, ToIsReserved) {
  for (const RequestSpec& spec : RequestTable()) {
    const Error error = Refused(spec.kind, "to=b");
    EXPECT_EQ(error.code, Errc::kInvalid);
    EXPECT_TRUE(Says(error, "reserved")) << error.message;
  }
  EXPECT_TRUE(Says(Refused(kSnapshot, "db s1 to=b"), "reserved"));
}

TEST(RequestTest, RefusesBytesThatAreNotText) {
  for (const std::string_view line :
       {std::string_view("db\0copy", 7), std::string_view("\0", 1), std::string_view("db\x01"),
        std::string_view("db\v copy"), std::string_view("db\fcopy"), std::string_view("db\x7f"),
        std::string_view("db\x1b[31m"), std::string_view("db\ncopy"), std::string_view("db\rcopy"),
        std::string_view("db \xff"), std::string_view("db \xc0\xaf"), std::string_view("d\xc3"),
        std::string_view("db \xed\xa0\x80"), std::string_view("db \xf4\x90\x80\x80"),
        std::string_view("db \xe2\x80"), std::string_view("db \u202egmi")}) {
    const Error error = Refused(kClone, line);
    EXPECT_EQ(error.code, Errc::kInvalid);
    EXPECT_TRUE(IsPrintable(error.message)) << "raw bytes in the message";
  }
}

TEST(RequestTest, CarriageReturnsGetAHint) {
  EXPECT_TRUE(Says(Refused(kClone, "db\r"), "CR LF"));
  EXPECT_TRUE(Says(Refused(kDelete, "\r"), "CR LF"));
}

TEST(RequestTest, SizesAreThoseOfTruncate) {
  for (const std::string_view size : {"-1", "9223372036854775808", "18446744073709551616", "1e9",
                                      "0x10", "+5", "5KB5", "1.5G", "5kb"}) {
    ExpectInvalid(kCreate, std::string("db ") + std::string(size));
    ExpectInvalid(kClone, std::string("db copy size=") + std::string(size));
  }
  for (const std::string_view size :
       {"0", "2147483648", "9223372036854775807", "5KB", "10g", "10GiB", "10KiB"}) {
    EXPECT_TRUE(ParseRequest(kCreate, std::string("db ") + std::string(size)).ok()) << size;
  }
}

TEST(RequestTest, NamesHaveAForm) {
  const std::vector<std::string> names = {".",  "..", "../x",  "a/b", ".a",  "-a",
                                          "@a", "a@", "a@b@c", "a:b", "a,b", "@"};
  for (const std::string& name : names) {
    ExpectInvalid(kClone, name);
    ExpectInvalid(kClone, "db " + name);
    ExpectInvalid(kSnapshot, "db " + name);
    ExpectInvalid(kCreate, name + " 1G");
    ExpectInvalid(kDelete, name);
  }
  EXPECT_TRUE(ParseRequest(kDelete, "control").ok());
}

TEST(RequestTest, NamesHaveALimit) {
  const std::string greatest(128, 'a');
  EXPECT_TRUE(ParseRequest(kDelete, greatest + "@" + greatest).ok());
  for (const size_t bytes : {129, 255, 256, 1025}) {
    const std::string name(bytes, 'a');
    EXPECT_EQ(Refused(kDelete, name).code, Errc::kNameTooLong);
    EXPECT_EQ(Refused(kDelete, "db@" + name).code, Errc::kNameTooLong);
    EXPECT_EQ(Refused(kSnapshot, "db " + name).code, Errc::kNameTooLong);
    EXPECT_EQ(Refused(kCreate, "db 1G type=" + name).code, Errc::kNameTooLong);
    EXPECT_EQ(Refused(kClone, "db copy id=" + name).code, Errc::kNameTooLong);
  }
}

// Trap T17: the limit holds after -clone was added.
TEST(RequestTest, TheDefaultNameHasTheLimitToo) {
  EXPECT_TRUE(ParseRequest(kClone, std::string(122, 'a')).ok());
  EXPECT_EQ(Refused(kClone, std::string(123, 'a')).code, Errc::kNameTooLong);
  EXPECT_TRUE(ParseRequest(kClone, std::string(128, 'a') + " copy").ok());
}

TEST(RequestTest, TheFirstFaultInOrderWins) {
  const std::string long_name(200, 'a');
  EXPECT_EQ(Refused(kClone, long_name + " a/b").code, Errc::kInvalid);
  EXPECT_EQ(Refused(kClone, long_name + " copy size=x").code, Errc::kInvalid);
  EXPECT_EQ(Refused(kClone, long_name + " copy surplus").code, Errc::kInvalid);
  EXPECT_EQ(Refused(kSnapshot, long_name).code, Errc::kInvalid) << "a word is missing";
  EXPECT_EQ(Refused(kClone, std::string(5000, '\n')).code, Errc::kTooBig);
}

TEST(RequestTest, ARequestHasAtMost4096BytesWithItsLineFeed) {
  const std::string blanks(kMaxRequestBytes - 1 - 2, ' ');
  EXPECT_TRUE(ParseRequest(kDelete, "db" + blanks).ok());
  EXPECT_EQ(Refused(kDelete, "db " + blanks).code, Errc::kTooBig);
  for (const size_t bytes : {4096, 4097, 65'536, 1 << 20}) {
    EXPECT_EQ(Refused(kDelete, std::string(bytes, 'a')).code, Errc::kTooBig);
  }
}

TEST(RequestTest, ErrorsAreOneShortLine) {
  const std::vector<std::string> lines = {"\x1b" + std::string(4000, 'x'),
                                          "db " + std::string(4000, 'x') + "=1", "db id=\u202e",
                                          "db copy linked=" + std::string(3000, '\\')};
  for (const std::string& line : lines) {
    const Error error = Refused(kClone, line);
    EXPECT_LT(error.message.size(), 600U);
    EXPECT_TRUE(IsPrintable(error.message));
  }
}

TEST(RequestTest, CanonicalIsOneSpelling) {
  EXPECT_EQ(Canonical(Parsed(kClone, " db  linked=0 size=1K")), "db db-clone size=1024");
  EXPECT_EQ(Canonical(Parsed(kClone, "db@s x id=t node=n linked=1 type=y")),
            "db@s x type=y node=n linked=1 id=t");
  EXPECT_EQ(Canonical(Parsed(kClone, "x resume=1")), "x resume=1");
  EXPECT_EQ(Canonical(Parsed(kCreate, "db 1M type=t")), "db 1048576 type=t");
  EXPECT_EQ(Canonical(Parsed(kResize, "db 1M")), "db 1048576");
  EXPECT_EQ(Canonical(Parsed(kDelete, "db@s")), "db@s");
}

TEST(RequestTest, TheTableIsInTheOrderOfTheKinds) {
  for (size_t i = 0; i < kRequestKinds; ++i) {
    const RequestSpec& spec = RequestTable()[i];
    EXPECT_EQ(spec.kind, static_cast<RequestKind>(i));
    EXPECT_EQ(&SpecOf(spec.kind), &spec);
    EXPECT_EQ(RequestKindOf(spec.file), spec.kind);
  }
  EXPECT_FALSE(RequestKindOf("status"));
}

// ---- random bytes

rc::Gen<RequestKind> AnyKind() {
  return rc::gen::map(rc::gen::inRange<int>(0, kRequestKinds),
                      [](int i) { return static_cast<RequestKind>(i); });
}

// Returns bytes that get further in the parser than random ones.
rc::Gen<std::string> AlmostALine() {
  const auto piece = rc::gen::element<std::string>(
      "db", "copy", "db@s", "@", " ", "\t", "=", "size=", "size=1K", "type=t", "node=n", "linked=1",
      "id=t", "resume=1", "to=b", "10G", "a.img", "\r", "\xff", "\u00e9", std::string(129, 'a'));
  return rc::gen::map(rc::gen::container<std::vector<std::string>>(piece),
                      [](const std::vector<std::string>& pieces) {
                        std::string line;
                        for (const std::string& each : pieces) line += each + " ";
                        return line;
                      });
}

void CheckAnyLine(RequestKind kind, const std::string& line) {
  const Result<Request> request = ParseRequest(kind, line);
  if (!request.ok()) {
    const Errc code = request.error().code;
    RC_ASSERT(code == Errc::kTooBig || code == Errc::kInvalid || code == Errc::kNameTooLong);
    RC_ASSERT(IsPrintable(request.error().message));
    return;
  }
  const std::string canonical = Canonical(request.value());
  const Result<Request> again = ParseRequest(kind, canonical);
  RC_ASSERT(again.ok());
  RC_ASSERT(again.value() == request.value());
  RC_ASSERT(Canonical(again.value()) == canonical);
}

RC_GTEST_PROP(RequestProperty, AnyBytesAreARequestOrAnError, (const std::string& line)) {
  CheckAnyLine(*AnyKind(), line);
}

RC_GTEST_PROP(RequestProperty, AnyWordsAreARequestOrAnError, ()) {
  CheckAnyLine(*AnyKind(), *AlmostALine());
}

}  // namespace
}  // namespace volfs
