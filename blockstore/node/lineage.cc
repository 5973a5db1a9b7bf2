#include "blockstore/node/lineage.h"

#include <algorithm>
#include <charconv>
#include <iterator>
#include <optional>
#include <string_view>

#include "blockstore/base/sabotage.h"
#include "blockstore/base/str_cat.h"

namespace volfs {
namespace {

constexpr std::string_view kOwnKey = "lineage";
constexpr std::string_view kKnownPrefix = "lineage.";
constexpr size_t kDigits = 16;

bool IsLineageKey(std::string_view key) { return key == kOwnKey || key.starts_with(kKnownPrefix); }

std::string MountsText(const std::vector<MountId>& mounts) {
  std::string text;
  for (const MountId mount : mounts) text += (text.empty() ? "" : " ") + MountText(mount);
  return text;
}

std::optional<std::vector<MountId>> ParseMounts(std::string_view text) {
  std::vector<MountId> mounts;
  while (!text.empty()) {
    MountId mount = 0;
    const std::string_view digits = text.substr(0, kDigits);
    const auto [end, error] =
        std::from_chars(digits.data(), digits.data() + digits.size(), mount, 16);
    if (error != std::errc() || end != digits.data() + kDigits) return std::nullopt;
    text.remove_prefix(kDigits);
    mounts.push_back(mount);
    if (text.empty()) break;
    if (text.front() != ' ' || text.size() == 1) return std::nullopt;
    text.remove_prefix(1);
  }
  return mounts;
}

// Returns the place of the last of `mounts` that is also in `others`; mounts.size() if none is.
size_t LastCommon(const std::vector<MountId>& mounts, const std::vector<MountId>& others) {
  for (size_t i = mounts.size(); i > 0; --i) {
    if (std::find(others.begin(), others.end(), mounts[i - 1]) != others.end()) return i - 1;
  }
  return mounts.size();
}

std::string Times(size_t count) { return count == 1 ? "once" : StrCat(count, " times"); }

}  // namespace

std::string MountText(MountId mount) {
  constexpr char kHex[] = "0123456789abcdef";
  std::string text;
  for (int shift = 60; shift >= 0; shift -= 4) text.push_back(kHex[(mount >> shift) & 15]);
  return text;
}

Result<Lineage> ReadLineage(const CatalogContents& contents) {
  Lineage lineage;
  for (const auto& [key, value] : contents.settings) {
    if (!IsLineageKey(key)) continue;
    const std::optional<std::vector<MountId>> mounts = ParseMounts(value);
    const bool own = key == kOwnKey;
    if (!mounts || (!own && mounts->empty())) {
      return Error{Errc::kCorrupt, StrCat("the catalog of node ", contents.node.name,
                                          " is damaged: table settings, row key=", key,
                                          ": it is no list of mounts")};
    }
    if (own) {
      lineage.mounts = *mounts;
      continue;
    }
    lineage.known[key.substr(kKnownPrefix.size())] = {
        mounts->front(), std::vector<MountId>(std::next(mounts->begin()), mounts->end())};
  }
  return lineage;
}

void DropLineage(CatalogContents& contents) {
  std::erase_if(contents.settings, [](const auto& setting) { return IsLineageKey(setting.first); });
}

PutSetting LineageSetting(const Lineage& lineage) {
  return {std::string(kOwnKey), MountsText(lineage.mounts)};
}

PutSetting KnownSetting(const std::string& uuid, const KnownLineage& known) {
  std::vector<MountId> mounts = {known.told};
  mounts.insert(mounts.end(), known.mounts.begin(), known.mounts.end());
  return {StrCat(kKnownPrefix, uuid), MountsText(mounts)};
}

DeleteSetting ForgetKnown(const std::string& uuid) { return {StrCat(kKnownPrefix, uuid)}; }

Kinship Compare(const std::vector<MountId>& mounts, MountId told,
                const std::vector<MountId>& known) {
  if (known.empty() || known.back() == told) return {};
  if (std::find(mounts.begin(), mounts.end(), known.back()) != mounts.end()) return {};
  const size_t here = LastCommon(mounts, known);
  const size_t there = LastCommon(known, mounts);
  Kinship kinship;
  if (mounts.empty()) {  // last mounted by a volfs without lineages
    kinship.kind = Kinship::Kind::kOlder;
    kinship.mounts_there = known.size();
    return kinship;
  }
  if (here == mounts.size()) return {Kinship::Kind::kUnknown, 0, 0};
  if (Sabotaged(Sabotage::kTakeForks)) return {};
  kinship.mounts_here = mounts.size() - 1 - here;
  kinship.mounts_there = known.size() - 1 - there;
  kinship.kind = kinship.mounts_here == 0 ? Kinship::Kind::kOlder : Kinship::Kind::kForked;
  return kinship;
}

std::string KinshipTrouble(const Kinship& kinship, const std::string& node, MountId newest,
                           const std::string& peer, const std::string& last_at) {
  const std::string accept = newest == 0
                                 ? StrCat("forget the lost one first (`volfs node forget`)")
                                 : StrCat("mount it once with -o accept=", MountText(newest));
  const std::string other = StrCat("the one that node ", peer, " knows (last at ", last_at, ")");
  switch (kinship.kind) {
    case Kinship::Kind::kNewest:
      return "";
    case Kinship::Kind::kOlder:
      return StrCat("an older copy of node ", node, ": ", other, " was mounted ",
                    Times(kinship.mounts_there),
                    " since, and later writes are not in this one; mount the newest copy. "
                    "Only if that is lost for good: to go on with this one, ",
                    accept);
    case Kinship::Kind::kForked:
      return StrCat(
          "one of two copies of node ", node,
          " that both went on: since they parted, this "
          "one was mounted ",
          Times(kinship.mounts_here), ", and ", other, " ", Times(kinship.mounts_there),
          " or more; each may have data that the other has not. Look at each alone first. "
          "Then mount the other one here; or, to go on with this one and without the "
          "data of the other, ",
          accept);
    case Kinship::Kind::kUnknown:
      return StrCat("a copy of node ", node, " that has no mount in common with ", other,
                    ": one of them was left behind, or both went on, long ago. Look at each alone "
                    "first. Then mount the other one here; or, to go on with this one and without "
                    "the data of the other, ",
                    accept);
  }
  return "";
}

}  // namespace volfs
