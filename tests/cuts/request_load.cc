#include "tests/cuts/request_load.h"

#include <algorithm>
#include <chrono>
#include <random>
#include <stdexcept>

#include "tests/support/mount_file.h"

namespace volfs {
namespace {

constexpr size_t kMaxImages = 4;  // while it works
constexpr size_t kMaxKept = 2;    // snapshots, over a crash
constexpr uint64_t kEmptyBytes = 256 * 1024;
constexpr char kPrefix[] = "req-";

void SleepMs(int milliseconds) {
  std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
}

}  // namespace

RequestLoad::RequestLoad(std::string mnt, std::string volume, BlockLoad& source, uint64_t seed)
    : mnt_(std::move(mnt)), volume_(std::move(volume)), source_(source), seed_(seed) {}

void RequestLoad::Start() {
  stop_ = false;
  trusted_ = true;
  thread_ = std::thread([this, seed = seed_ * 1000 + ++starts_] { Work(seed); });
}

void RequestLoad::Stop() {
  stop_ = true;
  if (thread_.joinable()) thread_.join();
}

void RequestLoad::Work(uint64_t seed) {
  std::mt19937_64 random(seed);
  while (!stop_) {
    const uint64_t choice = random() % 8;
    const Kind kind = choice < 4 ? Kind::kSnapshot : choice < 7 ? Kind::kClone : Kind::kVolume;
    if (!MakeOne(kind)) return;
    while (images_.size() > kMaxImages) {
      auto victim = images_.begin();
      std::advance(victim, static_cast<ptrdiff_t>(random() % images_.size()));
      if (!DeleteOne(victim->first)) return;
    }
  }
}

// Returns false if the request failed, because the node or the daemon is gone.
bool RequestLoad::MakeOne(Kind kind) {
  const std::string name = kPrefix + std::to_string(next_++);
  Image& image = images_[name];
  image.kind = kind;
  image.wait = next_ % 2 == 0;
  image.asked = source_.Now();
  int error = 0;
  switch (kind) {
    case Kind::kSnapshot:
      error = Ask("snapshot", volume_ + " " + name);
      break;
    case Kind::kClone:
      error = Ask("clone", volume_ + " " + name);
      break;
    case Kind::kVolume:
      error = Ask("create", name + " " + std::to_string(kEmptyBytes));
      break;
  }
  if (error != 0 || !trusted_) return false;
  image.answered = source_.Now();
  ++acknowledged_;
  if (kind != Kind::kClone) return true;
  // The source is locked until the clone is whole or gone.
  return image.wait ? WaitUntilWhole(name) : DeleteOne(name);
}

bool RequestLoad::WaitUntilWhole(const std::string& name) const {
  while (!stop_) {
    const std::string status = StatusOf(name);
    if (status != "creating") return status == "available";
    SleepMs(2);
  }
  return false;
}

bool RequestLoad::DeleteOne(const std::string& name) {
  images_[name].deleting = true;
  if (!Delete(name, images_[name].kind) || !trusted_) return false;
  images_.erase(name);
  ++acknowledged_;
  return true;
}

bool RequestLoad::Delete(const std::string& name, Kind kind) {
  return Ask("delete", kind == Kind::kSnapshot ? volume_ + "@" + name : name) == 0;
}

int RequestLoad::Ask(const std::string& file, const std::string& line) const {
  return WriteText(mnt_ + "/control/" + file, line + "\n");
}

// Returns "" if there is no answer.
std::string RequestLoad::StatusOf(const std::string& name) const {
  try {
    std::string status = ReadText(mnt_ + "/control/volumes/" + name + "/status");
    if (status.ends_with('\n')) status.pop_back();
    return status;
  } catch (const std::runtime_error&) {
    return "";
  }
}

std::string RequestLoad::PathOf(const std::string& name, Kind kind) const {
  if (kind == Kind::kSnapshot) return mnt_ + "/snapshots/" + volume_ + "/" + name;
  return mnt_ + "/volumes/" + name;
}

std::string RequestLoad::CheckContents(const std::string& name, const Image& image,
                                       const std::vector<std::byte>& contents) {
  if (!image.contents.empty()) {
    return contents == image.contents ? "" : name + " is not what it was\n";
  }
  if (image.kind == Kind::kVolume) {
    const bool zero = contents.size() == kEmptyBytes &&
                      std::all_of(contents.begin(), contents.end(),
                                  [](std::byte byte) { return byte == std::byte{0}; });
    return zero ? "" : name + " is new and not empty\n";
  }
  const uint64_t answered = image.answered == 0 ? source_.Now() : image.answered;
  std::string complaints = source_.CheckSnapshotPoint(contents, image.asked, answered);
  if (!complaints.empty()) complaints += name + " is not one instant of its source\n";
  return complaints;
}

std::string RequestLoad::CheckOne(const std::string& name, Image& image) {
  const std::string path = PathOf(name, image.kind);
  if (!Exists(path)) {
    return image.answered == 0 || image.deleting ? "" : "lost: " + name + " is not there\n";
  }
  if (!trusted_ && (image.answered == 0 || image.deleting)) return "";
  std::vector<std::byte> contents = ReadBytes(path);
  std::string complaints = CheckContents(name, image, contents);
  if (image.kind == Kind::kClone && image.wait) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (StatusOf(name) == "creating" && std::chrono::steady_clock::now() < end) SleepMs(5);
    if (StatusOf(name) != "available") complaints += name + " is " + StatusOf(name) + "\n";
    if (ReadBytes(path) != contents) complaints += name + " has changed by being copied\n";
  }
  image.contents = std::move(contents);
  return complaints;
}

std::string RequestLoad::CheckNames() const {
  std::string complaints;
  for (const std::string& name : ListOf(mnt_ + "/volumes")) {
    if (!name.starts_with(kPrefix)) continue;
    const auto it = images_.find(name);
    if (it == images_.end() || it->second.kind == Kind::kSnapshot)
      complaints += name + " is back\n";
  }
  const std::string directory = mnt_ + "/snapshots/" + volume_;
  if (!Exists(directory)) return complaints;
  for (const std::string& name : ListOf(directory)) {
    if (!name.starts_with(kPrefix)) continue;
    const auto it = images_.find(name);
    if (it == images_.end() || it->second.kind != Kind::kSnapshot)
      complaints += name + " is back\n";
  }
  return complaints;
}

std::string RequestLoad::Check() {
  std::string complaints = CheckNames();
  for (auto& [name, image] : images_) complaints += CheckOne(name, image);
  return complaints + Forget();
}

std::string RequestLoad::Forget() {
  std::string complaints;
  size_t kept = 0;
  for (auto it = images_.begin(); it != images_.end();) {
    Image& image = it->second;
    if (!Exists(PathOf(it->first, image.kind))) {
      it = images_.erase(it);
      continue;
    }
    if (image.kind == Kind::kSnapshot && kept < kMaxKept && !image.contents.empty()) {
      ++kept;
      image.answered = source_.Now();  // from now on this image must not be lost
      image.deleting = false;
      ++it;
      continue;
    }
    if (Delete(it->first, image.kind)) {
      ++acknowledged_;
    } else {
      complaints += it->first + " cannot be deleted\n";
    }
    it = images_.erase(it);
  }
  return complaints;
}

}  // namespace volfs
