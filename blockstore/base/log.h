#pragma once

#include <initializer_list>
#include <string>
#include <string_view>

namespace volfs {

// The daemon's log. Takes ready text, so that only log.cc pays for spdlog's headers; build the text
// with StrCat() (str_cat.h). Any thread. Blocks at most for one write(2) to the sink. Never called
// with a lock held (ARCHITECTURE.md, "Lock order"). Each call writes one line: `text` is escaped
// (safe_text.h), as people read the log on terminals.
enum class LogLevel { kDebug, kInfo, kWarning, kError };
void Log(LogLevel level, std::string_view text);
inline void LogInfo(std::string_view text) { Log(LogLevel::kInfo, text); }
inline void LogWarning(std::string_view text) { Log(LogLevel::kWarning, text); }
inline void LogError(std::string_view text) { Log(LogLevel::kError, text); }

// Where the log goes: stderr until this is called, then the file (log_file.h), in which lines of
// one kind are limited (log_limiter.h). While there is one thread. False if it cannot be opened;
// the log then stays where it was.
bool LogToFile(const std::string& path);

// Tells how many lines were left out, if no other line will soon. For a thread that comes by often.
void LogWhatWasLeftOut();

// For signal handlers and a process without memory: one line, cut off at 1 KiB, past all limits,
// with no lock and no allocation.
void LogRaw(std::string_view level, std::initializer_list<std::string_view> pieces);
int RawLogFd();  // where it goes

}  // namespace volfs
