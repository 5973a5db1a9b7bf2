#include "control/request/request_file.h"

#include <cassert>
#include <utility>

#include "blockstore/base/str_cat.h"
#include "control/text/name.h"

namespace volfs {
namespace {

constexpr size_t kShownLineBytes = 200;  // of a refused line, in last_error

std::string OkReply(const std::string& words) {
  return words.empty() ? "ok\n" : StrCat("ok ", OneLine(words), '\n');
}

std::string ErrorReply(const Error& error) {
  return StrCat("error ", ErrnoName(error.code), ' ', OneLine(error.message), '\n');
}

}  // namespace

class RequestFile::Turn {
 public:
  explicit Turn(RequestFile& file) : file_(file) {
    MutexLock lock(file_.mu_);
    while (file_.turn_taken_) file_.turn_free_.Wait(file_.mu_);
    file_.turn_taken_ = true;
  }
  ~Turn() {
    MutexLock lock(file_.mu_);
    file_.turn_taken_ = false;
    file_.turn_free_.NotifyAll();
  }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;

 private:
  RequestFile& file_;
};

Result<size_t> RequestFile::Write(std::string_view bytes, const Executor& execute,
                                  const RefusalListener& refused) {
  if (bytes.empty()) return size_t{0};
  const Turn turn(*this);
  if (auto pending = TakePending()) return *std::move(pending);

  const size_t end = ExecutableBytes(bytes);
  size_t done = BeginLines(bytes);
  while (done < end) {
    const Line line = NextLine(bytes.substr(done));
    const Status status = RunLine(line, execute, refused);
    if (!status.ok() && done == 0) return status.error();
    if (!status.ok()) {
      SetPending(status.error());
      break;
    }
    done += line.bytes();
  }
  assert(done > 0 && done <= bytes.size());
  return done;
}

RequestFile::Line RequestFile::NextLine(std::string_view bytes) {
  const size_t line_feed = bytes.find('\n');
  return {bytes.substr(0, line_feed), line_feed != std::string_view::npos};
}

// How much of one write may be executed: all of it, or its whole lines (kMaxUncutBytes).
size_t RequestFile::ExecutableBytes(std::string_view bytes) {
  const size_t last_line_feed = bytes.rfind('\n');
  if (bytes.size() <= kMaxUncutBytes || last_line_feed == std::string_view::npos) {
    return bytes.size();
  }
  return last_line_feed + 1;
}

// Runs one line and queues its reply; whether the line was refused is the result.
Status RequestFile::RunLine(const Line& line, const Executor& execute,
                            const RefusalListener& refused) {
  const Result<std::string> result = Execute(line, execute);
  FinishLine(line, result.ok() ? OkReply(result.value()) : ErrorReply(result.error()));
  if (result.ok()) return OkStatus();
  if (refused) refused(kind_, Printable(line.text, kShownLineBytes), result.error());
  return result.error();
}

Result<std::string> RequestFile::Execute(const Line& line, const Executor& execute) const {
  ASSIGN_OR_RETURN(const Request request, ParseRequest(kind_, line.text));
  const RequestSpec& spec = SpecOf(kind_);
  if (spec.destructive && !line.ended) {
    return Error{Errc::kInvalid,
                 StrCat(spec.file,
                        ": the line has no LF, so it may be half a name; write it whole, "
                        "with its LF, in one write")};
  }
  return execute(request);
}

void RequestFile::FinishLine(const Line& line, std::string reply) {
  MutexLock lock(mu_);
  line_feed_owed_ = !line.ended;
  QueueLocked(std::move(reply));
}

// Returns how many bytes are no line: the LF of a request that came without one ends it, and is no
// request of its own.
size_t RequestFile::BeginLines(std::string_view bytes) {
  MutexLock lock(mu_);
  if (!std::exchange(written_, true)) {  // the unread rest of the usage line answers no request
    replies_.clear();
    cursor_ = 0;
  }
  return std::exchange(line_feed_owed_, false) && bytes.front() == '\n' ? 1 : 0;
}

std::optional<Error> RequestFile::TakePending() {
  MutexLock lock(mu_);
  return std::exchange(pending_, std::nullopt);
}

void RequestFile::SetPending(const Error& error) {
  MutexLock lock(mu_);
  pending_ = error;
}

// Never drops a reply that a reader has begun: its end would be missing.
void RequestFile::QueueLocked(std::string reply) {
  if (replies_.size() >= kMaxReplies) {
    replies_.erase(replies_.begin() + (cursor_ > 0 ? 1 : 0));
    ++lost_;
  }
  replies_.push_back(std::move(reply));
}

std::string RequestFile::Read(size_t max) {
  MutexLock lock(mu_);
  if (!written_ && !std::exchange(usage_told_, true)) {
    QueueLocked(StrCat(UsageLine(kind_), '\n'));
  }
  if (lost_ > 0 && cursor_ == 0 && max > 0) {
    replies_.push_front(StrCat("lost ", std::exchange(lost_, 0), '\n'));
  }
  if (replies_.empty()) return "";
  std::string bytes = replies_.front().substr(cursor_, max);
  cursor_ += bytes.size();
  if (cursor_ == replies_.front().size()) {
    replies_.pop_front();
    cursor_ = 0;
  }
  return bytes;
}

}  // namespace volfs
