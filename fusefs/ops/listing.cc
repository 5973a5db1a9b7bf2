#include "fusefs/ops/listing.h"

#include <cassert>
#include <cstring>

namespace volfs {
namespace {

constexpr size_t kNumber = sizeof(uint32_t);
constexpr size_t kHead = sizeof(uint64_t) + kNumber;  // of an entry, before its name

template <typename Integer>
void Append(std::string& out, Integer value) {
  char bytes[sizeof value];
  std::memcpy(bytes, &value, sizeof value);
  out.append(bytes, sizeof value);
}

}  // namespace

std::string Listing::Pack(const std::vector<DirectoryEntry>& entries) {
  size_t begin = kNumber * (1 + entries.size());
  size_t bytes = begin;
  for (const DirectoryEntry& entry : entries) bytes += kHead + entry.name.size();
  std::string out;
  out.reserve(bytes);
  Append(out, static_cast<uint32_t>(entries.size()));
  for (const DirectoryEntry& entry : entries) {
    Append(out, static_cast<uint32_t>(begin));
    begin += kHead + entry.name.size();
  }
  for (const DirectoryEntry& entry : entries) {
    Append(out, entry.ino);
    Append(out, entry.type);
    out += entry.name;
  }
  return out;
}

uint32_t Listing::NumberAt(size_t at) const {
  assert(at + kNumber <= packed_.size());
  uint32_t number = 0;
  std::memcpy(&number, packed_.data() + at, sizeof number);
  return number;
}

size_t Listing::BeginOf(size_t index) const {
  return index == size() ? packed_.size() : NumberAt(kNumber * (1 + index));
}

DirectoryEntry Listing::At(size_t index) const {
  assert(index < size());
  const size_t begin = BeginOf(index);
  DirectoryEntry entry{};
  std::memcpy(&entry.ino, packed_.data() + begin, sizeof entry.ino);
  entry.type = NumberAt(begin + sizeof entry.ino);
  entry.name = packed_.substr(begin + kHead, BeginOf(index + 1) - begin - kHead);
  return entry;
}

}  // namespace volfs
