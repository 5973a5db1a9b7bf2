#include "tests/cuts/store_load.h"

#include <sys/stat.h>

#include <chrono>
#include <cstring>
#include <stdexcept>
#include <thread>

#include "tests/cuts/backing_disk.h"
#include "tests/support/mount_command.h"
#include "tests/support/mount_file.h"

namespace volfs {
namespace {

constexpr uint64_t kDbBlocks = 1024;
constexpr uint64_t kSnapBlocks = 256;
constexpr uint64_t kAwayBlocks = 512;
constexpr uint64_t kFioBytes = uint64_t{16} << 20;
constexpr char kDiskBytes[] = "48M";
constexpr char kCopyRate[] = "4M";  // a clone of db is copied for some rounds

BlockLoad::Options Writers(const std::string& path, uint64_t volume, uint64_t blocks, int writers,
                           uint64_t seed) {
  return {.path = path,
          .volume = volume,
          .blocks = blocks,
          .writers = writers,
          .sync_every = 5,
          .some_synchronous = true,
          .pause_us = 200,  // so that no load takes all of the machine
          .seed = seed};
}

void SleepMs(int milliseconds) {
  std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
}

}  // namespace

StoreLoad::StoreLoad(std::string mnt, std::string directory, Loops loops, uint64_t seed)
    : mnt_(std::move(mnt)),
      folder_(std::move(directory)),
      loops_(std::move(loops)),
      random_(seed),
      db_(Writers(Volume("db.img"), 1, kDbBlocks, 2, random_())),
      snap_(Writers(Volume("snap.img"), 2, kSnapBlocks, 2, random_())),
      away_(Writers(Volume("away.img"), 3, kAwayBlocks, 1, random_())),
      requests_(mnt_, "snap.img", snap_, random_() % 1'000'000),
      files_(folder_ + "/disk", random_() % 1'000'000) {}

std::string StoreLoad::Volume(const std::string& name) const { return mnt_ + "/volumes/" + name; }

std::string StoreLoad::Field(const std::string& volume, const std::string& field) const {
  std::string text = ReadText(mnt_ + "/control/volumes/" + volume + "/" + field);
  if (text.ends_with('\n')) text.pop_back();
  return text;
}

void StoreLoad::MustAsk(const std::string& file, const std::string& line) const {
  const int error = WriteText(mnt_ + "/control/" + file, line + "\n");
  if (error != 0) throw std::runtime_error(file + " " + line + ": " + std::strerror(error));
}

// --- life ----------------------------------------------------------------------------------------

void StoreLoad::Prepare() {
  MustAsk("limits/copy_rate", kCopyRate);
  // Either node by chance. The clone of db goes to the node without db.
  db_node_ = random_() % 2 == 0 ? "a" : "b";
  snap_node_ = random_() % 2 == 0 ? "a" : "b";
  const std::string other = db_node_ == "a" ? "b" : "a";
  const auto size = [](uint64_t blocks) { return std::to_string(blocks * kPatternBlockBytes); };
  MustAsk("create", "db.img " + size(kDbBlocks) + " node=" + db_node_);
  MustAsk("create", "snap.img " + size(kSnapBlocks) + " node=" + snap_node_);
  MustAsk("create", "away.img " + size(kAwayBlocks) + " node=" + other);
  MustAsk("create", std::string("disk.img ") + kDiskBytes + " node=" + other);
  for (BlockLoad* const load : {&db_, &snap_, &away_}) {
    const int error = load->Fill();
    if (error != 0) throw std::runtime_error(std::string("filling: ") + std::strerror(error));
  }
  MustRun("mkfs.ext4 -q -F -E lazy_itable_init=0,lazy_journal_init=0 " + Volume("disk.img"));
  const TestFile disk(Volume("disk.img"));
  if (!disk.ok() || disk.Sync() != 0) throw std::runtime_error("disk.img cannot be synced");
  ::mkdir((folder_ + "/disk").c_str(), 0700);
}

void StoreLoad::Start(const Choice& choice) {
  choice_ = choice;
  if (copy_ == nullptr) MakeCopy();
  if (choice_.files) MountDisk();
  if (choice_.fio) MakeFioImage();
  db_.Start();
  copy_->Start();
  if (choice_.requests) {
    snap_.Start();
    requests_.Start();
  }
  if (choice_.away) away_.Start();
  if (choice_.files) files_.Start();
  if (choice_.fio) fio_->Start();
}

void StoreLoad::DistrustAnswers() {
  // fio cannot be told to distrust answers, so it ends before.
  if (choice_.fio) of_others_ += fio_->Stop();
  for (BlockLoad* const load : {&db_, &snap_, &away_, copy_.get()}) load->DistrustSyncs();
  requests_.DistrustAnswers();
  files_.DistrustSyncs();
}

void StoreLoad::ExpectNoSync(bool on_a, bool on_b) {
  if (db_node_ == "a" ? on_a : on_b) db_.ExpectNoSync();
  if (snap_node_ == "a" ? on_a : on_b) snap_.ExpectNoSync();
  if (db_node_ == "a" ? !on_b : !on_a) return;
  away_.ExpectNoSync();
  copy_->ExpectNoSync();
}

void StoreLoad::Stop(const std::string& where, Tally& tally) {
  db_.Stop();
  if (copy_ != nullptr) copy_->Stop();
  requests_.Stop();
  snap_.Stop();
  away_.Stop();
  files_.Stop();
  if (choice_.fio && fio_ != nullptr) of_others_ += fio_->Stop();
  if (!device_.empty()) UnmountDisk();
  for (const BlockLoad* const load : {&db_, &snap_, &away_, copy_.get()}) {
    if (load == nullptr || load->false_syncs() == 0) continue;
    tally.Add(where, "an fsync that began after the disk had died returned 0");
  }
  const uint64_t so_far = AcknowledgedSoFar();
  tally.Acknowledge(so_far - counted_);
  counted_ = so_far;
}

uint64_t StoreLoad::AcknowledgedSoFar() const {
  return db_.synced_writes() + snap_.synced_writes() + away_.synced_writes() +
         (copy_ == nullptr ? 0 : copy_->synced_writes()) + of_others_ + requests_.acknowledged() +
         files_.acknowledged();
}

// --- the clone that is written to while it is copied ---------------------------------------------

void StoreLoad::MakeCopy() {
  MustAsk("clone", "db.img copy.img");
  ++of_others_;
  BlockLoad::Options options = Writers(Volume("copy.img"), 1, kDbBlocks, 2, random_());
  options.begins_as = &db_;
  copy_ = std::make_unique<BlockLoad>(options);
  copy_was_whole_ = false;
}

void StoreLoad::DropCopy() {
  MustAsk("delete", "copy.img");
  ++of_others_;
  of_others_ += copy_->synced_writes();
  copy_.reset();
}

std::string StoreLoad::AwaitCopy() {
  if (copy_ == nullptr) return "";
  MustAsk("limits/copy_rate", "max");
  for (int i = 0; i < 2000; ++i) {
    if (Field("copy.img", "status") == "available") return Field("copy.img", "node");
    SleepMs(10);
  }
  throw std::runtime_error("copy.img is not whole in the end: " + Field("copy.img", "status") +
                           " " + Field("copy.img", "error"));
}

void StoreLoad::CheckCopy(const std::string& where, Tally& tally) {
  tally.Add(where + ", the clone", copy_->CheckAfterCrash(ReadBytes(Volume("copy.img"))));
}

// --- further loads ------------------------------------------------------------------------------

void StoreLoad::MountDisk() {
  device_ = loops_.attach(Volume("disk.img"));
  MustRun("mount -t ext4 " + device_ + " " + Quoted(folder_ + "/disk"));
}

void StoreLoad::UnmountDisk() {
  UnmountSoon(folder_ + "/disk");
  loops_.detach(device_);
  device_.clear();
}

// Each run gets a new image, because fio would take an older run's blocks for its own.
void StoreLoad::MakeFioImage() {
  const std::string old = "fio" + std::to_string(fio_number_) + ".img";
  if (Exists(Volume(old))) MustAsk("delete", old);
  const std::string name = "fio" + std::to_string(++fio_number_) + ".img";
  const std::string node = random_() % 2 == 0 ? "a" : "b";
  MustAsk("create", name + " " + std::to_string(kFioBytes) + " node=" + node);
  // Over a snapshot each write needs the map; without one, none does.
  if (random_() % 2 == 0) MustAsk("snapshot", name + " before");
  fio_ = std::make_unique<FioLoad>(Volume(name), folder_, kFioBytes, random_() % 1'000'000);
}

// --- afterwards ----------------------------------------------------------------------------------

void StoreLoad::Check(const std::string& where, Tally& tally) {
  tally.Add(where + ", requests", requests_.Check());
  CheckImages(where, tally);
  SyncImages(where, tally);
  if (choice_.files) CheckFiles(where, tally);
  if (choice_.fio) tally.Add(where, fio_->Check());
  if (copy_was_whole_ && random_() % 2 == 0) DropCopy();
}

void StoreLoad::CheckImages(const std::string& where, Tally& tally) {
  tally.Add(where + ", db", db_.CheckAfterCrash(ReadBytes(Volume("db.img"))));
  tally.Add(where + ", snap", snap_.CheckAfterCrash(ReadBytes(Volume("snap.img"))));
  tally.Add(where + ", away", away_.CheckAfterCrash(ReadBytes(Volume("away.img"))));
  if (copy_ == nullptr) return;
  CheckCopy(where, tally);
  const std::string status = Field("copy.img", "status");
  if (copy_was_whole_ && status != "available") {
    tally.Add(where + ", the clone", "lost: it was whole and is " + status);
  }
  if (status != "available" && status != "creating") {
    tally.Add(where + ", the clone", "it is " + status + ": " + Field("copy.img", "error"));
  }
  copy_was_whole_ = status == "available";
}

void StoreLoad::SyncImages(const std::string& where, Tally& tally) {
  for (const BlockLoad* const load : {&db_, &snap_, &away_, copy_.get()}) {
    const int error = load == nullptr ? 0 : load->SyncImage();
    if (error == 0) continue;
    tally.Add(where, std::string("fsync after the mount: ") + std::strerror(error));
  }
}

// Mounting replays the journal. After that fsck must find nothing.
void StoreLoad::CheckFiles(const std::string& where, Tally& tally) {
  MountDisk();
  const std::string complaints = files_.Check();
  UnmountDisk();
  tally.Add(where + ", ext4 in the image", complaints);
  const CommandResult fsck = RunShell("e2fsck -fn " + Volume("disk.img"));
  tally.AddFsck(where + ", ext4 in the image", fsck.ok() ? "" : fsck.output);
}

}  // namespace volfs
