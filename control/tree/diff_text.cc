#include <algorithm>
#include <optional>
#include <utility>

#include "blockstore/base/str_cat.h"
#include "control/tree/diff_place.h"

namespace volfs {
namespace {

// The text of a diff, piece by piece: a piece that was read is forgotten.
class DiffText : public ControlFile {
 public:
  DiffText(std::shared_ptr<OpenDiff> diff, bool json) : diff_(std::move(diff)), json_(json) {
    MutexLock lock(mu_);
    Begin();
  }

  Result<std::optional<std::string>> Read(size_t max, uint64_t offset_bytes) override
      VOLFS_EXCLUDES(mu_);
  Result<size_t> Write(std::string_view, const Caller&) override {
    return Error{Errc::kProtected, "the changes between two images are only read"};
  }
  bool Readable() override { return true; }
  [[nodiscard]] const Node* node() const override { return diff_->node(); }

 private:
  void Begin() VOLFS_REQUIRES(mu_);
  bool AddRange() VOLFS_REQUIRES(mu_);
  void Forget(uint64_t until_bytes) VOLFS_REQUIRES(mu_);

  const std::shared_ptr<OpenDiff> diff_;
  const bool json_;
  Mutex mu_;
  std::optional<ImageDiff> ranges_ VOLFS_GUARDED_BY(mu_);
  std::string text_ VOLFS_GUARDED_BY(mu_);  // that was made and not read
  uint64_t at_ VOLFS_GUARDED_BY(mu_) = 0;   // its offset
  bool any_ VOLFS_GUARDED_BY(mu_) = false;
  bool ended_ VOLFS_GUARDED_BY(mu_) = false;
};

void DiffText::Begin() {
  ranges_.emplace(diff_->Ranges());
  at_ = 0;
  any_ = ended_ = false;
  text_ = json_ ? StrCat(R"({"size_bytes":)", diff_->size_bytes(), R"(,"ranges":[)") : "";
}

// Returns whether there was more.
bool DiffText::AddRange() {
  if (ended_) return false;
  const std::optional<ChangedRange> range = ranges_->Next();
  if (!range) {
    ended_ = true;
    if (json_) text_ += any_ ? "\n]}\n" : "]}\n";
    return true;
  }
  const auto& [bytes, zero] = *range;
  const char* const kind = zero ? "zero" : "data";
  text_ += json_ ? StrCat(any_ ? ",\n" : "\n", R"({"offset":)", bytes.offset_bytes, R"(,"length":)",
                          bytes.length_bytes, R"(,"kind":")", kind, R"("})")
                 : StrCat(bytes.offset_bytes, ' ', bytes.length_bytes, ' ', kind, '\n');
  any_ = true;
  return true;
}

void DiffText::Forget(uint64_t until_bytes) {
  const uint64_t gone = std::min<uint64_t>(until_bytes - at_, text_.size());
  text_.erase(0, gone);
  at_ += gone;
}

Result<std::optional<std::string>> DiffText::Read(size_t max, uint64_t offset_bytes) {
  MutexLock lock(mu_);
  if (offset_bytes < at_) Begin();
  do {
    Forget(offset_bytes);
  } while (at_ < offset_bytes && AddRange());
  while (text_.size() < max && at_ == offset_bytes && AddRange()) {
  }
  if (at_ < offset_bytes) return std::optional(std::string());
  std::string part = text_.substr(0, max);
  Forget(offset_bytes + part.size());
  return std::optional(std::move(part));
}

}  // namespace

std::unique_ptr<ControlFile> OpenDiffText(std::shared_ptr<OpenDiff> diff, DiffPlace::Kind kind) {
  return std::make_unique<DiffText>(std::move(diff), kind == DiffPlace::Kind::kJson);
}

}  // namespace volfs
