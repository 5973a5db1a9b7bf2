#include "blockstore/base/log_limiter.h"

#include <algorithm>
#include <utility>

namespace volfs {
namespace {

constexpr size_t kKindBytes = 160;
constexpr size_t kKeptBytes = 400;  // of the last line that was left out

bool IsVariable(std::string_view word) {
  return word.find_first_of("0123456789/") != std::string_view::npos;
}

}  // namespace

std::string LogLimiter::KindOf(std::string_view line) {
  std::string kind;
  while (!line.empty() && kind.size() < kKindBytes) {
    const std::string_view word = line.substr(0, line.find(' '));
    line.remove_prefix(std::min(line.size(), word.size() + 1));
    kind += IsVariable(word) ? "#" : word;
    kind += ' ';
  }
  return kind;
}

std::string LogLimiter::Text(const LeftOut& left_out) {
  return volfs::StrCat(left_out.lines, " more like this in ",
                       left_out.span / std::chrono::seconds(1), " s: ", left_out.line);
}

void LogLimiter::Refill(Bucket& bucket, Nanoseconds now) {
  const int64_t tokens = (now - bucket.filled) / kPause;
  if (tokens <= 0) return;
  bucket.tokens = static_cast<uint32_t>(std::min<int64_t>(kBurst, bucket.tokens + tokens));
  bucket.filled += tokens * kPause;
}

void LogLimiter::TellLeftOut(Bucket& bucket, Nanoseconds now, std::vector<LeftOut>& told) {
  if (bucket.left_out == 0) return;
  told.push_back(
      {std::move(bucket.line), std::exchange(bucket.left_out, 0), now - bucket.first_left_out});
  bucket.line.clear();
}

bool LogLimiter::Take(std::string_view line, Nanoseconds now, std::vector<LeftOut>& before) {
  const std::string kind = KindOf(line);
  auto it = buckets_.find(kind);
  if (it == buckets_.end()) {
    if (buckets_.size() >= kKinds) MakeRoom(now, before);
    it = buckets_.try_emplace(kind).first;
    it->second.filled = now;
  }
  Bucket& bucket = it->second;
  Refill(bucket, now);
  bucket.last = now;
  if (bucket.tokens > 0) {
    if (bucket.tokens-- == kBurst) bucket.filled = now;
    TellLeftOut(bucket, now, before);
    return true;
  }
  if (bucket.left_out++ == 0) bucket.first_left_out = now;
  bucket.line = line.substr(0, kKeptBytes);
  return false;
}

std::vector<LogLimiter::LeftOut> LogLimiter::Overdue(Nanoseconds now) {
  std::vector<LeftOut> told;
  for (auto& [kind, bucket] : buckets_) {
    if (now - bucket.last < kPause) continue;
    if (bucket.left_out != 0 && bucket.tokens > 0) --bucket.tokens;  // it is a line as any other
    TellLeftOut(bucket, now, told);
  }
  return told;
}

void LogLimiter::MakeRoom(Nanoseconds now, std::vector<LeftOut>& before) {
  const auto quiet =
      std::min_element(buckets_.begin(), buckets_.end(),
                       [](const auto& a, const auto& b) { return a.second.last < b.second.last; });
  TellLeftOut(quiet->second, now, before);
  buckets_.erase(quiet);
}

}  // namespace volfs
