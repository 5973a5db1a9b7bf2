#include "control/request/request.h"

#include <algorithm>
#include <cassert>
#include <utility>
#include <vector>

#include "blockstore/base/str_cat.h"
#include "control/text/io.h"
#include "control/text/name.h"
#include "control/text/size.h"

namespace volfs {
namespace {

constexpr WordSpec kNoWord{WordRole::kVolume, "", false};

constexpr std::array<RequestSpec, kRequestKinds> kTable = {{
    {RequestKind::kClone,
     "clone",
     {{{WordRole::kVolumeOrSnapshot, "SRC"}, {WordRole::kNewName, "NAME", true}}},
     {"size", "type", "node", "linked", "verify", "id", "resume"},
     false,
     "makes the volume NAME (SRC-clone if not given) from SRC as it is at this instant;\n"
     "    resume=1 goes on with a clone that is in error"},
    {RequestKind::kSnapshot,
     "snapshot",
     {{{WordRole::kVolume, "VOLUME"}, {WordRole::kNewName, "NAME"}}},
     {},
     false,
     "keeps VOLUME as it is at this instant as the read-only image snapshots/VOLUME/NAME"},
    {RequestKind::kRestore,
     "restore",
     {{{WordRole::kSnapshot, "VOLUME@SNAP"}, {WordRole::kNewName, "NAME"}}},
     {"size", "type", "node", "linked", "verify", "id"},
     false,
     "makes the volume NAME from a snapshot"},
    {RequestKind::kRevert,
     "revert",
     {{{WordRole::kSnapshot, "VOLUME@SNAP"}, kNoWord}},
     {},
     true,
     "puts VOLUME back to its state at SNAP; later writes are lost"},
    {RequestKind::kCreate,
     "create",
     {{{WordRole::kNewName, "NAME"}, {WordRole::kSize, "SIZE"}}},
     {"type", "node", "io"},
     false,
     "makes an empty volume"},
    {RequestKind::kResize,
     "resize",
     {{{WordRole::kVolume, "NAME"}, {WordRole::kSize, "SIZE"}}},
     {},
     true,
     "gives the volume NAME another size"},
    {RequestKind::kDelete,
     "delete",
     {{{WordRole::kVolumeOrSnapshot, "NAME|VOLUME@SNAP"}, kNoWord}},
     {},
     true,
     "deletes a volume or a snapshot"},
    {RequestKind::kCancel,
     "cancel",
     {{{WordRole::kVolume, "NAME"}, kNoWord}},
     {},
     true,
     "stops the clone NAME, which is not finished, and deletes it"},
}};

struct KeySpec {
  std::string_view name;
  std::string_view shown;  // its value in usage lines
  std::string_view says;
  bool alone = false;  // excludes every other key, and takes one volume's name
};

constexpr std::array<KeySpec, kMaxKeys> kKeys = {{
    {"size", "SIZE", "the new volume's size, not less than the source's"},
    {"type", "TYPE", "its volume type, if not the source's or the default; see control/types"},
    {"node", "NODE", "the node that it shall live on"},
    {"linked", "0|1", "1: on the source's own node, sharing its blocks; nothing is copied"},
    {"verify", "0|1", "1: reads each copied range back from the disk, and compares"},
    {"io", "native|daemon",
     "native: the kernel reads and writes the file by itself, as fast as any"},
    {"id", "TOKEN", "asking again with the same words and token gives the first result again"},
    {"resume", "1", "tries again to copy; NAME is the clone", true},
}};

const KeySpec& KeyOf(std::string_view name) {
  const auto* found = std::find_if(kKeys.begin(), kKeys.end(),
                                   [name](const KeySpec& key) { return key.name == name; });
  assert(found != kKeys.end());
  return *found;
}

bool Takes(const RequestSpec& spec, std::string_view key) {
  return !key.empty() && std::find(spec.keys.begin(), spec.keys.end(), key) != spec.keys.end();
}

size_t WordCount(const RequestSpec& spec) {
  size_t count = 0;
  while (count < kMaxWords && !spec.words[count].shown.empty()) ++count;
  return count;
}

// ---- bytes

// Returns the length of the well-formed UTF-8 sequence that `text` begins with, 0 if there is none.
// Overlong forms, surrogates and values beyond U+10FFFF are not well formed (Unicode, table 3-7).
size_t Utf8Length(std::string_view text) {
  const auto at = [text](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = at(0);
  if (lead < 0x80) return 1;
  const size_t length = lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf5 ? 4 : 0;
  if (length == 0 || text.size() < length) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((at(i) & 0xc0) != 0x80) return 0;
  }
  if ((lead == 0xe0 && at(1) < 0xa0) || (lead == 0xed && at(1) > 0x9f)) return 0;
  if ((lead == 0xf0 && at(1) < 0x90) || (lead == 0xf4 && at(1) > 0x8f)) return 0;
  return length;
}

bool IsBlank(char c) { return c == ' ' || c == '\t'; }

bool IsForbidden(char c) {
  return (static_cast<unsigned char>(c) < 0x20 && !IsBlank(c)) || c == 0x7f;
}

std::optional<std::string> WrongBytes(std::string_view line) {
  if (line.ends_with('\r')) {
    return "the line ends in CR LF; end it with LF alone (tr -d '\\r')";
  }
  for (size_t i = 0; i < line.size();) {
    const size_t length = Utf8Length(line.substr(i));
    if (length == 0) return StrCat("byte ", i + 1, " is not UTF-8; write names in ASCII");
    if (IsForbidden(line[i])) {
      return StrCat("byte ", i + 1, " is the control character ", Printable(line.substr(i, 1)),
                    "; separate words with blanks and end the line with LF");
    }
    i += length;
  }
  return std::nullopt;
}

std::vector<std::string_view> SplitWords(std::string_view line) {
  std::vector<std::string_view> words;
  for (size_t i = 0; i < line.size();) {
    size_t end = i;
    while (end < line.size() && !IsBlank(line[end])) ++end;
    if (end > i) words.push_back(line.substr(i, end - i));
    i = end + 1;
  }
  return words;
}

// ---- words

// One line on its way to a Request.
class Parser {
 public:
  explicit Parser(const RequestSpec& spec) : spec_(spec) { request_.kind = spec.kind; }
  Result<Request> Parse(std::string_view line);

