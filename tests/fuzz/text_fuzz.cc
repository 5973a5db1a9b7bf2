// All parts of the program agree on which names and sizes are legal.
#include <algorithm>
#include <string>
#include <string_view>

#include "blockstore/catalog/fields.h"
#include "control/text/name.h"
#include "control/text/size.h"
#include "tests/fuzz/fuzz_targets.h"

namespace volfs::fuzz {
namespace {

bool IsPrintable(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c >= ' ' && c < 0x7f; });
}

void CheckOneName(const std::string& name) {
  const Status legal = CheckName(name, "volume");
  const bool stored = catalog::TextProblem("name", name, catalog::Rule::kName).empty();
  Require(legal.ok() == stored, "a name that a request may have is one that the catalog takes");
  Require(legal.ok() || OneLine(legal.error().message) == legal.error().message,
          "a refusal is one line");
  if (!legal.ok()) return;
  Require(Printable(name, name.size()) == name, "a legal name is printed as it is");
  const std::string clone = CloneName(name);
  const Status made = CheckName(clone, "clone");
  Require(made.ok() || made.error().code == Errc::kNameTooLong, "a clone's name is legal or long");
  Require(clone != name, "a clone has another name");
}

void CheckOneSize(std::string_view text) {
  const Result<uint64_t> size = ParseSize(text);
  if (!size.ok()) {
    Require(OneLine(size.error().message) == size.error().message, "a refusal is one line");
    return;
  }
  Require(size.value() <= kMaxParsedSize, "a size has its limit");
  Require(text.find_first_not_of("0123456789KMGTPBkmgtpbi") == text.npos,
          "a size is digits and a unit");
  Require(IsPrintable(FormatSize(size.value())), "a size is printable");
  const Result<uint64_t> again = ParseSize(std::to_string(size.value()));
  Require(again.ok() && again.value() == size.value(), "a size is read as it is written");
}

}  // namespace

void text(Input input) {
  const std::string text(input.begin(), input.end());
  CheckOneName(text);
  CheckOneSize(text);
  Require(IsPrintable(Printable(text)), "what is printable is");
  Require(OneLine(text).find('\n') == std::string::npos, "one line has no second one");
}

}  // namespace volfs::fuzz
