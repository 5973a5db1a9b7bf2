#include "control/tree/held_texts.h"

#include <utility>

#include "blockstore/base/str_cat.h"

namespace volfs {

struct HeldTexts::Table {
  explicit Table(uint32_t owner_of_mount) : owner(owner_of_mount) {}

  [[nodiscard]] bool Free(uint32_t user) const { return user == 0 || user == owner; }
  void AddLocked(uint32_t user, size_t bytes) VOLFS_REQUIRES(mu);
  void Drop(const Held& held) VOLFS_EXCLUDES(mu);
  [[nodiscard]] Status CheckLocked(uint32_t user, size_t bytes) const VOLFS_REQUIRES(mu);

  const uint32_t owner;
  mutable Mutex mu;
  std::map<uint32_t, size_t> of_user VOLFS_GUARDED_BY(mu);
  size_t of_others VOLFS_GUARDED_BY(mu) = 0;  // of all but root and the owner
  size_t of_all VOLFS_GUARDED_BY(mu) = 0;
  // The last one of each file, if it is still held.
  std::map<uint64_t, std::weak_ptr<const Held>> last VOLFS_GUARDED_BY(mu);
};

// A text that is counted.
struct HeldTexts::Held {
  Held(std::shared_ptr<Table> of_table, uint32_t of_user, uint64_t of_file, std::string of_text)
      : table(std::move(of_table)), user(of_user), file(of_file), text(std::move(of_text)) {}
  ~Held() { table->Drop(*this); }
  Held(const Held&) = delete;
  Held& operator=(const Held&) = delete;

  const std::shared_ptr<Table> table;
  const uint32_t user;
  const uint64_t file;
  const std::string text;
  bool counted = false;
};

void HeldTexts::Table::AddLocked(uint32_t user, size_t bytes) {
  of_user[user] += bytes;
  of_all += bytes;
  if (!Free(user)) of_others += bytes;
}

void HeldTexts::Table::Drop(const Held& held) {
  if (!held.counted) return;
  MutexLock lock(mu);
  const auto mine = of_user.find(held.user);
  if ((mine->second -= held.text.size()) == 0) of_user.erase(mine);
  of_all -= held.text.size();
  if (!Free(held.user)) of_others -= held.text.size();
  const auto it = last.find(held.file);
  if (it != last.end() && it->second.expired()) last.erase(it);
}

Status HeldTexts::Table::CheckLocked(uint32_t user, size_t bytes) const {
  const auto mine = of_user.find(user);
  const size_t held = mine == of_user.end() ? 0 : mine->second;
  const bool too_much = held != 0 && held + bytes > kMaxOfUser;
  const bool all_too_much = !Free(user) && of_others != 0 && of_others + bytes > kMaxOfAll;
  if (!too_much && !all_too_much) return OkStatus();
  return Error{
      Errc::kNoMemory,
      volfs::StrCat("control: user ", user, " holds ", held, " bytes of ",
                    too_much ? "" : "the most that all users may hold of ",
                    "different texts open; close files of control/ and directories first")};
}

HeldTexts::HeldTexts(uint32_t owner) : table_(std::make_shared<Table>(owner)) {}

Result<HeldTexts::Text> HeldTexts::Hold(uint32_t user, uint64_t file, std::string text) {
  if (text.size() <= kSmall) return std::make_shared<const std::string>(std::move(text));
  text.shrink_to_fit();
  auto fresh = std::make_shared<Held>(table_, user, file, std::move(text));
  std::shared_ptr<const Held> last;  // before the lock: the last user of a text takes it
  MutexLock lock(table_->mu);
  if (const auto it = table_->last.find(file); it != table_->last.end()) last = it->second.lock();
  if (last != nullptr && last->text == fresh->text) return Text(last, &last->text);
  RETURN_IF_ERROR(table_->CheckLocked(user, fresh->text.size()));
  table_->last[file] = fresh;
  table_->AddLocked(user, fresh->text.size());
  fresh->counted = true;
  return Text(fresh, &fresh->text);
}

size_t HeldTexts::bytes() const {
  MutexLock lock(table_->mu);
  return table_->of_all;
}

}  // namespace volfs
