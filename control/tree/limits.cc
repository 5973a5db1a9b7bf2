#include "control/tree/limits.h"

#include "blockstore/base/log.h"
#include "blockstore/base/str_cat.h"
#include "blockstore/sync/throttle.h"
#include "control/text/name.h"
#include "control/text/size.h"

namespace volfs {
namespace {

constexpr uint64_t kMaxCopyJobs = Hydrator::kMaxJobs;

Result<uint64_t> ParseRate(std::string_view value) {
  if (value == "max") return Throttle::kUnlimited;
  const Result<uint64_t> size = ParseSize(value);
  if (size.ok()) return size.value();
  return Error{Errc::kInvalid,
               StrCat("copy_rate: ", Printable(value),
                      " is no rate; write bytes per second (10M), max for no limit, "
                      "or 0 to pause")};
}

Result<uint64_t> ParseJobs(std::string_view value) {
  const bool digits = value.find_first_not_of("0123456789") == std::string_view::npos;
  const Result<uint64_t> number = ParseSize(value);
  if (digits && number.ok() && number.value() >= 1 && number.value() <= kMaxCopyJobs) {
    return number.value();
  }
  return Error{Errc::kInvalid, StrCat("copy_jobs: ", Printable(value),
                                      " is no number of clones from 1 to ", kMaxCopyJobs)};
}

std::string RateText(uint64_t rate) {
  return rate == Throttle::kUnlimited ? "max" : std::to_string(rate);
}

std::string JobsText(uint64_t jobs) { return std::to_string(jobs); }

void ApplyRate(Hydrator& hydrator, uint64_t rate) { hydrator.throttle().SetRate(rate); }

void ApplyJobs(Hydrator& hydrator, uint64_t jobs) { hydrator.SetJobs(static_cast<int>(jobs)); }

struct LimitSpec {
  std::string_view name;
  uint64_t standard;
  Result<uint64_t> (*parse)(std::string_view);
  std::string (*text)(uint64_t);
  void (*apply)(Hydrator&, uint64_t);
};

// By Limit.
constexpr std::array<LimitSpec, kLimits> kSpecs = {{
    {"copy_rate", Throttle::kUnlimited, ParseRate, RateText, ApplyRate},
    {"copy_jobs", 4, ParseJobs, JobsText, ApplyJobs},
}};

constexpr size_t Index(Limit limit) { return static_cast<size_t>(limit); }
const LimitSpec& SpecOf(Limit limit) { return kSpecs[Index(limit)]; }

// The values that were asked for, the most important one first; empty ones stand for none.
std::vector<std::string> Asked(Limit limit, Store& store, const Limits::Options& options) {
  std::vector<std::string> values;
  for (const auto& [key, value] : options) {
    if (key == SpecOf(limit).name) values.push_back(value);
  }
  values.push_back(store.settings().Get(std::string(SpecOf(limit).name)));
  return values;
}

uint64_t FirstNumber(Limit limit, Store& store, const Limits::Options& options) {
  for (const std::string& value : Asked(limit, store, options)) {
    if (value.empty()) continue;
    const Result<uint64_t> number = ParseLimit(limit, value);
    if (number.ok()) return number.value();
    LogWarning(StrCat(number.error().message, "; passed over"));
  }
  return SpecOf(limit).standard;
}

}  // namespace

Result<uint64_t> ParseLimit(Limit limit, std::string_view value) {
  return SpecOf(limit).parse(value);
}

std::string LimitText(Limit limit, uint64_t number) { return SpecOf(limit).text(number); }

std::string_view LimitName(Limit limit) { return SpecOf(limit).name; }

Limits::Limits(Store& store, const Options& options) : store_(store), numbers_{} {
  for (const Limit limit : {Limit::kCopyRate, Limit::kCopyJobs}) {
    const uint64_t number = FirstNumber(limit, store, options);
    MutexLock lock(mu_);
    ApplyLocked(limit, number);
  }
}

std::string Limits::Value(Limit limit) const { return LimitText(limit, Number(limit)); }

uint64_t Limits::Number(Limit limit) const {
  MutexLock lock(mu_);
  return numbers_[Index(limit)];
}

Status Limits::Set(Limit limit, std::string_view value) {
  ASSIGN_OR_RETURN(const uint64_t asked, ParseLimit(limit, value));
  const std::string key(LimitName(limit));
  RETURN_IF_ERROR(store_.settings().Set(key, LimitText(limit, asked)));
  MutexLock lock(mu_);
  // Applies the remembered value and not the requested one: of two concurrent callers the last one
  // must win in both places.
  const Result<uint64_t> remembered = ParseLimit(limit, store_.settings().Get(key));
  ApplyLocked(limit, remembered.ok() ? remembered.value() : asked);
  return OkStatus();
}

void Limits::ApplyLocked(Limit limit, uint64_t number) {
  numbers_[Index(limit)] = number;
  SpecOf(limit).apply(store_.hydrator(), number);
}

}  // namespace volfs
