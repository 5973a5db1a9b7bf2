#include "blockstore/store/settings.h"

#include "blockstore/base/str_cat.h"
#include "blockstore/catalog/volume_settings.h"
#include "blockstore/store/request_checks.h"

namespace volfs {

void Settings::Load(const std::string& key, const std::string& value) {
  MutexLock lock(mu_);
  values_.emplace(key, value);
}

std::string Settings::Get(const std::string& key) const {
  MutexLock lock(mu_);
  const auto found = values_.find(key);
  return found == values_.end() ? "" : found->second;
}

Status Settings::Set(const std::string& key, const std::string& value) {
  MutexLock change(change_mu_);
  RETURN_IF_ERROR(first_.catalog().Commit({PutSetting{key, value}}));
  MutexLock lock(mu_);
  values_[key] = value;
  return OkStatus();
}

Status Settings::SetCopyRate(Volume& clone, uint64_t bytes_per_second) {
  MutexLock change_lock(change_mu_);
  if (!tables_.IsClone(clone.id())) {
    return Error{Errc::kInvalid,
                 StrCat(clone.name(),
                        ": it is not a clone that is being copied, so there is nothing "
                        "to limit; limits/copy_rate holds for all clones")};
  }
  const std::string key = VolumeSetting(kCopyRatePrefix, clone.id());
  CatalogChange change;
  if (bytes_per_second == Throttle::kUnlimited) {
    change.emplace_back(DeleteSetting{key});
  } else {
    change.emplace_back(PutSetting{key, std::to_string(bytes_per_second)});
  }
  RETURN_IF_ERROR(clone.node().catalog().Commit(change));
  MutexLock lock(tables_.mu);
  CloneEntry* const entry = tables_.clones.Find(clone.id());
  if (entry == nullptr) return OkStatus();  // whole by now
  entry->copy_rate = bytes_per_second;
  if (entry->job != nullptr) entry->job->SetCopyRate(bytes_per_second);
  return OkStatus();
}

Status Settings::SetNative(Volume& volume, bool native) {
  MutexLock change(change_mu_);
  const bool before = volume.native().wanted();
  volume.native().set_wanted(false);  // for opens meanwhile
  const Status done = SetNativeClosed(volume, native);
  volume.native().set_wanted(done.ok() ? native : before);
  return done;
}

Status Settings::SetNativeClosed(Volume& volume, bool native) {
  RETURN_IF_ERROR(RetryFor([&]() -> Status {
    if (!volume.opens().any()) return OkStatus();
    return Error{Errc::kBusy, StrCat(volume.name(),
                                     ": it is open; its I/O mode cannot change while it is open. "
                                     "Close or detach it first (`volfs status ",
                                     volume.name(), "` and `fuser` show the processes)")};
  }));
  const std::string key = VolumeSetting(kIoPrefix, volume.id());
  CatalogChange change;
  if (native) {
    change.emplace_back(PutSetting{key, std::string(kIoNative)});
  } else {
    // Without the setting the next mount cuts off bytes past the committed size.
    RETURN_IF_ERROR(volume.Sync());
    change.emplace_back(DeleteSetting{key});
  }
  return volume.node().catalog().Commit(change);
}

}  // namespace volfs
