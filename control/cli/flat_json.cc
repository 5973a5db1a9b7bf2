#include "control/cli/flat_json.h"

#include <algorithm>

namespace volfs::cli {
namespace {

// Takes pieces off the front of a text; each Take says whether it found what it wanted.
class Cursor {
 public:
  explicit Cursor(std::string_view text) : rest_(text) {}

  bool Take(char c) {
    SkipBlanks();
    if (!rest_.starts_with(c)) return false;
    rest_.remove_prefix(1);
    return true;
  }

  bool TakeString(std::string& out) {
    if (!Take('"')) return false;
    while (!rest_.empty()) {
      const char c = Next();
      if (c == '"') return true;
      if (c != '\\') {
        out += c;
      } else if (!TakeEscape(out)) {
        return false;
      }
    }
    return false;
  }

  // A number, true, false or null.
  bool TakeWord(std::string& out) {
    SkipBlanks();
    out = rest_.substr(0, rest_.find_first_of(" \t\r\n,:\"}[]{"));
    rest_.remove_prefix(out.size());
    return !out.empty();
  }

 private:
  void SkipBlanks() {
    rest_.remove_prefix(std::min(rest_.find_first_not_of(" \t\r\n"), rest_.size()));
  }

  char Next() {
    const char c = rest_.front();
    rest_.remove_prefix(1);
    return c;
  }

  // Behind the backslash. \uXXXX stays as it is, and so does what moves a cursor: it is not fit to
  // be printed.
  bool TakeEscape(std::string& out) {
    if (rest_.empty()) return false;
    const char c = Next();
    if (c != '"' && c != '\\' && c != '/') out += '\\';
    out += c;
    return true;
  }

  std::string_view rest_;
};

bool TakeMember(Cursor& cursor, Fields& fields) {
  std::string key;
  std::string value;
  if (!cursor.TakeString(key) || !cursor.Take(':')) return false;
  if (!cursor.TakeString(value) && !cursor.TakeWord(value)) return false;
  fields.emplace_back(std::move(key), std::move(value));
  return true;
}

}  // namespace

Fields ParseFlatJson(std::string_view text) {
  Cursor cursor(text);
  Fields fields;
  if (!cursor.Take('{')) return {};
  do {
    if (!TakeMember(cursor, fields)) return {};
  } while (cursor.Take(','));
  if (!cursor.Take('}')) return {};
  return fields;
}

std::string ValueOf(const Fields& fields, std::string_view name) {
  for (const auto& [field, value] : fields) {
    if (field == name) return value;
  }
  return "";
}

}  // namespace volfs::cli
