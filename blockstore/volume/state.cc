#include "blockstore/volume/state.h"

#include <algorithm>

#include "blockstore/base/log.h"
#include "blockstore/base/str_cat.h"

namespace volfs {

VolumeState::VolumeState(Node& node, VolumeRecord record)
    : node_(node),
      id_(record.id),
      mtime_ns_(record.attributes.mtime_ns),
      record_(std::move(record)) {}

std::string VolumeState::name() const {
  MutexLock lock(mu_);
  return record_.name;
}

Attributes VolumeState::attributes() const {
  MutexLock lock(mu_);
  Attributes attributes = record_.attributes;
  attributes.mtime_ns = std::max(attributes.mtime_ns, mtime_ns_.load(std::memory_order_relaxed));
  return attributes;
}

VolumeRecord VolumeState::record() const {
  const Attributes now = attributes();
  MutexLock lock(mu_);
  VolumeRecord record = record_;
  record.attributes = now;
  return record;
}

void VolumeState::ChangeAttributes(const AttributeChange& change) {
  MutexLock lock(mu_);
  Attributes& attributes = record_.attributes;
  attributes.mtime_ns = std::max(attributes.mtime_ns, mtime_ns_.load());
  attributes.mode = change.mode.value_or(attributes.mode);
  attributes.uid = change.uid.value_or(attributes.uid);
  attributes.gid = change.gid.value_or(attributes.gid);
  attributes.atime_ns = change.atime_ns.value_or(attributes.atime_ns);
  attributes.mtime_ns = change.mtime_ns.value_or(attributes.mtime_ns);
  attributes.ctime_ns = change.ctime_ns.value_or(attributes.ctime_ns);
  mtime_ns_.store(attributes.mtime_ns);
}

void VolumeState::SetName(const std::string& name) {
  MutexLock lock(mu_);
  record_.name = name;
}

void VolumeState::SetHead(Id head) {
  MutexLock lock(mu_);
  record_.head = head;
}

void VolumeState::SetSize(uint64_t size_bytes) {
  MutexLock lock(mu_);
  record_.size_bytes = size_bytes;
}

void VolumeState::RaiseSize(uint64_t size_bytes) {
  MutexLock lock(mu_);
  record_.size_bytes = std::max(record_.size_bytes, size_bytes);
}

void VolumeState::ReplaceHead(const VolumeRecord& next) {
  MutexLock lock(mu_);
  record_.head = next.head;
  record_.size_bytes = next.size_bytes;
  record_.attributes.ctime_ns = next.attributes.ctime_ns;
  mtime_ns_.store(next.attributes.mtime_ns);
}

Status VolumeState::CheckWritable() const {
  const bool refused = node_.catalog().fenced() || node_.catalog().read_only();
  if (!read_only() && !refused) return OkStatus();
  RETURN_IF_ERROR(node_.CheckChanges());
  if (node_.catalog().lost()) {
    return Error{Errc::kIo, StrCat(name(), ": node ", node_.name(),
                                   " can no longer be written: ", node_.catalog().fence_reason())};
  }
  // The volume has failed, or the outcome of its node's last commit is not known, so nothing may be
  // acknowledged any more.
  return Error{refused_with(),
               StrCat(name(), ": read-only until the next mount, since ", failure())};
}

Errc VolumeState::refused_with() const {
  MutexLock lock(mu_);
  return refused_with_;
}

Error VolumeState::Fail(const Error& error, Errc refusal) {
  bool first = false;
  {
    MutexLock lock(mu_);
    first = failure_.empty();
    if (first) {
      failure_ = error.message;
      refused_with_ = refusal;
    }
  }
  read_only_.store(true, std::memory_order_release);
  if (first) LogError(StrCat(name(), " is read-only until the next mount: ", error.message));
  return error;
}

void VolumeState::Refuse(const std::string& why) {
  {
    MutexLock lock(mu_);
    failure_ = StrCat("its catalog rows contradict each other: ", why,
                      "; none of it is shown, changed or freed. Unmount, then run `volfs check`");
  }
  read_only_.store(true, std::memory_order_release);
  if (!refused_.exchange(true)) LogError(StrCat(name(), ": ", failure()));
}

std::string VolumeState::failure() const {
  {
    MutexLock lock(mu_);
    if (!failure_.empty()) return failure_;
  }
  return node_.catalog().fence_reason();
}

std::string VolumeState::trouble() const {
  std::string why = failure();
  if (!why.empty()) return why;
  MutexLock lock(mu_);
  return refusal_.empty() ? damage_ : refusal_;
}

void VolumeState::NoteTrouble(const Status& commit) {
  MutexLock lock(mu_);
  refusal_ =
      commit.ok() ? "" : StrCat("not durable yet, and tried again: ", commit.error().message);
}

void VolumeState::NoteDamage(const std::string& damage) {
  if (damage.empty() && !damaged_.load()) return;
  MutexLock lock(mu_);
  damaged_.store(!damage.empty());
  damage_ = damage.empty() ? "" : StrCat("a part of it cannot be read: ", damage);
}

}  // namespace volfs
