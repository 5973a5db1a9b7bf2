#include "tests/support/file_load.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <random>

#include "tests/support/mount_file.h"

namespace volfs {
namespace {

constexpr size_t kMaxFiles = 60;
constexpr uint64_t kMaxBytes = uint64_t{96} * 1024;

// Syncs a directory, which makes the names of its files durable.
bool SyncDirectory(const std::string& directory) {
  const TestFile file(directory, O_RDONLY | O_DIRECTORY);
  return file.ok() && file.Sync() == 0;
}

}  // namespace

void FileLoad::Start() {
  stop_ = false;
  trusted_ = true;
  thread_ = std::thread([this] { Work(); });
}

void FileLoad::Stop() {
  stop_ = true;
  if (thread_.joinable()) thread_.join();
}

void FileLoad::Work() {
  while (!stop_ && MakeOne()) {
    if (files_.size() > kMaxFiles && !DeleteOne()) return;
  }
}

std::vector<std::byte> FileLoad::ContentsOf(uint64_t number) const {
  std::mt19937_64 random(seed_ * 1'000'003 + number);
  std::vector<std::byte> bytes(1 + random() % kMaxBytes);
  for (size_t at = 0; at < bytes.size(); at += sizeof(uint64_t)) {
    const uint64_t word = random();
    std::memcpy(bytes.data() + at, &word, std::min(sizeof word, bytes.size() - at));
  }
  return bytes;
}

std::string FileLoad::PathOf(uint64_t number) const {
  return folder_ + "/file" + std::to_string(number);
}

bool FileLoad::MakeOne() {
  const uint64_t number = next_++;
  files_[number] = State::kDoubtful;
  const TestFile file(PathOf(number), O_RDWR | O_CREAT | O_EXCL);
  if (!file.ok() || file.WriteAt(0, ContentsOf(number)) != 0 || file.Sync() != 0) return false;
  if (!SyncDirectory(folder_) || !trusted_) return false;
  files_[number] = State::kSynced;
  ++acknowledged_;
  return true;
}

bool FileLoad::DeleteOne() {
  const uint64_t number = files_.begin()->first;
  files_[number] = State::kDoubtful;
  if (::unlink(PathOf(number).c_str()) != 0 || !SyncDirectory(folder_) || !trusted_) return false;
  files_.erase(number);
  ++acknowledged_;
  return true;
}

std::string FileLoad::CheckOne(uint64_t number, State state) const {
  const std::string path = PathOf(number);
  if (!Exists(path)) {
    return state == State::kSynced ? "lost: file " + std::to_string(number) + "\n" : "";
  }
  // A file that was being made may hold any bytes of its own: a filesystem promises no more.
  if (state == State::kDoubtful || ReadBytes(path) == ContentsOf(number)) return "";
  return "lost: contents of file " + std::to_string(number) + "\n";
}

std::string FileLoad::Check() {
  std::string complaints;
  for (const std::string& name : ListOf(folder_)) {
    if (!name.starts_with("file")) continue;
    if (!files_.contains(std::stoull(name.substr(4)))) complaints += name + " was deleted\n";
  }
  for (auto it = files_.begin(); it != files_.end();) {
    complaints += CheckOne(it->first, it->second);
    if (it->second == State::kSynced) {
      ++it;
      continue;
    }
    ::unlink(PathOf(it->first).c_str());
    it = files_.erase(it);
  }
  if (!SyncDirectory(folder_)) complaints += "the directory cannot be synced\n";
  return complaints;
}

}  // namespace volfs
