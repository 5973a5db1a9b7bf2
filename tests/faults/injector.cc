// A library for LD_PRELOAD that makes calls of the C library fail as a FaultPlan says. It tests the
// whole program without memory, threads, descriptors or locks.
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdarg>
#include <cstdlib>

#include "tests/faults/fault_plan.h"

using volfs::FaultKind;
using volfs::FaultPlan;

extern "C" {
void* __libc_malloc(size_t);
void* __libc_calloc(size_t, size_t);
void* __libc_realloc(void*, size_t);
void* __libc_memalign(size_t, size_t);
}

namespace {

std::atomic<FaultPlan*> plan{nullptr};

__attribute__((constructor)) void MapPlan() {
  const char* const path = std::getenv(volfs::kFaultPlanVariable);
  const int fd = path == nullptr ? -1 : open(path, O_RDWR | O_CLOEXEC);
  if (fd < 0) return;
  void* const mapped = mmap(nullptr, sizeof(FaultPlan), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  close(fd);
  if (mapped != MAP_FAILED) plan = static_cast<FaultPlan*>(mapped);
}

bool Fails(FaultKind kind) {
  FaultPlan* const p = plan.load(std::memory_order_acquire);
  if (p == nullptr || p->kind.load(std::memory_order_acquire) != kind) return false;
  if (p->process != FaultPlan::kAnyProcess && p->process != getpid()) return false;
  if (p->before.fetch_sub(1) > 0) return false;
  if (p->failing.fetch_sub(1) <= 0) return false;
  ++p->failed;
  return true;
}

template <typename Function>
Function* Next(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

void* NoMemory() {
  errno = ENOMEM;
  return nullptr;
}

int Fail(int os_errno) {
  errno = os_errno;
  return -1;
}

}  // namespace

extern "C" {

void* malloc(size_t size) noexcept {
  return Fails(FaultKind::kAllocation) ? NoMemory() : __libc_malloc(size);
}
void* calloc(size_t count, size_t size) noexcept {
  return Fails(FaultKind::kAllocation) ? NoMemory() : __libc_calloc(count, size);
}
void* realloc(void* old, size_t size) noexcept {
  return Fails(FaultKind::kAllocation) ? NoMemory() : __libc_realloc(old, size);
}
void* memalign(size_t alignment, size_t size) noexcept {
  return Fails(FaultKind::kAllocation) ? NoMemory() : __libc_memalign(alignment, size);
}
void* aligned_alloc(size_t alignment, size_t size) noexcept { return memalign(alignment, size); }
int posix_memalign(void** out, size_t alignment, size_t size) noexcept {
  void* const memory = memalign(alignment, size);
  if (memory != nullptr) *out = memory;
  return memory == nullptr ? ENOMEM : 0;
}

int pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*body)(void*),
                   void* argument) noexcept {
  if (Fails(FaultKind::kThread)) return EAGAIN;
  static auto* const next = Next<decltype(pthread_create)>("pthread_create");
  return next(thread, attributes, body, argument);
}

// With _FILE_OFFSET_BITS=64 the program calls the functions whose names end with 64.
#define VOLFS_OPEN(name)                                                  \
  int name(const char* path, int flags, ...) {                            \
    if (Fails(FaultKind::kDescriptor)) return Fail(EMFILE);               \
    va_list arguments;                                                    \
    va_start(arguments, flags);                                           \
    const mode_t mode = va_arg(arguments, mode_t);                        \
    va_end(arguments);                                                    \
    static auto* const next = Next<int(const char*, int, mode_t)>(#name); \
    return next(path, flags, mode);                                       \
  }
#define VOLFS_OPENAT(name)                                                     \
  int name(int directory, const char* path, int flags, ...) {                  \
    if (Fails(FaultKind::kDescriptor)) return Fail(EMFILE);                    \
    va_list arguments;                                                         \
    va_start(arguments, flags);                                                \
    const mode_t mode = va_arg(arguments, mode_t);                             \
    va_end(arguments);                                                         \
    static auto* const next = Next<int(int, const char*, int, mode_t)>(#name); \
    return next(directory, path, flags, mode);                                 \
  }
#define VOLFS_FCNTL(name)                                                                     \
  int name(int fd, int command, ...) {                                                        \
    const bool locks = command == F_SETLK || command == F_OFD_SETLK || command == F_SETLKW || \
                       command == F_OFD_SETLKW;                                               \
    const bool makes = command == F_DUPFD || command == F_DUPFD_CLOEXEC;                      \
    if (locks && Fails(FaultKind::kLock)) return Fail(ENOLCK);                                \
    if (makes && Fails(FaultKind::kDescriptor)) return Fail(EMFILE);                          \
    va_list arguments;                                                                        \
    va_start(arguments, command);                                                             \
    void* const argument = va_arg(arguments, void*);                                          \
    va_end(arguments);                                                                        \
    static auto* const next = Next<int(int, int, void*)>(#name);                              \
    return next(fd, command, argument);                                                       \
  }
VOLFS_OPEN(open64)
VOLFS_OPENAT(openat64)
VOLFS_FCNTL(fcntl64)

// openat2(2) has no function of its own.
long syscall(long number, ...) noexcept {
  if (number == SYS_openat2 && Fails(FaultKind::kDescriptor)) return Fail(EMFILE);
  va_list list;
  va_start(list, number);
  std::array<long, 6> words{};
  for (long& word : words) word = va_arg(list, long);
  va_end(list);
  static auto* const next = Next<long(long, long, long, long, long, long, long)>("syscall");
  return next(number, words[0], words[1], words[2], words[3], words[4], words[5]);
}

int dup(int fd) noexcept {
  if (Fails(FaultKind::kDescriptor)) return Fail(EMFILE);
  static auto* const next = Next<int(int)>("dup");
  return next(fd);
}
int eventfd(unsigned count, int flags) noexcept {
  if (Fails(FaultKind::kDescriptor)) return Fail(EMFILE);
  static auto* const next = Next<int(unsigned, int)>("eventfd");
  return next(count, flags);
}
int signalfd(int fd, const sigset_t* set, int flags) noexcept {
  if (Fails(FaultKind::kDescriptor)) return Fail(EMFILE);
  static auto* const next = Next<int(int, const sigset_t*, int)>("signalfd");
  return next(fd, set, flags);
}
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"  // there is a struct of that name
int flock(int fd, int operation) noexcept {
  if (Fails(FaultKind::kLock)) return Fail(ENOLCK);
  static auto* const next = Next<int(int, int)>("flock");
  return next(fd, operation);
}
#pragma GCC diagnostic pop

}  // extern "C"
