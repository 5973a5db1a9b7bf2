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
// One table (RequestTable) tells what each file takes. The parser, the usage lines, the text of
// control/help and the list of request files are all made from it, so that they cannot differ;
// a test compares PROTOCOL.md with it.

// At most so many bytes, with the LF that ends the request (counted even where it is missing: it
// may come with the next write).
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

// One request that is well formed. Whether anything in it exists is not known here.
struct Request {
  RequestKind kind = RequestKind::kClone;
  std::string volume;    // what exists and is asked about: the source of a clone, the volume to be
                         // deleted, the clone to be resumed or cancelled; empty for create
  std::string snapshot;  // not empty: it is `snapshot` of `volume` that is meant
  std::string name;      // of what shall be made; a clone's default is filled in. Else empty
  std::optional<uint64_t> size_bytes;
  std::string type;   // empty: not given
  std::string node;   // empty: not given
  std::string token;  // id=; empty: not given
  bool linked = false;
  bool verify = false;
  std::optional<bool> native;  // io=; none: not given
  bool resume = false;         // go on with the clone `volume`; everything else is empty
  friend bool operator==(const Request&, const Request&) = default;
};

// What one word of a request is, by its place in the line.
enum class WordRole : uint8_t {
  kVolume,            // a volume that exists
  kSnapshot,          // VOLUME@SNAP
  kVolumeOrSnapshot,  // either
  kNewName,           // the name of what shall be made
  kSize,
};

struct WordSpec {
  WordRole role;
  std::string_view shown;  // in usage lines
  bool optional = false;   // only the last may be
};

// The most of each in one kind of request; what is not used is empty.
inline constexpr size_t kMaxWords = 2;
inline constexpr size_t kMaxKeys = 8;

struct RequestSpec {
  RequestKind kind;
  std::string_view file;  // its name under control/
  std::array<WordSpec, kMaxWords> words;
  std::array<std::string_view, kMaxKeys> keys;
  // What it does cannot be taken back: half a name must never be one, so the LF has to be in the
  // same write (RequestFile).
  bool destructive;
  std::string_view says;  // for control/help
};

// By kind: RequestTable()[i].kind == RequestKind(i).
const std::array<RequestSpec, kRequestKinds>& RequestTable();
const RequestSpec& SpecOf(RequestKind kind);
std::optional<RequestKind> RequestKindOf(std::string_view file);  // "clone"; nothing if unknown

// "resize: NAME SIZE", without an LF.
std::string UsageLine(RequestKind kind);

// The text of control/help.
std::string HelpText();

// Reads one request of `kind` from `line`, which has no LF. Total: any bytes give a Request or an
// Error. The first fault in this order wins: kTooBig, kInvalid, kNameTooLong. Messages are one line
// and repeat nothing of `line` unescaped.
Result<Request> ParseRequest(RequestKind kind, std::string_view line);

// The request in one spelling: parsing it gives `request` back, so two requests mean the same
// exactly if their canonical lines are equal. Kept with a clone's token, to compare a retry with.
std::string Canonical(const Request& request);

}  // namespace volfs
