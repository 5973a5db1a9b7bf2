#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>

#include "blockstore/base/error.h"

namespace volfs {

// The grammar of the request files (PROTOCOL.md). Pure: no I/O, no locks, no state.
//
// RequestTable says which words and keys each file takes. The parser, the usage lines, the text of
// control/help and the list of request files are all made from it, so that they cannot differ. A
// test compares PROTOCOL.md with it.

// The longest request, in bytes, including the LF that ends it. The LF is counted even where it is
// missing, because it may come with the next write.
inline constexpr size_t kMaxRequestBytes = 4096;
inline constexpr size_t kMaxTokenBytes = 128;

enum class RequestKind : uint8_t {
  kClone,
  kSnapshot,
  kRestore,
  kRevert,
  kCreate,
  kResize,
  kDelete,
  kCancel,
};
inline constexpr size_t kRequestKinds = 8;

// One well-formed request. Whether the things it names exist is not known here.
struct Request {
  RequestKind kind = RequestKind::kClone;
  // The volume that the request is about: the source of a clone, the volume to be deleted, the
  // clone to be resumed or cancelled. Empty for create.
  std::string volume;
  std::string snapshot;  // if not empty, the request means `snapshot` of `volume`
  std::string name;      // of the new volume or snapshot, a clone's default filled in; else empty
  std::optional<uint64_t> size_bytes;
  std::string type;   // empty: not given
  std::string node;   // empty: not given
  std::string token;  // id=; empty: not given
  bool linked = false;
  bool verify = false;
  std::optional<bool> native;  // io=; none: not given
  bool resume = false;         // resume the clone `volume`; everything else is empty
  friend bool operator==(const Request&, const Request&) = default;
};

// The role of one word of a request, by its place in the line.
enum class WordRole : uint8_t {
  kVolume,            // a volume that exists
  kSnapshot,          // VOLUME@SNAP
  kVolumeOrSnapshot,  // either
  kNewName,           // the name of a new volume or snapshot
  kSize,
};

struct WordSpec {
  WordRole role;
  std::string_view shown;  // as usage lines show it
  bool optional = false;   // only the last word may be optional
};

// The largest numbers of words and keys in one kind of request; unused places are empty.
inline constexpr size_t kMaxWords = 2;
inline constexpr size_t kMaxKeys = 8;

struct RequestSpec {
  RequestKind kind;
  std::string_view file;  // its name under control/
  std::array<WordSpec, kMaxWords> words;
  std::array<std::string_view, kMaxKeys> keys;
  // The effect of the request cannot be taken back. Its LF has to be in the same write, so that
  // half a name is never taken for a whole one (RequestFile).
  bool destructive;
  std::string_view says;  // its description in control/help
};

// Indexed by kind: RequestTable()[i].kind == RequestKind(i).
const std::array<RequestSpec, kRequestKinds>& RequestTable();
const RequestSpec& SpecOf(RequestKind kind);
std::optional<RequestKind> RequestKindOf(std::string_view file);  // "clone"; nothing if unknown

// Returns "resize: NAME SIZE", without an LF.
std::string UsageLine(RequestKind kind);

// Returns the text of control/help.
std::string HelpText();

// Reads one request of `kind` from `line`, which has no LF. Any bytes give a Request or an Error.
// The first fault in this order wins: kTooBig, kInvalid, kNameTooLong. Messages are one line and
// repeat nothing of `line` unescaped.
Result<Request> ParseRequest(RequestKind kind, std::string_view line);

// Returns the request in its one canonical spelling. Parsing it gives `request` back, so two
// requests mean the same exactly if their canonical lines are equal. It is kept with a clone's
// token, to compare a retry with.
std::string Canonical(const Request& request);

}  // namespace volfs
