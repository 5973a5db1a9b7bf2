#include "fusefs/ops/listing.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

namespace volfs {
namespace {

TEST(ListingTest, GivesBackWhatWasPacked) {
  const std::vector<DirectoryEntry> entries = {
      {1, ".", S_IFDIR}, {uint64_t{7} << 60, std::string(255, 'n'), S_IFREG}, {3, "x", S_IFREG}};
  const std::string packed = Listing::Pack(entries);
  const Listing listing(packed);
  ASSERT_EQ(listing.size(), entries.size());
  for (size_t i = 0; i < entries.size(); ++i) {
    EXPECT_EQ(listing.At(i).ino, entries[i].ino);
    EXPECT_EQ(listing.At(i).name, entries[i].name);
    EXPECT_EQ(listing.At(i).type, entries[i].type);
  }
}

TEST(ListingTest, MayBeEmpty) {
  const std::string packed = Listing::Pack({});
  EXPECT_EQ(Listing(packed).size(), 0U);
}

}  // namespace
}  // namespace volfs
