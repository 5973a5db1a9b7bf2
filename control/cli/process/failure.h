#pragma once

#include <string>
#include <string_view>

#include "blockstore/base/error.h"

namespace volfs::cli {

// Exit codes of `volfs check`: those of fsck(8), which are added up.
enum FsckCode : int {
  kFsckOk = 0,
  kFsckCorrected = 1,  // something was wrong, and is mended
  kFsckLeft = 4,       // something is wrong
  kFsckFailed = 8,     // it could not be checked
  kFsckUsage = 16,
};

// Returns the exit code that mount(8) documents for its helpers: 1 usage or permissions, 2 a lack
// of memory or files, 8 an interrupt, 32 any other failure.
int MountHelperExitCode(Errc code);

// An Error for a failed system call (or a refused request). The message is a sentence without the
// errno's name: PrintError adds that.
Error Failure(int os_errno, std::string message);

// Failure(errno, "WHAT: No such file or directory").
Error SystemFailure(std::string_view what);

// The command line asks for something that cannot be meant.
Error UsageFailure(std::string message);

// Something failed and was printed already: only the exit code is left to be told.
Error SilentFailure(Errc code);

// The text for people: "MESSAGE (EBUSY)". The name stands at the end of the first line; further
// lines
// of a message list details.
std::string ErrorText(const Error& error);

// The text for programs, a line with its LF: {"error":"EBUSY","message":"mnt: is in use",
// "remedy":"end this first","details":["loop0: ..."]}. A sentence has its remedy behind its first
// "; ". Lines that follow are the details; a line "see: ..." is a remedy.
std::string ErrorJson(const Error& error);

// Prints "volfs COMMAND: ...", or ErrorJson where the form of errors is JSON, on stderr; nothing
// for a SilentFailure.
void PrintError(std::string_view command, const Error& error);

}  // namespace volfs::cli
