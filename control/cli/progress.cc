#include "control/cli/progress.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>

#include "blockstore/base/str_cat.h"
#include "control/cli/process/files.h"
#include "control/text/size.h"

namespace volfs::cli {
namespace {

std::string FormatPerCent(double per_cent) {
  std::array<char, 16> text;
  std::snprintf(text.data(), text.size(), "%6.2f%%", per_cent);
  return text.data();
}

// "[====>     ]", `width` columns with its brackets. Full only at 100 per cent.
std::string Bar(double per_cent, size_t width) {
  const size_t inner = width - 2;
  const double part = std::clamp(per_cent, 0.0, 100.0) / 100;
  const auto filled = static_cast<size_t>(part * static_cast<double>(inner));
  std::string bar(filled, '=');
  if (filled < inner) {
    bar += '>';
    bar.append(inner - filled - 1, ' ');
  }
  return StrCat("[", bar, "]");
}

}  // namespace

Result<Progress> ReadProgress(const Client& client, std::string_view volume) {
  ASSIGN_OR_RETURN(const Fields fields, client.Info(volume));
  const auto number = [&fields](std::string_view field) {
    return ParseNumber(ValueOf(fields, field));
  };
  Progress progress;
  progress.per_cent = std::strtod(ValueOf(fields, "hydrated").c_str(), nullptr);
  progress.copied_bytes = number("copied_bytes").value_or(0);
  progress.total_bytes = number("total_bytes").value_or(0);
  progress.rate_bytes = number("rate_bytes").value_or(0);
  progress.eta_seconds = number("eta_seconds");
  const std::string error = ValueOf(fields, "error");
  if (error != "null") progress.error = error;
  return progress;
}

std::string FormatSeconds(uint64_t seconds) {
  std::array<char, 40> text;
  const auto hours = static_cast<unsigned long long>(seconds / 3600);
  const auto minutes = static_cast<unsigned>(seconds / 60 % 60);
  const auto rest = static_cast<unsigned>(seconds % 60);
  if (hours > 0) {
    std::snprintf(text.data(), text.size(), "%llu:%02u:%02u", hours, minutes, rest);
  } else {
    std::snprintf(text.data(), text.size(), "%u:%02u", minutes, rest);
  }
  return text.data();
}

std::string RenderProgress(std::string_view name, const Progress& progress, size_t width) {
  constexpr size_t kMinBar = 12;
  constexpr size_t kWidestBar = 42;
  std::string facts = FormatPerCent(progress.per_cent);
  if (progress.total_bytes > 0) {
    facts +=
        StrCat("  ", FormatSize(progress.copied_bytes), " of ", FormatSize(progress.total_bytes));
  }
  if (!progress.error.empty()) {
    facts += StrCat("  ", progress.error);
  } else {
    facts += StrCat("  ", FormatSize(progress.rate_bytes), "/s  eta ",
                    progress.eta_seconds ? FormatSeconds(*progress.eta_seconds) : "unknown");
  }
  const size_t taken = name.size() + 1 + facts.size() + 1;
  if (taken + kMinBar <= width) {
    const size_t bar = std::min(width - taken, kWidestBar);
    return StrCat(name, " ", Bar(progress.per_cent, bar), " ", facts);
  }
  return StrCat(name, " ", facts).substr(0, width);
}

}  // namespace volfs::cli