 private:
  Status TakeWord(std::string_view word);
  Status TakePlace(WordRole role, std::string_view word);
  Status TakeSource(std::string_view word);
  Status TakeKey(std::string_view word);
  Status CheckKey(std::string_view key);
  Status TakeValue(std::string_view key, std::string_view value);
  Status TakeFlag(std::string_view key, std::string_view value);
  Status TakeToken(std::string_view value);
  Status TakeIo(std::string_view value);
  Status TakeName(std::string_view word, std::string_view what, std::string& name);
  Status TakeSize(std::string_view word);
  Status CheckWordCount();
  Status CheckResume();
  // kNameTooLong waits until nothing worse was found in the whole line.
  Status Defer(Status status);
  // The usage line without the file's name, which is no part of a request.
  [[nodiscard]] std::string Form() const {
    return UsageLine(spec_.kind).substr(spec_.file.size() + 2);
  }
  [[nodiscard]] Error Invalid(std::string_view sentence) const {
    return Error{Errc::kInvalid, StrCat(spec_.file, ": ", sentence)};
  }

  const RequestSpec& spec_;
  Request request_;
  size_t words_ = 0;
  std::vector<std::string_view> keys_;
  std::optional<Error> too_long_;
};

Result<Request> Parser::Parse(std::string_view line) {
  if (const auto wrong = WrongBytes(line)) return Invalid(*wrong);
  for (const std::string_view word : SplitWords(line)) RETURN_IF_ERROR(TakeWord(word));
  RETURN_IF_ERROR(CheckWordCount());
  RETURN_IF_ERROR(CheckResume());
  if (spec_.kind == RequestKind::kClone && !request_.resume && request_.name.empty()) {
    RETURN_IF_ERROR(TakeName(CloneName(request_.volume), "clone", request_.name));
  }
  if (too_long_) return *too_long_;
  return std::move(request_);
}

Status Parser::TakeWord(std::string_view word) {
  if (word.find('=') != std::string_view::npos) return TakeKey(word);
  if (words_ >= WordCount(spec_)) {
    return Invalid(StrCat("\"", Printable(word), "\" is a word too many; write ", Form()));
  }
  if (!keys_.empty()) {
    return Invalid(
        StrCat("\"", Printable(word), "\" stands after \"", keys_.back(), "=\"; write keys last"));
  }
  return TakePlace(spec_.words[words_++].role, word);
}

Status Parser::TakePlace(WordRole role, std::string_view word) {
  const bool is_snapshot = word.find('@') != std::string_view::npos;
  switch (role) {
    case WordRole::kVolume:
      if (is_snapshot) {
        return Invalid(StrCat("\"", Printable(word), "\" names a snapshot; give a volume"));
      }
      return TakeName(word, "volume", request_.volume);
    case WordRole::kSnapshot:
      if (!is_snapshot) {
        return Invalid(StrCat("\"", Printable(word), "\" is not a snapshot; write VOLUME@SNAP"));
      }
      return TakeSource(word);
    case WordRole::kVolumeOrSnapshot:
      return TakeSource(word);
    case WordRole::kNewName:
      return TakeName(word, spec_.file, request_.name);
    case WordRole::kSize:
      return TakeSize(word);
  }
  return OkStatus();
}

Status Parser::TakeSource(std::string_view word) {
  const size_t at = word.find('@');
  RETURN_IF_ERROR(TakeName(word.substr(0, at), "volume", request_.volume));
  if (at == std::string_view::npos) return OkStatus();
  return TakeName(word.substr(at + 1), "snapshot", request_.snapshot);
}

Status Parser::TakeKey(std::string_view word) {
  const size_t equals = word.find('=');
  const std::string_view key = word.substr(0, equals);
  const std::string_view value = word.substr(equals + 1);
  RETURN_IF_ERROR(CheckKey(key));
  keys_.push_back(key);
  if (value.empty()) {
    return Invalid(StrCat("\"", key, "=\" has no value; write it right after the \"=\""));
  }
  return TakeValue(key, value);
}

Status Parser::CheckKey(std::string_view key) {
  if (key == "to") {
    return Invalid(
        "\"to=\" is reserved for snapshots on other nodes, which do not exist yet; "
        "clone the snapshot with node= instead");
  }
  if (!Takes(spec_, key)) {
    return Invalid(StrCat("there is no key \"", Printable(key), "\" here; write ", Form()));
  }
  if (std::find(keys_.begin(), keys_.end(), key) != keys_.end()) {
    return Invalid(StrCat("\"", key, "=\" is there twice; write it once"));
  }
  return OkStatus();
}

Status Parser::TakeValue(std::string_view key, std::string_view value) {
  if (key == "size") return TakeSize(value);
  if (key == "type") return TakeName(value, "type", request_.type);
  if (key == "node") return TakeName(value, "node", request_.node);
  if (key == "id") return TakeToken(value);
  if (key == "io") return TakeIo(value);
  return TakeFlag(key, value);
}

Status Parser::TakeFlag(std::string_view key, std::string_view value) {
  const bool zero_too = key != "resume";
  if (value != "1" && !(zero_too && value == "0")) {
    return Invalid(
        StrCat("\"", key, "=", Printable(value), "\": write ", key, "=", KeyOf(key).shown));
  }
  (key == "linked"   ? request_.linked
   : key == "verify" ? request_.verify
                     : request_.resume) = value == "1";
  return OkStatus();
}

Status Parser::TakeIo(std::string_view value) {
  ASSIGN_OR_RETURN(request_.native, ParseIo(value));
  return OkStatus();
}

Status Parser::TakeToken(std::string_view value) {
  const bool is_graphic =
      std::all_of(value.begin(), value.end(), [](char c) { return c > 0x20 && c < 0x7f; });
  if (!is_graphic) {
    return Invalid(StrCat("id \"", Printable(value), "\": use printable ASCII only"));
  }
  request_.token = value;
  if (value.size() <= kMaxTokenBytes) return OkStatus();
  return Defer(Error{Errc::kNameTooLong, StrCat(spec_.file, ": the id has ", value.size(),
                                                " bytes; give one of at most ", kMaxTokenBytes)});
}

Status Parser::TakeName(std::string_view word, std::string_view what, std::string& name) {
  name = word;
  return Defer(CheckName(word, what));
}

Status Parser::TakeSize(std::string_view word) {
  ASSIGN_OR_RETURN(const uint64_t size_bytes, ParseSize(word));
  request_.size_bytes = size_bytes;
  return OkStatus();
}

Status Parser::CheckWordCount() {
  const size_t all = WordCount(spec_);
  assert(all >= 1);
  const size_t least = spec_.words[all - 1].optional ? all - 1 : all;
  if (words_ >= least) return OkStatus();
  const std::string_view fault =
      words_ == 0 && keys_.empty() ? "the line is empty" : "a word is missing";
  return Invalid(StrCat(fault, "; write ", Form()));
}

Status Parser::CheckResume() {
  if (!request_.resume) return OkStatus();
  if (keys_.size() == 1 && words_ == 1 && request_.snapshot.empty()) return OkStatus();
  return Invalid("\"resume=1\" takes the name of the clone and nothing else");
}

Status Parser::Defer(Status status) {
  if (status.ok() || status.error().code != Errc::kNameTooLong) return status;
  if (!too_long_) too_long_ = status.error();
  return OkStatus();
}

void AppendWord(std::string& line, std::string_view word) {
  if (word.empty()) return;
  if (!line.empty()) line += ' ';
  line += word;
}

void AppendKey(std::string& line, std::string_view key, std::string_view value) {
  if (!value.empty()) AppendWord(line, StrCat(key, '=', value));
}

}  // namespace

const std::array<RequestSpec, kRequestKinds>& RequestTable() { return kTable; }

const RequestSpec& SpecOf(RequestKind kind) {
  const RequestSpec& spec = kTable.at(static_cast<size_t>(kind));
  assert(spec.kind == kind);
  return spec;
}

std::optional<RequestKind> RequestKindOf(std::string_view file) {
  for (const RequestSpec& spec : kTable) {
    if (spec.file == file) return spec.kind;
  }
  return std::nullopt;
}

std::string UsageLine(RequestKind kind) {
  const RequestSpec& spec = SpecOf(kind);
  std::string line = StrCat(spec.file, ':');
  for (const WordSpec& word : spec.words) {
    AppendWord(line, word.optional ? StrCat('[', word.shown, ']') : StrCat(word.shown));
  }
  std::string other_form;  // the request that a lone key makes
  for (const std::string_view name : spec.keys) {
    if (name.empty()) continue;
    const KeySpec& key = KeyOf(name);
    const std::string shown = StrCat(key.name, '=', key.shown);
    if (key.alone) {
      other_form = StrCat("| NAME ", shown);
    } else {
      AppendWord(line, StrCat('[', shown, ']'));
    }
  }
  AppendWord(line, other_form);
  return line;
}

std::string HelpText() {
  std::string text =
      "A request is one line, written to the file of its name in this directory:\n"
      "  echo db.img > control/clone\n"
      "A refusal is the error of that write; last_error and the reply, read from the same open\n"
      "file, say why. Keys come after the words, in any order.\n\n";
  for (const RequestSpec& spec : kTable) {
    text += StrCat(UsageLine(spec.kind), "\n    ", spec.says, ".\n");
    if (spec.destructive) text += "    The line's LF must come in the same write.\n";
  }
  text += "\nKeys:\n";
  for (const KeySpec& key : kKeys) {
    text += StrCat("  ", key.name, '=', key.shown, "\n    ", key.says, ".\n");
  }
  text += StrCat(
      "\nSRC is VOLUME or VOLUME@SNAP. SIZE is a number of bytes, or one with K M G T P\n",
      "or KiB MiB GiB TiB PiB (powers of 1024) or KB MB GB TB PB (powers of 1000); k m g t\n",
      "may be small. Names have letters, digits,\n",
      "\".\", \"_\" and \"-\", begin with a letter or digit, and have at most ", kMaxNameBytes,
      " bytes; a\nrequest has at most ", kMaxRequestBytes, ".\n\n",
      "The contents of a copy have the UUIDs of its source. Beside its source an XFS is\n"
      "mounted with -o nouuid; a btrfs gets UUIDs of its own by btrfstune -u, and LVM by\n"
      "vgimportclone, before they are used.\n");
  return text;
}

Result<Request> ParseRequest(RequestKind kind, std::string_view line) {
  const RequestSpec& spec = SpecOf(kind);
  if (line.size() >= kMaxRequestBytes) {
    return Error{Errc::kTooBig, StrCat(spec.file, ": the request has more than ", kMaxRequestBytes,
                                       " bytes with its LF; write one request per line")};
  }
  return Parser(spec).Parse(line);
}

std::string Canonical(const Request& request) {
  std::string line = request.volume;
  if (!request.snapshot.empty()) line += StrCat('@', request.snapshot);
  AppendWord(line, request.name);
  const std::string size = request.size_bytes ? StrCat(*request.size_bytes) : "";
  // The size is a word of its own where the table says so, else a key.
  if (Takes(SpecOf(request.kind), "size")) {
    AppendKey(line, "size", size);
  } else {
    AppendWord(line, size);
  }
  AppendKey(line, "type", request.type);
  AppendKey(line, "node", request.node);
  AppendKey(line, "linked", request.linked ? "1" : "");
  AppendKey(line, "verify", request.verify ? "1" : "");
  AppendKey(line, "io", request.native ? std::string(IoText(*request.native)) : "");
  AppendKey(line, "id", request.token);
  AppendKey(line, "resume", request.resume ? "1" : "");
  return line;
}

}  // namespace volfs
