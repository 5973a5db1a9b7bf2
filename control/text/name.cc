#include "control/text/name.h"

#include <algorithm>
#include <array>

#include "blockstore/base/safe_text.h"
#include "blockstore/base/str_cat.h"

namespace volfs {
namespace {

// Not isalnum(): that asks the locale.
bool IsLetterOrDigit(char c) {
  return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

bool MayFollow(char c) { return IsLetterOrDigit(c) || c == '.' || c == '_' || c == '-'; }

bool IsControl(char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }

bool IsAscii(char c) { return static_cast<unsigned char>(c) < 0x80; }

void AppendEscaped(std::string& out, char c) {
  constexpr std::string_view kHex = "0123456789abcdef";
  const auto byte = static_cast<unsigned char>(c);
  out += "\\x";
  out += kHex[byte >> 4];
  out += kHex[byte & 0xf];
}

}  // namespace

Status CheckName(std::string_view name, std::string_view what) {
  if (name.empty()) {
    return Error{Errc::kInvalid, StrCat(what,
                                        " name is missing; give one of letters, digits, "
                                        "\".\", \"_\" and \"-\"")};
  }
  if (!IsLetterOrDigit(name.front()) || !std::all_of(name.begin(), name.end(), MayFollow)) {
    return Error{Errc::kInvalid, StrCat(what, " name \"", Printable(name),
                                        "\": use only letters, digits, \".\", \"_\" and \"-\", and "
                                        "begin with a letter or digit")};
  }
  if (name.size() > kMaxNameBytes) {
    return Error{Errc::kNameTooLong,
                 StrCat(what, " name \"", Printable(name), "\" has ", name.size(),
                        " bytes; give one of at most ", kMaxNameBytes)};
  }
  return OkStatus();
}

std::string CloneName(std::string_view source_volume) {
  constexpr std::array<std::string_view, 2> kExtensions = {".img", ".raw"};
  for (const std::string_view extension : kExtensions) {
    if (source_volume.size() > extension.size() && source_volume.ends_with(extension)) {
      source_volume.remove_suffix(extension.size());
      return StrCat(source_volume, "-clone", extension);
    }
  }
  return StrCat(source_volume, "-clone");
}

std::string Printable(std::string_view text, size_t limit) {
  std::string out;
  for (const char c : text.substr(0, limit)) {
    if (c == '\\') {
      out += "\\\\";
    } else if (IsControl(c) || !IsAscii(c)) {
      AppendEscaped(out, c);
    } else {
      out += c;
    }
  }
  if (text.size() > limit) out += "...";
  return out;
}

std::string OneLine(std::string_view message) { return SafeText(message); }

}  // namespace volfs
