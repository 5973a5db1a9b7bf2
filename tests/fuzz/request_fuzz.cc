// Fuzz target for everything that a user can write to a request file. The first byte picks the
// file, the second how the rest is cut into writes. Build it with
//   clang++ -std=c++20 -g -O1 -fsanitize=fuzzer,address,undefined -I. tests/fuzz/request_fuzz.cc
//     control/{request,request_file,errno_name,name,size}.cc blockstore/runtime.cc
// and run it on a copy of tests/fuzz/corpus/request, to which it adds what it finds.
// tests/control/request_corpus_test.cc replays that folder in every build.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "control/name.h"
#include "control/request.h"
#include "control/request_file.h"

namespace volfs {
namespace {

// Not assert(): a fuzzer's build may have NDEBUG.
void Require(bool holds) {
  if (!holds) std::abort();
}

void CheckLine(RequestKind kind, std::string_view line) {
  const Result<Request> request = ParseRequest(kind, line);
  if (!request.ok()) {
    Require(OneLine(request.error().message) == request.error().message);
    return;
  }
  const std::string canonical = Canonical(request.value());
  const Result<Request> again = ParseRequest(kind, canonical);
  Require(again.ok() && again.value() == request.value());
  Require(Canonical(again.value()) == canonical);
}

// Writes all of `bytes` in pieces, as a writer that goes on after errors, and reads every reply.
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
    Require(!taken.ok() || (taken.value() > 0 && taken.value() <= part.size()));
    bytes.remove_prefix(taken.ok() ? taken.value() : part.size());
  }
  for (std::string reply = file.Read(piece); !reply.empty(); reply = file.Read(piece)) {
    Require(reply.size() <= piece);
    Require(std::count(reply.begin(), reply.end(), '\n') <= 1);
  }
}

}  // namespace
}  // namespace volfs

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const auto kind = static_cast<volfs::RequestKind>(data[0] % volfs::kRequestKinds);
  const size_t piece = size_t{data[1]} + 1;
  const std::string_view bytes(reinterpret_cast<const char*>(data + 2), size - 2);
  volfs::CheckLine(kind, bytes);
  volfs::CheckWrites(kind, bytes, piece);
  return 0;
}
