// Settings that are remembered: of the mount, and those of one volume.
#include "blockstore/base/str_cat.h"
#include "blockstore/catalog/volume_settings.h"
#include "blockstore/store/store.h"

namespace volfs {

std::string Store::Setting(const std::string& key) {
  MutexLock lock(mu_);
  const auto found = settings_.find(key);
  return found == settings_.end() ? "" : found->second;
}

Status Store::SetSetting(const std::string& key, const std::string& value) {
  MutexLock setting(settings_mu_);
  RETURN_IF_ERROR(nodes_.front()->catalog().Commit({PutSetting{key, value}}));
  MutexLock lock(mu_);
  settings_[key] = value;
  return OkStatus();
}

Status Store::SetCopyRate(Volume& clone, uint64_t bytes_per_second) {
  MutexLock setting(settings_mu_);
  if (!IsClone(clone.id())) {
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
  RETURN_IF_ERROR(clone.node().catalog().Commit(std::move(change)));
  MutexLock lock(mu_);
  const auto found = clones_.find(clone.id());
  if (found == clones_.end()) return OkStatus();  // whole by now
  found->second.copy_rate = bytes_per_second;
  if (found->second.job != nullptr) found->second.job->SetCopyRate(bytes_per_second);
  return OkStatus();
}

Status Store::SetNative(Volume& volume, bool native) {
  MutexLock setting(settings_mu_);
  const bool before = volume.native().wanted();
  volume.native().set_wanted(false);  // who opens it meanwhile
  const Status done = SetNativeClosed(volume, native);
  volume.native().set_wanted(done.ok() ? native : before);
  return done;
}

Status Store::SetNativeClosed(Volume& volume, bool native) {
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
    // What was written past the committed size would be cut off without the setting.
    RETURN_IF_ERROR(volume.Sync());
    change.emplace_back(DeleteSetting{key});
  }
  return volume.node().catalog().Commit(std::move(change));
}

}  // namespace volfs
