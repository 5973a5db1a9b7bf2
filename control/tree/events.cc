#include "control/tree/events.h"

#include <cassert>
#include <utility>

#include "control/text/json.h"
#include "control/text/time_text.h"
#include "control/tree/fields.h"

namespace volfs {
namespace {

JsonValue NameOrNull(const std::string& text) {
  if (text.empty()) return nullptr;
  return text;
}

JsonValue IdOrNull(Id id) {
  if (id == kNoId) return nullptr;
  return IdText(id);
}

// The members that every line has, and those that some have.
JsonObject Members(const StoreEvent& event) {
  JsonObject members{{"seq", event.seq},         {"time", UtcMilliseconds(event.time_ns)},
                     {"event", event.event},     {"volume", NameOrNull(event.volume)},
                     {"id", IdOrNull(event.id)}, {"status", NameOrNull(event.status)}};
  if (!event.node.empty()) members.push_back({"node", event.node});
  if (!event.error.empty()) members.push_back({"error", event.error});
  return members;
}

std::string LostLine(uint64_t count, uint64_t last_seq, int64_t time_ns) {
  StoreEvent event;
  event.seq = last_seq;
  event.time_ns = time_ns;
  event.event = "lost";
  JsonObject members = Members(event);
  members.push_back({"lost", count});
  return JsonLine(members);
}

}  // namespace

void EventRing::Add(const StoreEvent& event) {
  Line line{event.seq, event.time_ns, JsonLine(Members(event))};
  MutexLock lock(mu_);
  lines_.push_back(std::move(line));
  ++added_;
  if (lines_.size() > kKept) lines_.pop_front();
}

uint64_t EventRing::added() const {
  MutexLock lock(mu_);
  return added_;
}

EventRing::Cursor EventRing::End() const {
  MutexLock lock(mu_);
  Cursor cursor;
  cursor.next = added_;
  return cursor;
}

std::optional<std::string> EventRing::Read(Cursor& cursor, size_t max) const {
  MutexLock lock(mu_);
  if (!ReadableLocked(cursor)) return std::nullopt;
  std::string text;
  while (text.size() < max && ReadableLocked(cursor)) {
    if (cursor.rest.empty()) cursor.rest = NextLineLocked(cursor);
    if (!text.empty() && text.size() + cursor.rest.size() > max) break;
    text += cursor.rest.substr(0, max);
    cursor.rest.erase(0, max);
  }
  return text;
}

bool EventRing::Readable(const Cursor& cursor) const {
  MutexLock lock(mu_);
  return ReadableLocked(cursor);
}

std::string EventRing::NextLineLocked(Cursor& cursor) const {
  const uint64_t first = added_ - lines_.size();
  assert(cursor.next < added_);
  if (cursor.next < first) {
    const uint64_t lost = first - std::exchange(cursor.next, first);
    return LostLine(lost, lines_.front().seq - 1, lines_.front().time_ns);
  }
  return lines_[cursor.next++ - first].text;
}

bool EventRing::ReadableLocked(const Cursor& cursor) const {
  return !cursor.rest.empty() || cursor.next < added_;
}

void EventFeed::Deliver(const StoreEvent& event) {
  ring_.Add(event);
  std::function<void(const StoreEvent&)> on_event;
  std::function<void()> on_activity;
  {
    MutexLock lock(mu_);
    on_event = on_event_;
    on_activity = on_activity_;
    delivering_ = true;
  }
  if (on_event) on_event(event);
  if (on_activity) on_activity();
  MutexLock lock(mu_);
  delivering_ = false;
  delivered_.NotifyAll();
}

void EventFeed::SetEventCallback(std::function<void(const StoreEvent&)> callback) {
  MutexLock lock(mu_);
  on_event_ = std::move(callback);
  while (delivering_) delivered_.Wait(mu_);
}

void EventFeed::SetActivityCallback(std::function<void()> callback) {
  MutexLock lock(mu_);
  on_activity_ = std::move(callback);
  while (delivering_) delivered_.Wait(mu_);
}

}  // namespace volfs
