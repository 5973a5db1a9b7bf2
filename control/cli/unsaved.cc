#include "control/cli/unsaved.h"

#include <sys/ioctl.h>
#include <sys/xattr.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <string_view>

#include "blockstore/base/error.h"
#include "blockstore/base/str_cat.h"
#include "control/cli/process/failure.h"
#include "control/cli/process/files.h"
#include "control/cli/process/output.h"

namespace volfs::cli {
namespace {

using Clock = std::chrono::steady_clock;

constexpr auto kQuiet = std::chrono::seconds(5);

Result<std::string> ReadUnsaved(const std::string& mountpoint) {
  std::string value(65'536, '\0');
  const ssize_t got =
      ::getxattr(mountpoint.c_str(), "user.volfs.unsaved", value.data(), value.size());
  if (got < 0) return SystemFailure(mountpoint);
  value.resize(static_cast<size_t>(got));
  return value;
}

// struct pidfd_info of Linux 6.15, which the headers of Debian 12 lack.
struct PidInfo {
  uint64_t mask = uint64_t{1} << 3;  // PIDFD_INFO_EXIT
  uint64_t cgroup = 0;
  std::array<uint32_t, 11> ids{};
  int32_t exit_code = 0;
};
static_assert(sizeof(PidInfo) == 64);

}  // namespace

std::vector<std::string> AskUnsaved(const std::string& mountpoint) {
  const Clock::time_point began = Clock::now();
  for (bool told = false;;) {
    const Result<std::string> answer = ReadUnsaved(mountpoint);
    if (!answer.ok() && answer.error().os_errno == EIO) {  // given up by the watchdog
      return {"the daemon: does not answer in time; control/last_error says more"};
    }
    if (!answer.ok()) return {};
    std::vector<std::string> lines;
    for (const std::string_view line : SplitLines(answer.value())) lines.emplace_back(line);
    if (lines.empty() || lines.front() != "pending") {
      if (!lines.empty()) lines.erase(lines.begin());
      return lines;
    }
    if (told || Clock::now() - began < kQuiet) continue;
    told = true;
    PrintNote("volfs umount: waiting until everything is durable");
  }
}

int ExitStatusOf(int pid, int pidfd) {
  // The last field of a zombie's line holds its status.
  const Result<std::string> stat = ReadFile(StrCat("/proc/", pid, "/stat"));
  if (stat.ok() && stat.value().find(") Z ") != std::string::npos) {
    std::string_view text = stat.value();
    while (text.ends_with('\n')) text.remove_suffix(1);
    return static_cast<int>(ParseNumber(text.substr(text.rfind(' ') + 1)).value_or(0));
  }
  PidInfo info;
  constexpr unsigned kGetInfo = _IOWR(0xFF, 11, PidInfo);
  if (::ioctl(pidfd, kGetInfo, &info) != 0 || (info.mask & uint64_t{1} << 3) == 0) return 0;
  return info.exit_code;
}

}  // namespace volfs::cli
