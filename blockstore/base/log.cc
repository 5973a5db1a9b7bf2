#include "blockstore/base/log.h"

#include <spdlog/sinks/base_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstring>
#include <ctime>
#include <memory>
#include <utility>

#include "blockstore/base/log_file.h"
#include "blockstore/base/log_limiter.h"
#include "blockstore/base/safe_text.h"

namespace volfs {
namespace {

std::atomic<int> raw_fd{STDERR_FILENO};

// Under LimitedLog's lock.
class FileSink : public spdlog::sinks::base_sink<spdlog::details::null_mutex> {
 public:
  explicit FileSink(const std::string& path) : file_(path) {}
  [[nodiscard]] const LogFile& file() const { return file_; }

 private:
  void sink_it_(const spdlog::details::log_msg& message) override {
    spdlog::memory_buf_t line;
    formatter_->format(message, line);
    file_.Append({line.data(), line.size()});
  }
  void flush_() override {}

  LogFile file_;
};

std::shared_ptr<spdlog::logger> MakeLogger(spdlog::sink_ptr sink) {
  auto logger = std::make_shared<spdlog::logger>("volfs", std::move(sink));
  logger->set_pattern("%Y-%m-%dT%H:%M:%S.%e%z %l %v");
  logger->flush_on(spdlog::level::info);
  logger->set_error_handler([](const std::string&) {});  // there is no place to tell it
  return logger;
}

// The log of a daemon. Not destroyed at the end: threads may log until the process is gone.
struct LimitedLog {
  std::shared_ptr<spdlog::logger> logger;  // constant after LogToFile
  Mutex mu;
  LogLimiter limiter VOLFS_GUARDED_BY(mu);

  void Write(spdlog::level::level_enum level, std::string_view text) VOLFS_EXCLUDES(mu) {
    std::vector<LogLimiter::LeftOut> before;
    MutexLock lock(mu);
    const bool write = limiter.Take(text, MonotonicNow(), before);
    TellLocked(before);
    if (write) logger->log(level, text);
  }
  void WriteOverdue() VOLFS_EXCLUDES(mu) {
    MutexLock lock(mu);
    TellLocked(limiter.Overdue(MonotonicNow()));
  }
  void TellLocked(const std::vector<LogLimiter::LeftOut>& all) VOLFS_REQUIRES(mu) {
    for (const LogLimiter::LeftOut& left_out : all) logger->warn(LogLimiter::Text(left_out));
  }
};
LimitedLog* limited_log = nullptr;  // set while there is one thread

const std::shared_ptr<spdlog::logger>& StandardError() {
  static const auto logger = MakeLogger(std::make_shared<spdlog::sinks::stderr_sink_mt>());
  return logger;
}

void Limit(std::shared_ptr<spdlog::logger> logger) {
  auto log = std::make_unique<LimitedLog>();
  log->logger = std::move(logger);
  delete std::exchange(limited_log, log.release());
}

spdlog::level::level_enum LevelOf(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kWarning:
      return spdlog::level::warn;
    case LogLevel::kError:
      return spdlog::level::err;
  }
  return spdlog::level::err;
}

// A simulation has no log worth a lock, at which it would let another thread go on.
bool Limited() { return limited_log != nullptr && internal::simulated_runtime == nullptr; }

}  // namespace

// A line that cannot be written is lost: none is worth a request, or the daemon.
void Log(LogLevel level, std::string_view text) try {
  const std::string safe = SafeText(text);
  if (Limited()) return limited_log->Write(LevelOf(level), safe);
  (limited_log == nullptr ? StandardError() : limited_log->logger)->log(LevelOf(level), safe);
} catch (const std::exception&) {  // NOLINT: as said
}

void LogWhatWasLeftOut() try {
  if (Limited()) limited_log->WriteOverdue();
} catch (const std::exception&) {  // NOLINT: as in Log
}

bool LogToFile(const std::string& path) {
  auto sink = std::make_shared<FileSink>(path);
  if (!sink->file().ok()) return false;
  raw_fd = sink->file().fd();
  Limit(MakeLogger(std::move(sink)));
  return true;
}

void LimitLog() { Limit(StandardError()); }

namespace {

// Of a signal handler: no function that may lock or allocate. gmtime_r reads no time zone's file.
size_t TimeText(std::array<char, 32>& out) {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  std::tm utc{};
  ::gmtime_r(&now.tv_sec, &utc);
  auto put = [&out, at = size_t{0}](int value, int digits, char then) mutable {
    for (int i = digits; i-- > 0; value /= 10) out[at + i] = static_cast<char>('0' + value % 10);
    at += digits;
    out[at++] = then;
    return at;
  };
  put(utc.tm_year + 1900, 4, '-');
  put(utc.tm_mon + 1, 2, '-');
  put(utc.tm_mday, 2, 'T');
  put(utc.tm_hour, 2, ':');
  put(utc.tm_min, 2, ':');
  put(utc.tm_sec, 2, '.');
  const size_t at = put(static_cast<int>(now.tv_nsec / 1'000'000), 3, '+');
  std::memcpy(&out[at], "00:00 ", 6);
  return at + 6;
}

}  // namespace

int RawLogFd() { return raw_fd.load(std::memory_order_relaxed); }

void LogRaw(std::string_view level, std::initializer_list<std::string_view> pieces) {
  std::array<char, 1024> line;
  size_t used = 0;
  const auto add = [&](std::string_view piece) {
    const size_t length = std::min(piece.size(), line.size() - 1 - used);
    std::memcpy(&line[used], piece.data(), length);
    used += length;
  };
  std::array<char, 32> time{};
  add({time.data(), TimeText(time)});
  add(level);
  add(" ");
  for (const std::string_view piece : pieces) add(piece);
  line[used++] = '\n';
  (void)!::write(RawLogFd(), line.data(), used);
}

}  // namespace volfs
