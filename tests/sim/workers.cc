#include "tests/sim/workers.h"

#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>

namespace volfs::sim {
namespace {

constexpr uint64_t kNothing = ~uint64_t{0};

// For the handler of an abort, which may make few calls.
int report_fd = -1;
uint64_t current = 0;

void WriteLine(int fd, const std::string& line) {
  // Stays below PIPE_BUF (4096), so that lines of several workers do not mix.
  const std::string whole = line.substr(0, 2000) + "\n";
  if (write(fd, whole.data(), whole.size()) < 0) _exit(2);
}

void OnAbort(int signal) {
  std::array<char, 80> line{};
  const int length = std::snprintf(line.data(), line.size(), "A %llu ends with signal %d\n",
                                   static_cast<unsigned long long>(current), signal);
  if (write(report_fd, line.data(), static_cast<size_t>(length)) < 0) _exit(2);
  _exit(3);
}

struct Worker {
  pid_t pid = -1;
  int fd = -1;
  uint64_t next = 0;
  std::string rest;  // of a line that is not complete yet
};

// Runs in the child: every `step`-th number from `from` on.
[[noreturn]] void Labour(int fd, uint64_t from, uint64_t end, uint64_t step, const Work& work,
                         bool stop_at_first) {
  report_fd = fd;
  for (const int signal : {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL}) std::signal(signal, OnAbort);
  // The output of an assertion comes from here; the report says the number.
  (void)freopen("/dev/null", "w", stderr);
  Sums sums;
  for (uint64_t number = from; number < end; number += step) {
    current = number;
    std::vector<std::string> wrong;
    work(number, sums, wrong);
    for (const std::string& text : wrong) {
      WriteLine(fd, "W " + std::to_string(number) + " " + text);
    }
    if (stop_at_first && !wrong.empty()) break;
  }
  std::string line = "S";
  for (const uint64_t value : sums.values) line += " " + std::to_string(value);
  WriteLine(fd, line);
  _exit(0);
}

Worker Start(uint64_t from, uint64_t end, uint64_t step, const Work& work, bool stop_at_first) {
  std::fflush(stdout);
  std::array<int, 2> ends{};
  if (pipe(ends.data()) != 0) std::abort();
  Worker worker;
  worker.pid = fork();
  if (worker.pid < 0) std::abort();
  if (worker.pid == 0) {
    close(ends[0]);
    Labour(ends[1], from, end, step, work, stop_at_first);
  }
  close(ends[1]);
  worker.fd = ends[0];
  worker.next = kNothing;
  return worker;
}

// Reads the available lines. Returns false at the end.
bool ReadLines(Worker& worker, const std::function<void(const std::string&)>& line) {
  std::array<char, 4096> buffer{};
  const ssize_t got = read(worker.fd, buffer.data(), buffer.size());
  if (got <= 0) return false;
  worker.rest.append(buffer.data(), static_cast<size_t>(got));
  for (size_t end; (end = worker.rest.find('\n')) != std::string::npos;) {
    line(worker.rest.substr(0, end));
    worker.rest.erase(0, end + 1);
  }
  return true;
}

void End(Worker& worker) {
  close(worker.fd);
  (void)waitpid(worker.pid, nullptr, 0);
}

}  // namespace

int CoreCount() { return std::max(1, static_cast<int>(std::thread::hardware_concurrency())); }

uint64_t RunWorkers(const std::string& label, uint64_t first, uint64_t count, int processes,
                    const Work& work, Sums& sums) {
  const uint64_t step = static_cast<uint64_t>(processes > 0 ? processes : CoreCount());
  const uint64_t end = first + count;
  std::vector<Worker> workers;
  for (uint64_t i = 0; i < step; ++i) {
    workers.push_back(Start(first + i, end, step, work, false));
  }
  uint64_t bad = 0;
  uint64_t last_bad = kNothing;
  while (!workers.empty()) {
    std::vector<pollfd> fds;
    for (const Worker& worker : workers) fds.push_back({worker.fd, POLLIN, 0});
    (void)poll(fds.data(), fds.size(), -1);
    for (size_t i = workers.size(); i-- > 0;) {
      if (fds[i].revents == 0) continue;
      Worker& worker = workers[i];
      const bool more = ReadLines(worker, [&](const std::string& line) {
        char* rest = nullptr;
        const uint64_t number = std::strtoull(line.c_str() + 2, &rest, 10);
        if (line[0] == 'S') {
          Sums part;
          rest = const_cast<char*>(line.c_str()) + 1;
          for (uint64_t& value : part.values) value = std::strtoull(rest, &rest, 10);
          sums.Add(part);
          return;
        }
        std::printf("%s %llu:%s\n", label.c_str(), static_cast<unsigned long long>(number), rest);
        std::fflush(stdout);
        if (number != last_bad) ++bad;
        last_bad = number;
        if (line[0] == 'A') worker.next = number + step;
      });
      if (more) continue;
      const uint64_t next = worker.next;
      End(worker);
      workers.erase(workers.begin() + static_cast<ptrdiff_t>(i));
      if (next != kNothing && next < end) workers.push_back(Start(next, end, step, work, false));
    }
  }
  return bad;
}

uint64_t FindFirst(uint64_t first, uint64_t count, const Work& work, std::string& what) {
  Worker worker = Start(first, first + count, 1, work, true);
  uint64_t found = 0;
  while (ReadLines(worker, [&](const std::string& line) {
    if (line[0] == 'S' || found != 0) return;
    char* rest = nullptr;
    found = std::strtoull(line.c_str() + 2, &rest, 10);
    what = rest + 1;
  })) {
  }
  End(worker);
  return found;
}

}  // namespace volfs::sim
