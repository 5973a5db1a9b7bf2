#include "control/tree/held_texts.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace volfs {
namespace {

constexpr uint32_t kOwner = 1000;
constexpr uint32_t kUser = 2000;
constexpr uint32_t kOther = 3000;
constexpr uint64_t kFile = 33;
constexpr size_t kMiB = size_t{1} << 20;

class HeldTextsTest : public ::testing::Test {
 protected:
  // Returns a different text for each number.
  static std::string TextOf(int number, size_t bytes = kMiB) {
    std::string text(bytes, 'x');
    text.replace(0, 8, std::to_string(10'000'000 + number));
    return text;
  }
  // Returns how many different texts of 1 MiB `user` can hold.
  int Fill(uint32_t user) {
    for (int i = 0; i < 1000; ++i) {
      auto text = texts_.Hold(user, kFile, TextOf(next_++));
      if (!text.ok()) return i;
      held_.push_back(text.value());
    }
    return 1000;
  }

  HeldTexts texts_{kOwner};
  std::vector<HeldTexts::Text> held_;
  int next_ = 0;
};

TEST_F(HeldTextsTest, WhatIsTheSameIsHeldOnce) {
  for (int i = 0; i < 3000; ++i) {
    held_.push_back(texts_.Hold(kUser, kFile, TextOf(1)).value());
  }
  EXPECT_EQ(texts_.bytes(), kMiB);
  EXPECT_EQ(held_.front().get(), held_.back().get());
}

TEST_F(HeldTextsTest, AChangeShowsInWhatIsOpenedAfterItOnly) {
  const auto before = texts_.Hold(kUser, kFile, TextOf(1)).value();
  const auto after = texts_.Hold(kUser, kFile, TextOf(2)).value();
  EXPECT_EQ(*before, TextOf(1));
  EXPECT_EQ(*after, TextOf(2));
}

TEST_F(HeldTextsTest, FilesAreToldApart) {
  const auto one = texts_.Hold(kUser, kFile, TextOf(1)).value();
  const auto other = texts_.Hold(kUser, kFile + 1, TextOf(2)).value();
  EXPECT_EQ(texts_.Hold(kUser, kFile, TextOf(1)).value().get(), one.get());
  EXPECT_EQ(texts_.Hold(kUser, kFile + 1, TextOf(2)).value().get(), other.get());
}

TEST_F(HeldTextsTest, OneUserHoldsSoMuchAndOthersAreNotDisturbed) {
  EXPECT_EQ(Fill(kUser), static_cast<int>(HeldTexts::kMaxOfUser / kMiB));
  EXPECT_EQ(Fill(kOther), static_cast<int>(HeldTexts::kMaxOfUser / kMiB));
  const auto refused = texts_.Hold(kUser, kFile, TextOf(next_));
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, Errc::kNoMemory);
}

TEST_F(HeldTextsTest, ManyUsersTogetherHoldSoMuchAndTheOwnerIsNotDisturbed) {
  int all = 0;
  for (uint32_t user = 5000; user < 5100; ++user) all += Fill(user);
  EXPECT_EQ(all, static_cast<int>(HeldTexts::kMaxOfAll / kMiB));
  EXPECT_TRUE(texts_.Hold(kOwner, kFile, TextOf(next_)).ok());
  EXPECT_TRUE(texts_.Hold(0, kFile, TextOf(next_ + 1)).ok());
}

TEST_F(HeldTextsTest, WhatIsClosedIsGivenBack) {
  (void)Fill(kUser);
  held_.clear();
  EXPECT_EQ(texts_.bytes(), 0U);
  EXPECT_EQ(Fill(kUser), static_cast<int>(HeldTexts::kMaxOfUser / kMiB));
}

// Otherwise the status of a large store could not be read.
TEST_F(HeldTextsTest, AUsersFirstTextMayBeOfAnySize) {
  const auto text = texts_.Hold(kUser, kFile, TextOf(1, HeldTexts::kMaxOfUser + 1));
  EXPECT_TRUE(text.ok());
  EXPECT_FALSE(texts_.Hold(kUser, kFile, TextOf(2)).ok());
}

TEST_F(HeldTextsTest, ATextOutlivesTheTable) {
  HeldTexts::Text text;
  {
    HeldTexts table(kOwner);
    text = table.Hold(kUser, kFile, TextOf(1)).value();
  }
  EXPECT_EQ(*text, TextOf(1));
}

TEST_F(HeldTextsTest, SmallOnesAreNotCounted) {
  for (int i = 0; i < 100'000; ++i) {
    ASSERT_TRUE(texts_.Hold(kUser, kFile, "available\n").ok());
  }
  EXPECT_EQ(texts_.bytes(), 0U);
}

}  // namespace
}  // namespace volfs
