#pragma once

#include <sys/types.h>

#include <functional>
#include <string>
#include <string_view>

namespace volfs::cli {

// Every command ends within kPatience when a node, a daemon or a device does not answer, whatever
// call it is that does not return.
//
// A command runs in a child, the worker; the process that a user started watches it. The worker
// hangs when its main thread has slept in the kernel for kPatience and was not woken once: a slow
// disk wakes it all the time. The watcher then says what did not answer, which the worker wrote
// down before it asked (Touching), kills the worker, which may stay in the kernel until the answer
// comes, and exits with kExitNodeNotThere. Output into a pipe goes through the watcher, so that its
// reader is not kept waiting by such a worker.
//
// Signals that a user sends to the watcher are passed on; the worker's end, by a signal too, is the
// watcher's. A worker without a watcher is killed.
//
// Cost: a fork, and ten looks a second at two files in /proc.
inline constexpr int kPatienceSeconds = 4;  // with what it takes to say so, less than 5

// What main() returns.
int Supervise(const std::function<int()>& command);

// The command's name in messages ("volfs status"), and its exit code if it hangs. Without a watcher
// nothing happens, as in all that follows.
void SetSupervised(std::string_view name, int exit_code_if_hung);

// Another process works for this one from now on: a starting daemon.
void SetSupervisedProcess(pid_t pid);

// While it lives: `what` ("the daemon of /mnt", "node directory /x") is asked, and `remedy` is what
// a user can do if it does not answer. Of several the innermost is told. Any process of the command
// may have one, but not two at once.
class Touching {
 public:
  explicit Touching(std::string_view what, std::string_view remedy = "");
  ~Touching();
  Touching(const Touching&) = delete;
  Touching& operator=(const Touching&) = delete;

  // The same, until the next one.
  static void Note(std::string_view what, std::string_view remedy = "");

 private:
  const std::string what_before_;
  const std::string remedy_before_;
};

// While it lives, sleeping for long proves nothing.
class Waiting {
 public:
  // kSync: what many wrote may have to be written out first; four times kPatience.
  // kEver: for a user, for a terminal, for what is told to be waited for.
  enum class For { kSync, kEver };
  explicit Waiting(For what);
  // For the daemon of `mountpoint` to do what it was asked for, which may take its time while the
  // daemon and all its nodes answer.
  explicit Waiting(const std::string& mountpoint);
  ~Waiting();
  Waiting(const Waiting&) = delete;
  Waiting& operator=(const Waiting&) = delete;

 private:
  const int limit_before_;
  const std::string mountpoint_before_;
};

}  // namespace volfs::cli
