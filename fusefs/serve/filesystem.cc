#include "fusefs/serve/filesystem.h"

#include <memory>
#include <utility>

#include "blockstore/base/log.h"
#include "blockstore/base/str_cat.h"
#include "fusefs/serve/reply.h"

namespace volfs {
namespace {

constexpr int kNameThreads = 4;
constexpr int kRequestThreads = 8;
constexpr int kMaxThreads = 64;  // of each of these, while some wait for a node that hangs

bool ChangesNames(const std::string& event) {
  return event == "created" || event == "deleted" || event == "renamed" || event == "clone" ||
         event.starts_with("snapshot");
}

}  // namespace

Filesystem::Filesystem(Store& a_store, ControlTree& a_control,
                       const FilesystemOptions& some_options)
    : store(a_store),
      control(a_control),
      options(some_options),
      watchdog(store.nodes(), options.node_timeout, WatchdogHooks(*this)),
      names("volfs-names", kNameThreads, kMaxThreads),
      requests("volfs-requests", kRequestThreads, kMaxThreads),
      unmount_check(store, requests),
      names_changed_ns(WallNow().count()) {
  for (const auto& node : store.nodes()) limiters_.try_emplace(node.get(), node->name());
  control.SetActivityCallback([this] { parked.Wake(); });
  control.SetEventCallback([this](const StoreEvent& event) { OnEvent(event); });
}

Filesystem::~Filesystem() { Stop(); }

void Filesystem::Stop() {
  requests.Stop();
  parked.Stop();
  invalidator.Stop();
  mapped_pages.Stop();
  for (auto& [node, limiter] : limiters_) limiter.mapped().Stop();
  for (auto& [node, limiter] : limiters_) limiter.overflow().Stop();
  names.Stop();  // its requests use handles; later ones run at once
  for (std::unique_ptr<Handle>& handle : handles.RemoveAll()) CloseImage(std::move(handle));
  backings.Stop();
}

NodeLimiter* Filesystem::LimiterOf(const Node* node) {
  const auto found = limiters_.find(node);
  return found == limiters_.end() ? nullptr : &found->second;
}

Volume::Durability Filesystem::DurabilityOf(const VolumeHandle* handle) const {
  const bool asked = options.synchronous || (handle != nullptr && handle->synchronous);
  return asked ? Volume::Durability::kAtReturn : Volume::Durability::kWithSync;
}

void Filesystem::Close(Handle* handle) {
  if (watchdog.KeepOpen(handle)) return;  // it comes again
  std::unique_ptr<Handle> owned = handles.Remove(handle);
  if (owned->kind == Handle::Kind::kControl) parked.Unwatch(owned.get());
  CloseImage(std::move(owned));
}

void Filesystem::CloseImage(std::unique_ptr<Handle> handle) {
  if (handle->kind != Handle::Kind::kVolume && handle->kind != Handle::Kind::kSnapshot) {
    // What keeps a deleted snapshot may free its space when it goes. shared_ptr: as below.
    if (handle->node != nullptr) names.Submit([gone = std::shared_ptr(std::move(handle))] {});
    return;
  }
  const uint64_t ino = handle->ino;
  // The handle keeps the image in use. shared_ptr: std::function wants to be copied.
  backings.Remove(ino, [this, closed = std::shared_ptr<Handle>(std::move(handle))] {
    if (closed->kind == Handle::Kind::kVolume) {
      CloseVolume(static_cast<const VolumeHandle&>(*closed));
    }
  });
}

void Filesystem::CloseVolume(const VolumeHandle& handle) {
  handle.volume->opens().Remove(handle.access);
  if (handle.volume->opens().any()) return;
  names.Submit([volume = handle.volume] {
    const Status status = volume->commits().SyncAttributes();
    if (!status.ok()) {
      LogWarning(StrCat("times of ", volume->name(), " were not saved: ", status.error().message));
    }
  });
}

// Entries and attributes of images have no lifetime in the kernel (reply.h), so a change shows at
// once anyhow. The invalidator tells that the directories changed, and that an open image, whose
// attributes the kernel does not look up, has another size or other contents.
void Filesystem::OnEvent(const StoreEvent& event) {
  // The kernel has not seen that a request made it smaller, and perhaps larger again since.
  if (event.event == "resized" || event.event == "reverted")
    invalidator.AttributesAndData(event.id | inode::kImage);
  if (!ChangesNames(event.event)) return;
  names_changed_ns = WallNow().count();
  invalidator.Attributes(inode::kVolumes);
  invalidator.Attributes(inode::kSnapshots);
}

}  // namespace volfs
