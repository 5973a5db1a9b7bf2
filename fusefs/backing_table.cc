#include "fusefs/backing_table.h"

#include <sys/ioctl.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "blockstore/log.h"

namespace volfs {
namespace {

// <linux/fuse.h> has these from Linux 6.9 on. Not libfuse's fuse_passthrough_open and _close: they
// want a request, which may have been given up (watchdog.h) by then, and the last close is none.
struct BackingMap {
  int32_t fd;
  uint32_t flags;
  uint64_t padding;
};
constexpr unsigned long kBackingOpen = _IOW(229, 1, BackingMap);
constexpr unsigned long kBackingClose = _IOW(229, 2, uint32_t);

}  // namespace

bool BackingTable::MayServe(const Node* node) {
  if (!enabled_) return false;
  MutexLock lock(mu_);
  return !refused_.contains(node);
}

Result<int> BackingTable::Register(const Image& image) {
  if (!MayServe(image.node)) return kNone;
  VOLFS_ASSIGN(const Descriptor file, image.begin());
  if (!file.ok()) return kNone;
  const BackingMap map{file.get(), 0, 0};
  if (const int id = ::ioctl(device_, kBackingOpen, &map); id > kNone) return id;
  const int os_errno = errno;
  image.end();
  LogInfo(Text("the kernel does not serve the files of node ", image.node->name(), " by itself (",
               std::strerror(os_errno),
               "): it wants root, and a node that is on no FUSE or overlay "
               "filesystem"));
  MutexLock lock(mu_);
  refused_.insert(image.node);
  return kNone;
}

Result<int> BackingTable::Add(const Image& image) {
  {
    MutexLock lock(mu_);
    if (const auto found = entries_.find(image.ino); found != entries_.end()) {
      ++found->second.opens;
      return found->second.id;
    }
  }
  VOLFS_ASSIGN(const int id, Register(image));
  Entry mine{id, 0, id == kNone ? nullptr : image.end};
  int decided = kNone;
  {
    MutexLock lock(mu_);
    const auto [entry, first] = entries_.try_emplace(image.ino);
    if (first) std::swap(entry->second, mine);
    ++entry->second.opens;
    decided = entry->second.id;
  }
  Release(mine);  // if somebody else was first
  return decided;
}

void BackingTable::Remove(uint64_t ino) {
  Entry last;
  {
    MutexLock lock(mu_);
    const auto found = entries_.find(ino);
    if (found == entries_.end() || --found->second.opens > 0) return;
    last = std::move(found->second);
    entries_.erase(found);
  }
  Release(last);
}

void BackingTable::Release(const Entry& entry) const {
  if (entry.id == kNone) return;
  uint32_t id = static_cast<uint32_t>(entry.id);
  (void)::ioctl(device_, kBackingClose, &id);  // the connection may be gone, and it with it
  entry.end();
}

}  // namespace volfs
