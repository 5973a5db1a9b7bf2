#include "control/tree/control_file.h"

#include <functional>
#include <optional>
#include <utility>

#include "control/request/executor.h"
#include "control/request/request_file.h"
#include "control/text/io.h"

namespace volfs {
namespace {

std::string Part(const std::string& text, size_t max, uint64_t offset_bytes) {
  return offset_bytes >= text.size() ? "" : text.substr(offset_bytes, max);
}

Error NotWritable() {
  return Error{Errc::kProtected,
               "this control file is only read; control/help tells which ones take requests"};
}

class TextFile : public ControlFile {
 public:
  explicit TextFile(HeldTexts::Text text) : text_(std::move(text)) {}
  Result<std::optional<std::string>> Read(size_t max, uint64_t offset_bytes) override {
    return std::optional(Part(*text_, max, offset_bytes));
  }
  Result<size_t> Write(std::string_view, const Caller&) override { return NotWritable(); }
  bool Readable() override { return true; }

 private:
  const HeldTexts::Text text_;
};

class OpenRequest : public ControlFile {
 public:
  OpenRequest(ControlState& state, RequestKind kind) : state_(state), kind_(kind), file_(kind) {}

  Result<std::optional<std::string>> Read(size_t max, uint64_t) override {
    return std::optional(file_.Read(max));
  }

  Result<size_t> Write(std::string_view data, const Caller& caller) override {
    const auto execute = [&](const Request& request) {
      Result<std::string> words = ExecuteRequest(state_.store, request, caller);
      if (words.ok()) state_.counters.CountRequest(kind_, ControlCounters::Outcome::kOk);
      return words;
    };
    const auto refused = [&](RequestKind kind, const std::string& line, const Error& error) {
      state_.counters.CountRequest(kind, ControlCounters::Outcome::kRefused);
      state_.RecordRefusal(caller.uid, SpecOf(kind).file, line, error);
    };
    return file_.Write(data, execute, refused);
  }

  bool Readable() override { return true; }

 private:
  ControlState& state_;
  const RequestKind kind_;
  RequestFile file_;
};

// One value that can be written.
class LimitFile : public ControlFile {
 public:
  struct What {
    std::string_view name;  // for last_error ...
    std::string object;     // ... and whose it is
    std::function<Status(std::string_view)> set;
  };
  LimitFile(ControlState& state, What what, HeldTexts::Text text)
      : state_(state), what_(std::move(what)), text_(std::move(text)) {}

  Result<std::optional<std::string>> Read(size_t max, uint64_t offset_bytes) override {
    return std::optional(Part(*text_, max, offset_bytes));
  }
  Result<size_t> Write(std::string_view data, const Caller& caller) override VOLFS_EXCLUDES(mu_);
  bool Readable() override { return true; }

 private:
  ControlState& state_;
  const What what_;
  const HeldTexts::Text text_;
  Mutex mu_;
  bool line_feed_owed_ VOLFS_GUARDED_BY(mu_) = false;  // the last value came without its LF
};

Result<size_t> LimitFile::Write(std::string_view data, const Caller& caller) {
  std::string_view value = data;
  {
    MutexLock lock(mu_);
    const bool owed = std::exchange(line_feed_owed_, !value.ends_with('\n'));
    if (owed && value == "\n") return data.size();
  }
  if (value.ends_with('\n')) value.remove_suffix(1);
  const Status status = what_.set(value);
  if (status.ok()) return data.size();
  state_.RecordRefusal(caller.uid, what_.name, what_.object, status.error());
  return status.error();
}

class EventsFile : public ControlFile {
 public:
  explicit EventsFile(const EventRing& ring) : ring_(ring), cursor_(ring.End()) {}
  Result<std::optional<std::string>> Read(size_t max, uint64_t) override {
    return ring_.Read(cursor_, max);
  }
  Result<size_t> Write(std::string_view, const Caller&) override { return NotWritable(); }
  bool Readable() override { return ring_.Readable(cursor_); }

 private:
  const EventRing& ring_;
  EventRing::Cursor cursor_;  // the ring's lock guards it
};

class VolumeWatch : public ControlFile {
 public:
  VolumeWatch(ControlState& state, Id volume) : state_(state), volume_(volume) {}

  Result<std::optional<std::string>> Read(size_t max, uint64_t offset_bytes) override {
    const std::optional<std::string> text = Outcome();
    if (!text) return std::optional<std::string>();
    return std::optional(Part(*text, max, offset_bytes));
  }
  Result<size_t> Write(std::string_view, const Caller&) override { return NotWritable(); }
  bool Readable() override { return Outcome().has_value(); }

 private:
  // The first one that was seen stays.
  std::optional<std::string> Outcome() VOLFS_EXCLUDES(mu_) {
    {
      MutexLock lock(mu_);
      if (outcome_) return outcome_;
    }
    const std::shared_ptr<Volume> volume = state_.store.Find(volume_);
    const std::string status = volume ? state_.store.Info(*volume).status : "deleted";
    if (status == "creating") return std::nullopt;
    MutexLock lock(mu_);
    if (!outcome_) outcome_ = status + '\n';
    return outcome_;
  }

  ControlState& state_;
  const Id volume_;
  Mutex mu_;
  std::optional<std::string> outcome_ VOLFS_GUARDED_BY(mu_);
};

}  // namespace

std::unique_ptr<ControlFile> OpenTextFile(HeldTexts::Text text) {
  return std::make_unique<TextFile>(std::move(text));
}

std::unique_ptr<ControlFile> OpenRequestFile(ControlState& state, RequestKind kind) {
  return std::make_unique<OpenRequest>(state, kind);
}

std::unique_ptr<ControlFile> OpenLimitFile(ControlState& state, Limit limit, HeldTexts::Text text) {
  const auto set = [&state, limit](std::string_view value) {
    return state.limits.Set(limit, value);
  };
  return std::make_unique<LimitFile>(state, LimitFile::What{LimitName(limit), "", set},
                                     std::move(text));
}

std::unique_ptr<ControlFile> OpenCopyRateFile(ControlState& state, std::shared_ptr<Volume> clone,
                                              HeldTexts::Text text) {
  const std::string name = clone->name();
  const auto set = [&state, clone = std::move(clone)](std::string_view value) -> Status {
    ASSIGN_OR_RETURN(const uint64_t rate, ParseLimit(Limit::kCopyRate, value));
    return state.store.settings().SetCopyRate(*clone, rate);
  };
  return std::make_unique<LimitFile>(state, LimitFile::What{LimitName(Limit::kCopyRate), name, set},
                                     std::move(text));
}

std::unique_ptr<ControlFile> OpenIoFile(ControlState& state, std::shared_ptr<Volume> volume,
                                        HeldTexts::Text text) {
  const std::string name = volume->name();
  const auto set = [&state, volume = std::move(volume)](std::string_view value) -> Status {
    ASSIGN_OR_RETURN(const bool native, ParseIo(value));
    return state.store.settings().SetNative(*volume, native);
  };
  return std::make_unique<LimitFile>(state, LimitFile::What{"io", name, set}, std::move(text));
}

std::unique_ptr<ControlFile> OpenEventsFile(ControlState& state) {
  return std::make_unique<EventsFile>(state.feed->ring());
}

std::unique_ptr<ControlFile> OpenVolumeWatch(ControlState& state, Id volume) {
  return std::make_unique<VolumeWatch>(state, volume);
}

}  // namespace volfs
