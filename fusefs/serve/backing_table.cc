#include "fusefs/serve/backing_table.h"

#include <fcntl.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <cstring>
#include <utility>

#include "blockstore/base/log.h"
#include "blockstore/base/str_cat.h"

namespace volfs {
namespace {

// <linux/fuse.h> has these from Linux 6.9 on. Not libfuse's fuse_passthrough_open and _close: they
// want a request, which may have been abandoned (watchdog.h) by then, and the last close is none.
struct BackingMap {
  int32_t fd;
  uint32_t flags;
  uint64_t padding;
};
constexpr unsigned long kBackingOpen = _IOW(229, 1, BackingMap);
constexpr unsigned long kBackingClose = _IOW(229, 2, uint32_t);

// Between two looks at images that are only mapped. After a close(2) the kernel lets go of the file
// a moment after its release request, so the first look comes soon.
constexpr Nanoseconds kFirstLook = std::chrono::milliseconds(1);
constexpr Nanoseconds kLaterLook = std::chrono::milliseconds(100);
constexpr Nanoseconds kPatience = std::chrono::milliseconds(20);

enum class Others { kNone, kSome, kUnknown };

// Asks the host whether another process has the file open or maps it.
Others OthersOf(const Descriptor& file) {
  if (::fcntl(file.get(), F_SETLEASE, F_WRLCK) == 0) {
    (void)::fcntl(file.get(), F_SETLEASE, F_UNLCK);
    return Others::kNone;
  }
  return errno == EAGAIN || errno == EBUSY ? Others::kSome : Others::kUnknown;
}

bool IsLasting(int os_errno) {
  return os_errno == EPERM || os_errno == ELOOP || os_errno == EOPNOTSUPP || os_errno == ENOTTY ||
         os_errno == ENOSYS || os_errno == EINVAL;
}

}  // namespace

BackingTable::BackingTable() {
  thread_ = Thread("volfs-mapped", [this] { Work(); });
}

BackingTable::~BackingTable() { Stop(); }

bool BackingTable::MayServe(const Node* node) {
  if (!enabled_) return false;
  MutexLock lock(mu_);
  return !refused_.contains(node);
}

Result<BackingTable::Entry> BackingTable::Register(const Image& image) {
  if (!MayServe(image.node)) return Entry{};
  assert(device_ >= 0);
  ASSIGN_OR_RETURN(Descriptor file, image.begin());
  if (!file.ok()) return Entry{};
  const Others others = OthersOf(file);
  if (others == Others::kNone) {
    const BackingMap map{file.get(), 0, 0};
    if (const int id = ::ioctl(device_, kBackingOpen, &map); id > kNone) {
      return Entry{id, 0, std::move(file), image.end, {}};
    }
  }
  const int os_errno = errno;
  image.end();
  if (others == Others::kSome || !IsLasting(os_errno)) return Entry{};
  LogInfo(StrCat("the kernel does not serve the files of node ", image.node->name(), " by itself (",
                 std::strerror(os_errno),
                 "): it wants root, and a node that is on no FUSE, overlay or network filesystem"));
  MutexLock lock(mu_);
  refused_.insert(image.node);
  return Entry{};
}

Result<int> BackingTable::Add(const Image& image) {
  Entry old;
  {
    MutexLock lock(mu_);
    if (const auto found = entries_.find(image.ino); found != entries_.end()) {
      // The mapping may have ended since the close. The open that was closed counts for as long as
      // the entry is there: perhaps very long, if the image is now opened again.
      if (!IsUnmapped(found->second)) {
        ++found->second.opens;
        return found->second.id;
      }
      old = std::move(found->second);
      entries_.erase(found);
    }
  }
  Release(old);
  ASSIGN_OR_RETURN(Entry mine, Register(image));
  int decided = kNone;
  {
    MutexLock lock(mu_);
    const auto [entry, first] = entries_.try_emplace(image.ino);
    if (first) std::swap(entry->second, mine);
    ++entry->second.opens;
    decided = entry->second.id;
  }
  Release(mine);  // if another open was first
  return decided;
}

void BackingTable::Remove(uint64_t ino, std::function<void()> closed) {
  Entry last;
  {
    MutexLock lock(mu_);
    const auto found = entries_.find(ino);
    assert(found != entries_.end() && found->second.opens > 0);  // B1
    if (--found->second.opens == 0) {
      Entry& entry = found->second;
      entry.closed.push_back(std::move(closed));
      if (entry.id != kNone && OthersOf(entry.file) == Others::kSome) {
        mapped_ = true;
        changed_.NotifyAll();
        return;
      }
      last = std::move(entry);
      entries_.erase(found);
    } else {
      last.closed.push_back(std::move(closed));
    }
  }
  Release(last);
}

void BackingTable::Release(Entry& entry) const {
  assert(entry.opens == 0);  // B2
  if (entry.id != kNone) {
    uint32_t id = static_cast<uint32_t>(entry.id);
    (void)::ioctl(device_, kBackingClose, &id);  // the connection may be gone, and it with it
    entry.end();
  }
  for (const auto& closed : entry.closed) closed();
}

bool BackingTable::AnyMappedLocked() const {
  return std::any_of(entries_.begin(), entries_.end(),
                     [](const auto& entry) { return entry.second.opens == 0; });
}

bool BackingTable::IsUnmapped(const Entry& entry) const {
  return entry.opens == 0 && OthersOf(entry.file) != Others::kSome;
}

void BackingTable::ReleaseUnmapped(bool all) {
  std::vector<Entry> taken;
  {
    MutexLock lock(mu_);
    for (auto it = entries_.begin(); it != entries_.end();) {
      if (!IsUnmapped(it->second) && !(all && it->second.opens == 0)) {
        ++it;
        continue;
      }
      taken.push_back(std::move(it->second));
      it = entries_.erase(it);
    }
  }
  for (Entry& entry : taken) Release(entry);
}

void BackingTable::Look() {
  MutexLock lock(mu_);
  if (!AnyMappedLocked() && !looking_) return;
  const uint64_t mine = ++looks_asked_;
  changed_.NotifyAll();
  const Nanoseconds deadline = MonotonicNow() + kPatience;
  while (looks_done_ < mine && !stopping_ && MonotonicNow() < deadline) {
    (void)changed_.WaitUntil(mu_, deadline);
  }
}

void BackingTable::Work() {
  uint64_t asked = 0;
  for (Nanoseconds pause = kFirstLook;;) {
    {
      MutexLock lock(mu_);
      looking_ = false;
      if (looks_done_ < asked) changed_.NotifyAll();
      looks_done_ = asked;
      if (mapped_) pause = kFirstLook;
      mapped_ = false;
      const Nanoseconds deadline = AnyMappedLocked() ? MonotonicNow() + pause : kForever;
      while (!stopping_ && !mapped_ && looks_asked_ == asked && MonotonicNow() < deadline) {
        (void)changed_.WaitUntil(mu_, deadline);
      }
      if (stopping_) return;
      if (mapped_ && looks_asked_ == asked) continue;
      looking_ = true;
      asked = looks_asked_;
    }
    ReleaseUnmapped(false);
    pause = std::min<Nanoseconds>(pause * 2, kLaterLook);
  }
}

void BackingTable::Stop() {
  {
    MutexLock lock(mu_);
    stopping_ = true;
    changed_.NotifyAll();
  }
  if (thread_.joinable()) thread_.Join();
  ReleaseUnmapped(true);
}

}  // namespace volfs
