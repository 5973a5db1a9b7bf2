#pragma once

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "blockstore/io/posix_descriptor.h"

namespace volfs::cli {

// A question that may never be answered, such as a look at a path whose server is down, or at a
// mount whose daemon hangs. The kernel does not give back a thread that waits for such an answer,
// and a process with such a thread does not end. A child process therefore asks. A child that does
// not come back is killed and left behind; it holds no descriptor that other processes wait for.
//
// Requires a process with one thread. Thread-safety: one thread at a time.
class Question {
 public:
  using Say = std::function<void(std::string_view)>;
  using Clock = std::chrono::steady_clock;

  // Starts the child, which runs `ask`; the words that `ask` says are the answer.
  explicit Question(const std::function<void(const Say&)>& ask);
  ~Question();
  Question(Question&& other) noexcept;
  Question& operator=(Question&&) = delete;

  // The words that the child said until it ended or until the deadline. `whole` says that it ended
  // by itself.
  struct Answer {
    bool whole = false;
    std::string said;
  };
  Answer Await(Clock::time_point deadline);

 private:
  pid_t child_ = -1;
  Descriptor answer_;
};

// Returns the result of `ask`, nothing if it has not returned within `limit`.
std::optional<std::string> AnswerWithin(std::chrono::milliseconds limit,
                                        const std::function<std::string()>& ask);

// Looks at all paths at once and says which of them are gone and which gave no answer within
// `limit`; the others are there. Costs a child process a path.
struct PathsFound {
  std::vector<std::string> gone;    // certainly: nothing is there
  std::vector<std::string> silent;  // did not answer
};
PathsFound LookAtPaths(const std::vector<std::string>& paths, std::chrono::milliseconds limit);

}  // namespace volfs::cli
