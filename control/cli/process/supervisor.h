#pragma once

#include <sys/types.h>

#include <functional>
#include <string>
#include <string_view>

namespace volfs::cli {

// Ends every command within kPatience when a node, a daemon or a device does not answer, whichever
// call does not return.
//
// A command runs in a child, the worker; the process that the user started watches it. The worker
// hangs when its main thread has slept in the kernel for kPatience without waking once: a slow disk
// wakes it all the time. The watcher then says which thing did not answer, kills the worker and
// exits with kExitNodeNotThere. The worker noted that thing before it asked (Touching). A killed
// worker may stay in the kernel until the answer comes. Output into a pipe goes through the
// watcher, so that such a worker does not keep the pipe's reader waiting.
//
// The watcher passes on signals that a user sends to it. When the worker ends, also by a signal,
// the watcher ends likewise. A worker without a watcher is killed.
//
// Cost: a fork, and ten looks per second at two files in /proc.
inline constexpr int kPatienceSeconds = 4;  // including the message: less than 5

// How a user can help where the daemon of a mount does not answer.
inline constexpr std::string_view kSilentDaemonRemedy =
    "see its log for a node that hangs; kill -9 of the daemon, then mount again";

// Runs `command` under the watcher and returns the result for main().
int Supervise(const std::function<int()>& command);

// Sets the command's name in messages ("volfs status"), and its exit code if it hangs. Without a
// watcher this and all that follows do nothing.
void SetSupervised(std::string_view name, int exit_code_if_hung);

// Says that another process, a starting daemon, works for this one from now on.
void SetSupervisedProcess(pid_t pid);

// While it lives, the worker asks `what` ("the daemon of /mnt", "node directory /x"). `remedy` says
// how a user can help if it does not answer. Of several the innermost is reported. Any process of
// the command may have one, but not two at once.
class Touching {
 public:
  explicit Touching(std::string_view what, std::string_view remedy = "");
  ~Touching();
  Touching(const Touching&) = delete;
  Touching& operator=(const Touching&) = delete;

  // Does the same until the next Touching or Note.
  static void Note(std::string_view what, std::string_view remedy = "");

 private:
  const std::string what_before_;
  const std::string remedy_before_;
};

// While it lives, a long sleep does not count as a hang.
class Waiting {
 public:
  // kSync waits four times kPatience, because the data of many writers may have to be written out
  // first. kEver waits for a user, for a terminal, or for an event that the user told the command
  // to wait for.
  enum class For { kSync, kEver };
  explicit Waiting(For what);
  // Waits for the daemon of `mountpoint` to finish a request, as long as the daemon and all its
  // nodes answer. kEvents waits for news from the daemon, as long as the daemon answers.
  enum class On { kRequest, kEvents };
  explicit Waiting(const std::string& mountpoint, On what = On::kRequest);
  ~Waiting();
  Waiting(const Waiting&) = delete;
  Waiting& operator=(const Waiting&) = delete;

 private:
  const int limit_before_;
  const std::string mountpoint_before_;
  const bool events_before_;
};

}  // namespace volfs::cli
