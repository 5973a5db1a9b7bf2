#include "control/request/last_error.h"

#include <utility>

#include "control/text/name.h"
#include "control/text/time_text.h"

namespace volfs {
namespace {

std::string Quoted(std::string_view object) {
  if (object.find(' ') == std::string_view::npos) return std::string(object);
  std::string text = "\"";
  for (const char c : object) {
    if (c == '"') {
      text += "\\x22";
    } else {
      text += c;
    }
  }
  return text + '"';
}

std::string What(std::string_view operation, std::string_view object) {
  if (object.empty()) return std::string(operation);
  return volfs::StrCat(operation, ':', Quoted(object));
}

}  // namespace

void LastError::Add(uint32_t uid, std::string_view operation, std::string_view object,
                    const Error& error) {
  std::string line =
      volfs::StrCat(UtcMilliseconds(WallNow().count()), ' ', uid, ' ', What(operation, object), ' ',
                    ErrnoName(error.code), ' ', OneLine(error.message), '\n');
  MutexLock lock(mu_);
  lines_.push_front({uid, std::move(line)});
  if (lines_.size() > kKept) lines_.pop_back();
}

std::string LastError::Text(std::optional<uint32_t> uid) const {
  MutexLock lock(mu_);
  std::string text;
  for (const Line& line : lines_) {
    if (!uid || line.uid == *uid) text += line.text;
  }
  return text;
}

}  // namespace volfs
