// Writes any bytes to a request file. The first byte picks the file, the second how the rest is cut
// into writes.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "control/request/request.h"
#include "control/request/request_file.h"
#include "control/text/name.h"
#include "tests/fuzz/fuzz_targets.h"

namespace volfs::fuzz {
namespace {

void CheckLine(RequestKind kind, std::string_view line) {
  const Result<Request> request = ParseRequest(kind, line);
  if (!request.ok()) {
    Require(OneLine(request.error().message) == request.error().message, "an error is one line");
    return;
  }
  const std::string canonical = Canonical(request.value());
  const Result<Request> again = ParseRequest(kind, canonical);
  Require(again.ok() && again.value() == request.value(), "the canonical form means the same");
  Require(Canonical(again.value()) == canonical, "the canonical form is one");
}

// Writes all of `bytes` in pieces, going on after errors, and reads every reply.
void CheckWrites(RequestKind kind, std::string_view bytes, size_t piece) {
  RequestFile file(kind);
  size_t asked = 0;
  const Executor execute = [&asked](const Request& request) -> Result<std::string> {
    if (++asked % 3 == 0) return Error{Errc::kBusy, request.volume};
    return request.name;
  };
  while (!bytes.empty()) {
    const std::string_view part = bytes.substr(0, piece);
    const Result<size_t> taken = file.Write(part, execute, nullptr);
    Require(!taken.ok() || (taken.value() > 0 && taken.value() <= part.size()),
            "a write takes some of it");
    bytes.remove_prefix(taken.ok() ? taken.value() : part.size());
  }
  for (std::string reply = file.Read(piece); !reply.empty(); reply = file.Read(piece)) {
    Require(reply.size() <= piece, "a read gets at most what it asked for");
    Require(std::count(reply.begin(), reply.end(), '\n') <= 1, "a reply is one line");
  }
}

}  // namespace

void request(Input input) {
  if (input.size() < 2) return;
  const auto kind = static_cast<RequestKind>(input[0] % kRequestKinds);
  const size_t piece = size_t{input[1]} + 1;
  const std::string_view bytes(reinterpret_cast<const char*>(input.data()) + 2, input.size() - 2);
  CheckLine(kind, bytes);
  CheckWrites(kind, bytes, piece);
}

}  // namespace volfs::fuzz
