#include "blockstore/clone/clone_job.h"

#include <algorithm>
#include <cassert>
#include <cmath>

#include "blockstore/base/log.h"
#include "blockstore/base/sabotage.h"
#include "blockstore/base/str_cat.h"
#include "blockstore/catalog/volume_settings.h"

namespace volfs {
namespace {

constexpr Nanoseconds kSlice = std::chrono::milliseconds(100);
constexpr Nanoseconds kCommitAge = std::chrono::seconds(1);
constexpr uint64_t kCommitBytes = uint64_t{64} << 20;
constexpr Nanoseconds kPatience = std::chrono::seconds(3);
constexpr Nanoseconds kLater = std::chrono::milliseconds(500);
constexpr int kAttempts = 5;         // reads of one range before the clone is `error`
constexpr double kRateWeight = 0.3;  // of the newest second in the moving average

}  // namespace

double CloneProgress::percent() const {
  if (!creating) return 100;
  if (!total_known || total_bytes == 0) return 0;
  const double part = static_cast<double>(copied_bytes) / static_cast<double>(total_bytes);
  return std::min(std::floor(part * 10000) / 100, 99.99);
}

CloneJob::CloneJob(std::shared_ptr<Volume> clone, std::shared_ptr<const FrozenImage> source,
                   Node& source_node, CloneRecord record, const Context& context)
    : clone_(std::move(clone)),
      source_(std::move(source)),
      source_use_(source_node.foreground()),
      clone_use_(clone_->node().foreground()),
      context_(context),
      wanted_(clone_->hydration().NotePriorityRanges()),
      cursor_bytes_(record.cursor_block * context.block_size),
      passed_bytes_(record.copied_bytes),
      committed_cursor_bytes_(cursor_bytes_),
      verifies_(clone_->state().verification() == Verification::kWanted),
      state_(record.total_known ? State::kCopying : State::kCounting),
      record_(std::move(record)) {
  record_.error.clear();  // each mount tries again
}

void CloneJob::TransitionLocked(State next) {
  const State now = state_;
  [[maybe_unused]] const bool drawn =
      (now == State::kCounting && next == State::kCopying) ||
      (now == State::kCopying && next == State::kFinishing) ||
      (now == State::kFinishing && (next == State::kDone || next == State::kCopying)) ||
      (now != State::kDone && now != State::kCancelled && next == State::kFailed) ||
      (now == State::kFailed && (next == State::kCounting || next == State::kCopying)) ||
      (now != State::kDone && next == State::kCancelled);
  assert(drawn);
  state_ = next;
}

CloneJob::State CloneJob::state() const {
  MutexLock lock(mu_);
  return state_;
}

CloneRecord CloneJob::record() const {
  MutexLock lock(mu_);
  return record_;
}

std::string CloneJob::Hung() const {
  const Nanoseconds began = step_began_.load();
  const Nanoseconds taken = MonotonicNow() - began;
  if (began == Nanoseconds{0} || taken < kPatience) return "";
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(taken).count();
  return StrCat("copying waits for node ",
                step_reads_.load() ? record().source_node_name : clone_->node().name(),
                ", whose disk has not answered for ", seconds, " s; look at it");
}

std::string CloneJob::error() const {
  const bool all_paused = context_.throttle.rate() == 0;
  const std::string hung = Hung();
  MutexLock lock(mu_);
  if (state_ == State::kFailed) return record_.error;
  if (!hung.empty()) return hung;
  if (!paused_.empty() || state_ == State::kFinishing) return paused_;
  if (all_paused) return "copying is paused: limits/copy_rate is 0";
  return copy_rate() == 0 ? "copying is paused: this clone's copy_rate is 0" : "";
}

CloneProgress CloneJob::progress() const {
  const bool capped_to_nothing =
      context_.throttle.rate() == 0 || copy_rate() == 0 || !Hung().empty();
  MutexLock lock(mu_);
  CloneProgress p;
  p.creating = true;
  p.total_bytes = record_.total_bytes;
  p.total_known = record_.total_known;
  const uint64_t told =
      Sabotaged(Sabotage::kProgressUncommitted) ? passed_bytes_ : record_.copied_bytes;
  p.copied_bytes = std::min(told, record_.total_bytes);
  const bool moving = state_ == State::kCopying && paused_.empty() && !capped_to_nothing;
  if (!moving || rate_ < 1) return p;
  p.rate_bytes = static_cast<uint64_t>(rate_);
  p.eta_seconds = (p.total_bytes - p.copied_bytes) / p.rate_bytes;
  return p;
}

void CloneJob::Cancel() {
  {
    MutexLock lock(mu_);
    if (state_ != State::kDone && state_ != State::kCancelled) TransitionLocked(State::kCancelled);
  }
  Stop();
}

void CloneJob::Stop() {
  interrupted_.store(true);
  context_.throttle.Interrupt();
}

void CloneJob::Resume() {
  MutexLock lock(mu_);
  if (state_ != State::kFailed) return;
  attempts_.store(0);
  TransitionLocked(record_.total_known ? State::kCopying : State::kCounting);
}

void CloneJob::SetCopyRate(uint64_t bytes_per_second) {
  own_throttle_.SetRate(bytes_per_second);
  copy_rate_.store(bytes_per_second);
}

CloneJob::Next CloneJob::RunSlice() {
  if (interrupted_.load()) return Next::kOver;
  resume_at_ = Nanoseconds{0};
  moved_ = false;
  Status done = OkStatus();
  const State now = state();
  switch (now) {
    case State::kCounting:
      done = CountSlice();
      break;
    case State::kCopying:
      done = CopySlice();
      break;
    case State::kFinishing:
      done = Finish();
      break;
    default:
      return Next::kOver;
  }
  if (!done.ok()) return OnError(done.error());
  // A slice that only rested does not show that a piece which failed before can be copied now.
  const bool rested = now == State::kCopying && !moved_;
  if (!rested) attempts_.store(0);
  MutexLock lock(mu_);
  if (!rested) paused_.clear();
  if (state_ == State::kDone || state_ == State::kCancelled) return Next::kOver;
  return resume_at_ == Nanoseconds{0} ? Next::kAgain : Next::kLater;
}

Status CloneJob::CountSlice() {
  const Nanoseconds deadline = MonotonicNow() + kSlice;
  while (MonotonicNow() < deadline) {
    ASSIGN_OR_RETURN(const std::optional<ByteRange> data, source_->NextData(count_offset_, data_));
    if (data) {
      counted_bytes_ += data->length_bytes;
      count_offset_ = data->end();
      continue;
    }
    CloneRecord next = record();
    next.total_bytes = counted_bytes_;
    next.total_known = true;
    RETURN_IF_ERROR(clone_->commits().SyncWith({PutClone{next}}));
    MutexLock lock(mu_);
    record_ = next;
    if (state_ == State::kCounting) TransitionLocked(State::kCopying);
    return OkStatus();
  }
  return OkStatus();
}

Status CloneJob::CopySlice() {
  const Nanoseconds deadline = MonotonicNow() + kSlice;
  const auto over = [&] { return interrupted_.load() || MonotonicNow() >= deadline; };
  while (!over()) {
    ASSIGN_OR_RETURN(const std::optional<ByteRange> data, source_->NextData(cursor_bytes_, data_));
    ASSIGN_OR_RETURN(const bool served, CopyWanted(over));
    if (!served) break;
    if (!data) {
      RETURN_IF_ERROR(CommitProgress());
      moved_ = true;
      MutexLock lock(mu_);
      if (state_ == State::kCopying) TransitionLocked(State::kFinishing);
      return OkStatus();
    }
    const uint64_t start = data->offset_bytes / context_.block_size * context_.block_size;
    const uint64_t end = std::min(data->end(), start + StepBytes());
    ASSIGN_OR_RETURN(const bool copied, CopyPiece({start, end - start}, over));
    if (!copied) break;
    moved_ = true;
    passed_bytes_ += end - data->offset_bytes;
    cursor_bytes_ = end;
  }
  const bool due = MonotonicNow() - last_commit_ >= kCommitAge;
  if (uncommitted_bytes_ >= kCommitBytes || (due && cursor_bytes_ != committed_cursor_bytes_)) {
    return CommitProgress();
  }
  return OkStatus();
}

Result<bool> CloneJob::CopyWanted(const std::function<bool()>& over) {
  while (!over()) {
    const std::optional<uint64_t> wanted = wanted_.Take();
    if (!wanted) return true;
    const uint64_t piece_end = (*wanted / context_.piece_bytes + 1) * context_.piece_bytes;
    // Readers come in any order, so they get a copy of the walk's cursor: it knows the range of
    // data that the walk is in, which need not be asked again and must not be forgotten.
    DataCursor data_here = data_;
    for (uint64_t at = piece_end - context_.piece_bytes; at < piece_end;) {
      ASSIGN_OR_RETURN(const std::optional<ByteRange> data, source_->NextData(at, data_here));
      if (!data || data->offset_bytes >= piece_end) break;
      const uint64_t start = data->offset_bytes / context_.block_size * context_.block_size;
      at = std::min({data->end(), piece_end, start + StepBytes()});
      ASSIGN_OR_RETURN(const bool copied, CopyPiece({start, at - start}, over));
      if (copied) continue;
      wanted_.Add(*wanted);
      return false;
    }
  }
  return false;
}

uint64_t CloneJob::StepBytes() const {
  const bool alone = !source_use_.Busy() && !clone_use_.Busy();
  const uint64_t most = std::min(context_.throttle.burst_bytes(), own_throttle_.burst_bytes());
  const uint64_t step = std::min(
      {context_.piece_bytes, most, alone ? context_.piece_bytes : ForegroundLoad::kStepBytes});
  return std::max(step / context_.block_size, uint64_t{1}) * context_.block_size;
}

bool CloneJob::BeginStep() {
  Nanoseconds wait = source_use_.TryStep();
  if (wait == Nanoseconds{0} && &source_use_ != &clone_use_) {
    wait = clone_use_.TryStep();
    if (wait != Nanoseconds{0}) source_use_.EndStep(Nanoseconds{0});
  }
  if (wait != Nanoseconds{0}) resume_at_ = MonotonicNow() + wait;
  return wait == Nanoseconds{0};
}

void CloneJob::EndStep(Nanoseconds began) {
  const Nanoseconds taken = MonotonicNow() - began;
  source_use_.EndStep(taken);
  if (&source_use_ != &clone_use_) clone_use_.EndStep(taken);
}

bool CloneJob::PassThrottles(uint64_t bytes, const std::function<bool()>& over) {
  const bool own_limit = copy_rate() != Throttle::kUnlimited;
  if (own_limit) {
    const Nanoseconds wait = own_throttle_.TryTake(bytes);
    if (wait != Nanoseconds{0}) {
      resume_at_ = MonotonicNow() + wait;
      return false;
    }
  }
  const bool passed = context_.throttle.Take(bytes, over);
  const bool paused = copy_rate() == 0;  // since it was asked for above
  if (passed && !paused && BeginStep()) return true;
  if (passed) context_.throttle.GiveBack(bytes);
  if (own_limit && !paused) own_throttle_.GiveBack(bytes);
  return false;
}

Result<bool> CloneJob::CopyPiece(const ByteRange& piece, const std::function<bool()>& over) {
  const uint64_t first = piece.offset_bytes / context_.block_size;
  const BlockRange blocks{first, BlocksFor(piece.end(), context_.block_size) - first};
  ASSIGN_OR_RETURN(const bool inherited, clone_->hydration().AnyInherited(blocks));
  if (!inherited) return true;  // a user has written there first
  if (!PassThrottles(piece.length_bytes, over)) return false;
  const Nanoseconds began = MonotonicNow();
  step_began_.store(began);
  const Result<uint64_t> wrote = CopyRange(blocks, piece);
  // The step waits until the disk has the bytes, so that this time counts. Else the kernel would
  // write them out later, beside the requests of users.
  const bool busy = source_use_.Busy() || clone_use_.Busy();
  const bool waits = wrote.ok() && wrote.value() > 0 && busy;
  const Status written = waits ? clone_->hydration().WaitHydrated(blocks) : OkStatus();
  step_began_.store(Nanoseconds{0});
  EndStep(began);
  if (!wrote.ok()) return wrote.error();
  RETURN_IF_ERROR(written);
  uncommitted_bytes_ += wrote.value();
  moved_ = true;
  return true;
}

Result<uint64_t> CloneJob::CopyRange(const BlockRange& blocks, const ByteRange& piece) {
  if (shares_ && !verifies_) {
    ASSIGN_OR_RETURN(const std::optional<uint64_t> shared,
                     clone_->hydration().HydrateShared(blocks));
    if (shared) return *shared;
    shares_ = false;
  }
  // Whole blocks; bytes past the source's end read as zeros.
  buffer_.resize(context_.piece_bytes);
  const uint64_t length = std::min(blocks.count * context_.block_size,
                                   clone_->size_bytes() - blocks.first * context_.block_size);
  const std::span<std::byte> bytes(buffer_.data(), length);
  step_reads_.store(true);
  const Status read = source_->ReadOnce(bytes, piece.offset_bytes);
  step_reads_.store(false);
  if (!read.ok()) {
    const CloneRecord about = record();
    return Error{
        read.error().code,
        StrCat("bytes ", piece.offset_bytes, " to ", piece.end(), " of ", about.source_name,
               " on node ", about.source_node_name, ": ", read.error().message),
        read.error().os_errno};
  }
  if (!verifies_) return clone_->hydration().Hydrate(blocks, bytes);
  read_back_.resize(context_.piece_bytes);
  return clone_->hydration().Hydrate(blocks, bytes, std::span(read_back_).first(length));
}

// Commits presence, cursor and figures as one, so that they agree after a crash.
Status CloneJob::CommitProgress() {
  CloneRecord next = record();
  next.cursor_block = cursor_bytes_ / context_.block_size;
  const uint64_t before = next.copied_bytes;
  next.copied_bytes = std::min(std::max(passed_bytes_, before), next.total_bytes);
  next.error.clear();
  const Nanoseconds began = MonotonicNow();
  step_began_.store(began);
  const Status committed = clone_->commits().SyncWith({PutClone{next}});
  step_began_.store(Nanoseconds{0});
  RETURN_IF_ERROR(committed);
  clone_use_.Rest(MonotonicNow() - began);
  if (cursor_bytes_ > committed_cursor_bytes_) {
    clone_->head()->DropWritten({committed_cursor_bytes_, cursor_bytes_ - committed_cursor_bytes_});
  }
  committed_cursor_bytes_ = cursor_bytes_;
  uncommitted_bytes_ = 0;
  const Nanoseconds now = MonotonicNow();
  const double seconds = std::chrono::duration<double>(now - last_commit_).count();
  MutexLock lock(mu_);
  if (last_commit_ != Nanoseconds{0} && seconds > 0) {
    const double newest = static_cast<double>(next.copied_bytes - before) / seconds;
    rate_ = rate_ < 1 ? newest : rate_ * (1 - kRateWeight) + newest * kRateWeight;
  }
  last_commit_ = now;
  record_ = std::move(next);
  return OkStatus();
}

// Checks before the link is cut, by the maps alone, that all data that the walk has passed is
// present or zero: a clone is never declared whole because a cursor said so.
Result<bool> CloneJob::NothingLeft() {
  for (uint64_t at = 0; !interrupted_.load();) {
    ASSIGN_OR_RETURN(const std::optional<ByteRange> data, source_->NextData(at, data_));
    if (!data) return true;
    const uint64_t first = data->offset_bytes / context_.block_size;
    const BlockRange blocks{first, BlocksFor(data->end(), context_.block_size) - first};
    ASSIGN_OR_RETURN(const bool inherited, clone_->hydration().AnyInherited(blocks));
    if (inherited) {
      LogError(StrCat("clone ", clone_->name(), ": bytes ", data->offset_bytes, " to ", data->end(),
                      " were passed but not copied; copying goes on there"));
      cursor_bytes_ = data->offset_bytes;
      return false;
    }
    at = data->end();
  }
  return false;
}

Status CloneJob::Finish() {
  ASSIGN_OR_RETURN(const bool whole, NothingLeft());
  if (!whole) {
    MutexLock lock(mu_);
    if (state_ == State::kFinishing) TransitionLocked(State::kCopying);
    return OkStatus();
  }
  CloneRecord next = record();
  next.state = CloneState::kReleasing;
  next.copied_bytes = next.total_bytes;
  CatalogChange change{PutClone{next}};
  if (verifies_) {
    change.emplace_back(
        PutSetting{VolumeSetting(kVerifyPrefix, clone_->id()), std::string(kVerifyDone)});
  }
  RETURN_IF_ERROR(clone_->hydration().Flatten(change));
  if (verifies_) clone_->state().set_verification(Verification::kDone);
  buffer_ = {};
  read_back_ = {};
  MutexLock lock(mu_);
  record_ = std::move(next);
  if (state_ == State::kFinishing) TransitionLocked(State::kDone);
  return OkStatus();
}

CloneJob::Next CloneJob::OnError(const Error& error) {
  if (interrupted_.load()) return Next::kOver;
  resume_at_ = MonotonicNow() + kLater;
  const bool of_daemon = error.code == Errc::kNoMemory || error.code == Errc::kNoFiles;
  if (of_daemon || error.code == Errc::kNoSpace || error.code == Errc::kQuota) {
    MutexLock lock(mu_);
    paused_ = StrCat("copying waits for ",
                     of_daemon ? "memory or descriptors of the daemon" : "space on node ",
                     of_daemon ? "" : clone_->node().name(), ": ", error.message);
    return Next::kLater;
  }
  if (attempts_.fetch_add(1) + 1 < kAttempts) return Next::kLater;
  LogError(StrCat("clone ", clone_->name(), " stopped: ", error.message));
  CloneRecord next = record();
  next.error = error.message;
  // If this commit fails too, the next mount finds the clone creating, and tries again.
  if (const Status told = clone_->commits().SyncWith({PutClone{next}}); !told.ok()) {
    LogWarning(StrCat("clone ", clone_->name(), ": ", told.error().message));
  }
  MutexLock lock(mu_);
  record_ = std::move(next);
  if (state_ != State::kCancelled) TransitionLocked(State::kFailed);
  return Next::kOver;
}

}  // namespace volfs
