#include "blockstore/log.h"

#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

namespace volfs {
namespace {

std::shared_ptr<spdlog::logger> MakeLogger(spdlog::sink_ptr sink) {
  auto logger = std::make_shared<spdlog::logger>("volfs", std::move(sink));
  logger->set_pattern("%Y-%m-%dT%H:%M:%S.%e%z %l %v");
  logger->flush_on(spdlog::level::info);
  return logger;
}

spdlog::logger& Logger() {
  static const bool once = [] {
    spdlog::set_default_logger(MakeLogger(std::make_shared<spdlog::sinks::stderr_sink_mt>()));
    return true;
  }();
  (void)once;
  return *spdlog::default_logger_raw();
}

}  // namespace

void Log(LogLevel level, std::string_view text) {
  const auto to = level == LogLevel::kDebug     ? spdlog::level::debug
                  : level == LogLevel::kInfo    ? spdlog::level::info
                  : level == LogLevel::kWarning ? spdlog::level::warn
                                                : spdlog::level::err;
  Logger().log(to, text);
}

bool LogToFile(const std::string& path) {
  Logger();
  try {
    spdlog::set_default_logger(
        MakeLogger(std::make_shared<spdlog::sinks::basic_file_sink_mt>(path)));
    return true;
  } catch (const spdlog::spdlog_ex&) {
    return false;
  }
}

}  // namespace volfs
