#include "tests/sim/workload.h"

#include <algorithm>
#include <array>

#include "blockstore/base/str_cat.h"
#include "control/request/executor.h"

namespace volfs::sim {
namespace {

constexpr uint64_t kBlock = 1024;
constexpr size_t kMaxVolumes = 7;
constexpr size_t kMaxSnapshots = 6;

// Returns whether the outcome of a request with this error is open until the next recovery.
bool LeavesOpen(const Error& error) { return !RefusedCleanly(error); }

std::string NodeName(int disk) { return std::string(1, static_cast<char>('a' + disk)); }

// Counts a client for as long as it uses something.
class User {
 public:
  explicit User(int& users) : users_(users) { ++users_; }
  ~User() { --users_; }
  User(const User&) = delete;
  User& operator=(const User&) = delete;

 private:
  int& users_;
};

// A request that must be the only one. Tells whether it was.
class Claim {
 public:
  explicit Claim(Claims& claims) : claims_(claims), alone_(claims.now == 0) {
    ++claims_.now;
    mine_ = ++claims_.ever;
  }
  ~Claim() { --claims_.now; }
  Claim(const Claim&) = delete;
  Claim& operator=(const Claim&) = delete;
  [[nodiscard]] bool alone() const { return alone_ && claims_.ever == mine_; }

 private:
  Claims& claims_;
  const bool alone_;
  uint64_t mine_ = 0;
};

}  // namespace

Workload::Workload(Machine& machine, Oracle& oracle, Store& store, unsigned disks, uint64_t seed,
                   std::vector<std::string>& violations)
    : machine_(machine),
      oracle_(oracle),
      store_(store),
      disks_(disks),
      random_(seed),
      compares_(seed % 8 == 0),
      focus_(random_.OneIn(3)),
      violations_(violations) {}

void Workload::Violation(std::string text) {
  machine_.trace().Line(StrCat("VIOLATION ", text));
  violations_.push_back(std::move(text));
}

void Workload::Note(const std::string& what) {
  ++operations_;
  machine_.trace().Note(operations_ << 32 | what.size());
  if (machine_.trace().printing()) {
    machine_.trace().Line(StrCat("op ", operations_, " tick ", oracle_.tick(), ' ', what));
  }
}

void Workload::Check(const Error& error, const std::string& what, bool excused) {
  if (machine_.trace().printing()) machine_.trace().Line(StrCat("   ", what, ": ", error.message));
  // The hold of a clone that could not be made stays while the clone's node is absent.
  const bool held = error.code == Errc::kBusy && disks_ != (1u << kDisks) - 1;
  const bool slow = error.code == Errc::kBusy && machine_.runtime().pauses() &&
                    error.message.find("in flight did not end") != std::string::npos;
  const bool lacks_room = error.code == Errc::kNoSpace && MayLackRoom(what);
  if (excused || held || slow || lacks_room || Troubled()) return;
  Violation(StrCat(what, " failed: ", error.message));
}

Result<std::string> Workload::Ask(RequestKind kind, const std::string& line) {
  Note(StrCat(SpecOf(kind).file, ' ', line));
  ASSIGN_OR_RETURN(const Request request, ParseRequest(kind, line));
  return ExecuteRequest(store_, request, Caller{});
}

bool Workload::Usable(const VolumeModel& model) const {
  return model.existence == Existence::kYes && model.decided && !model.exclusive &&
         model.new_name.empty() && Mounted(model.disk);
}

VolumeModel* Workload::PickVolume() {
  std::vector<VolumeModel*> usable;
  for (auto& model : oracle_.volumes()) {
    if (Usable(*model)) usable.push_back(model.get());
  }
  if (usable.empty()) return nullptr;
  return focus_ && !random_.OneIn(4) ? usable.back() : usable[random_.Below(usable.size())];
}

SnapshotModel* Workload::PickSnapshot() {
  std::vector<SnapshotModel*> usable;
  for (auto& model : oracle_.snapshots()) {
    if (model->existence != Existence::kYes || !model->decided || model->deleting) continue;
    const VolumeModel& volume = *oracle_.Volume(model->volume);
    if (!Mounted(volume.disk) || volume.exclusive || !volume.new_name.empty()) continue;
    usable.push_back(model.get());
  }
  return usable.empty() ? nullptr : usable[random_.Below(usable.size())];
}

std::string Workload::FreshName(const char* stem) {
  // Uses few names, so that they repeat.
  for (uint64_t n = random_.Below(6);; ++n) {
    std::string name = StrCat(stem, n);
    if (!oracle_.MayBeTaken(name)) return name;
  }
}

// Returns whether the source's node is absent: then the uncopied part of a clone cannot be read.
bool Workload::SourceAway(const VolumeModel& model) const {
  return !model.whole && !Mounted(model.source_disk);
}

// Returns whether a clone of the volume, or of this snapshot of it, is being copied.
bool Workload::IsCopied(uint32_t volume, uint32_t snapshot) const {
  return std::any_of(oracle_.volumes().begin(), oracle_.volumes().end(), [&](const auto& clone) {
    // While its node is absent, it is unknown whether the clone is whole.
    const bool copied = !clone->whole || !Mounted(clone->disk);
    return clone->source == volume && clone->source_snapshot == snapshot && copied &&
           clone->existence != Existence::kNo;
  });
}

// Returns whether the volume is being copied, as a source or as a clone.
bool Workload::SourceBusy(const VolumeModel& model) const {
  return !model.whole || IsCopied(model.key, 0);
}

void Workload::Answered(const Result<std::string>& reply, Existence& existence,
                        const std::string& what, bool excused) {
  oracle_.Tick();
  if (reply.ok()) {
    existence = Existence::kYes;
    return;
  }
  Check(reply.error(), what, excused);
  existence = LeavesOpen(reply.error()) ? Existence::kMaybe : Existence::kNo;
}

// --- volumes -------------------------------------------------------------------------------------

bool Workload::Create(int disk, uint64_t size_bytes) {
  if (!Mounted(disk)) return false;
  (void)Make(disk, size_bytes);
  return true;
}

VolumeModel& Workload::Make(int disk, uint64_t size_bytes) {
  VolumeModel& model = oracle_.AddVolume(FreshName("v"), disk);
  model.image = ImageModel(size_bytes);
  model.image.SizeIsDurable();
  Growth growth(*this, disk);
  const auto reply =
      Ask(RequestKind::kCreate, StrCat(model.name, ' ', size_bytes, " node=", NodeName(disk)));
  Answered(reply, model.existence, StrCat("create ", model.name), false);
  if (!reply.ok()) return model;
  growth.Succeeded(model.name);
  model.id = store_.Find(model.name)->id();
  model.decided = true;
  return model;
}

bool Workload::Write(VolumeModel& model, uint64_t offset_bytes, uint64_t length_bytes) {
  const User user(model.users);
  const std::shared_ptr<Volume> volume = store_.Find(model.id);
  if (const Status open = volume->opens().Add(Volume::Access::kWrite); !open.ok()) {
    Check(open.error(), StrCat("opening ", model.name), model.failed);
    return true;
  }
  const bool done = WriteOpen(*volume, model, offset_bytes, length_bytes);
  volume->opens().Remove(Volume::Access::kWrite);
  return done;
}

// Between this check for other writers and the call no other client may run.
bool Workload::WriteOpen(Volume& volume, VolumeModel& model, uint64_t offset_bytes,
                         uint64_t length_bytes) {
  ImageModel& image = model.image;
  const uint64_t end = offset_bytes + length_bytes;
  const bool grows = end > image.size();
  if (!image.Writable(offset_bytes, length_bytes) || (grows && model.growing)) return false;
  Note(StrCat("write ", model.name, ' ', offset_bytes, '+', length_bytes));
  std::vector<std::byte> data;
  for (uint64_t s = offset_bytes / kSectorBytes; s * kSectorBytes < end; ++s) {
    const auto content = MakeContent(model.key, s, oracle_.tick());
    const uint64_t from = std::max(offset_bytes, s * kSectorBytes) - s * kSectorBytes;
    const uint64_t to = std::min(end, (s + 1) * kSectorBytes) - s * kSectorBytes;
    data.insert(data.end(), content.begin() + from, content.begin() + to);
  }
  if (grows) model.growing = true;
  model.last_write = offset_bytes;
  image.BeginWrite(oracle_.pool(), offset_bytes, length_bytes, data, oracle_.Tick());
  const auto durability = DrawDurability();
  Status done = volume.WriteAt(data, offset_bytes);
  if (done.ok()) done = Conclude(volume, model, durability);
  image.EndWrite(offset_bytes, length_bytes, done.ok(), oracle_.Tick());
  if (grows) model.growing = false;
  if (done.ok()) Acknowledged(model, offset_bytes, length_bytes, durability);
  if (!done.ok())
    Check(done.error(), StrCat("writing ", model.name), model.failed || SourceAway(model));
  return true;
}

bool Workload::Discard(VolumeModel& model, uint64_t offset_bytes, uint64_t length_bytes) {
  ImageModel& image = model.image;
  const User user(model.users);
  const std::shared_ptr<Volume> volume = store_.Find(model.id);
  if (offset_bytes >= image.size() || model.growing) return false;
  length_bytes = std::min(length_bytes, image.size() - offset_bytes);
  if (!image.Writable(offset_bytes, length_bytes)) return false;
  Note(StrCat("discard ", model.name, ' ', offset_bytes, '+', length_bytes));
  image.BeginWrite(oracle_.pool(), offset_bytes, length_bytes, {}, oracle_.Tick());
  const auto durability = DrawDurability();
  Status done = volume->Discard({offset_bytes, length_bytes});
  if (done.ok()) done = Conclude(*volume, model, durability);
  image.EndWrite(offset_bytes, length_bytes, done.ok(), oracle_.Tick());
  if (done.ok()) Acknowledged(model, offset_bytes, length_bytes, durability);
  if (!done.ok())
    Check(done.error(), StrCat("discarding ", model.name), model.failed || SourceAway(model));
  return true;
}

bool Workload::Read(VolumeModel& model, uint64_t offset_bytes, uint64_t length_bytes) {
  const User user(model.users);
  Note(StrCat("read ", model.name, ' ', offset_bytes, '+', length_bytes));
  const std::shared_ptr<Volume> volume = store_.Find(model.id);
  const ImageModel::Mark mark = model.image.Now();
  std::vector<std::byte> bytes(length_bytes);
  const Result<size_t> got = volume->ReadAt(bytes, offset_bytes);
  oracle_.Tick();
  if (!got.ok()) {
    Check(got.error(), StrCat("reading ", model.name), SourceAway(model));
    return true;
  }
  const uint64_t due =
      mark.size > offset_bytes ? std::min(length_bytes, mark.size - offset_bytes) : 0;
  if (got.value() < due) {
    Violation(StrCat("a read of ", model.name, " at ", offset_bytes, " gives ", got.value(),
                     " bytes of ", due));
  }
  bytes.resize(got.value());
  if (auto wrong = model.image.CheckRead(oracle_.pool(), mark, offset_bytes, bytes)) {
    Violation(StrCat("volume ", model.name, " (#", model.key, "): ", *wrong));
  }
  return true;
}

// Reads the state after a failed write.
void Workload::Settle(VolumeModel& model) {
  if (model.users > 0 || model.exclusive) return;
  model.exclusive = true;
  const std::shared_ptr<Volume> volume = store_.Find(model.id);
  Note(StrCat("settle ", model.name));
  const auto bytes = ReadAll(*volume);
  model.exclusive = false;
  if (!bytes.ok()) {
    Check(bytes.error(), StrCat("reading ", model.name), SourceAway(model));
  } else if (auto wrong = model.image.Decide(oracle_.pool(), bytes.value(), false)) {
    Violation(StrCat("volume ", model.name, " (#", model.key, "): ", *wrong));
  }
}

bool Workload::Sync(VolumeModel& model) {
  const User user(model.users);
  Note(StrCat("fsync ", model.name));
  const std::shared_ptr<Volume> volume = store_.Find(model.id);
  const bool had_failed = model.failed;
  const ImageModel::Mark mark = model.image.Now();
  const Status done = volume->Sync();
  oracle_.Tick();
  if (done.ok()) {
    model.image.Synced(mark);
    if (had_failed) Violation(StrCat("fsync of ", model.name, " succeeds after one that failed"));
    return true;
  }
  Check(done.error(), StrCat("fsync of ", model.name), had_failed);
  if (done.error().code == Errc::kIo) {
    model.failed = true;
    if (volume->state().failure().empty() && !volume->node().catalog().fenced()) {
      Violation(StrCat("fsync of ", model.name, " failed, but the volume does not say so"));
    }
  }
  return true;
}

bool Workload::Resize(VolumeModel& model, uint64_t size_bytes) {
  if (model.growing || size_bytes < model.image.size()) return false;
  const User user(model.users);
  const User request(model.requests);
  model.growing = true;
  model.image.BeginGrow(size_bytes);
  const auto reply = Ask(RequestKind::kResize, StrCat(model.name, ' ', size_bytes));
  oracle_.Tick();
  model.growing = false;
  if (reply.ok()) {
    model.image.Grow(size_bytes);
    model.image.SizeIsDurable();
  } else {
    Check(reply.error(), StrCat("resize ", model.name), model.failed);
  }
  return true;
}

bool Workload::Rename(VolumeModel& model) {
  if (model.exclusive || model.requests > 0) return false;
  const std::string from = model.name;
  model.new_name = FreshName("r");
  // Other clients may write to it, but make no request by its name meanwhile.
  const User user(model.users);
  Note(StrCat("rename ", from, ' ', model.new_name));
  const Status done = store_.Rename(from, model.new_name);
  oracle_.Tick();
  if (!done.ok()) {
    Check(done.error(), StrCat("rename ", from), model.failed || model.users > 1);
    if (!LeavesOpen(done.error())) model.new_name.clear();
    return true;
  }
  model.name = std::exchange(model.new_name, "");
  return true;
}

// Records that the volume has become `image`, has not, or may have.
void Workload::Replaced(const Status& done, VolumeModel& model, ImageModel image) {
  oracle_.Tick();
  if (done.ok()) {
    model.image = std::move(image);
  } else if (LeavesOpen(done.error())) {
    model.or_image = std::move(image);
    return;  // it stays exclusive until the next recovery
  }
  model.exclusive = false;
}

bool Workload::Shrink(VolumeModel& model, uint64_t size_bytes) {
  if (model.users > 0 || !model.image.Settled() || size_bytes >= model.image.size()) return false;
  model.exclusive = true;
  Note(StrCat("shrink ", model.name, ' ', size_bytes));
  const std::shared_ptr<Volume> volume = store_.Find(model.id);
  const bool busy = !model.whole;
  const Status done = store_.Shrink(*volume, size_bytes);
  if (!done.ok()) Check(done.error(), StrCat("shrink ", model.name), model.failed || busy);
  Replaced(done, model, model.image.CutAt(oracle_.pool(), size_bytes));
  return true;
}

bool Workload::Revert(SnapshotModel& model) {
  VolumeModel& volume = *oracle_.Volume(model.volume);
  if (!Usable(volume) || volume.users > 0 || model.deleting) return false;
  volume.exclusive = true;
  const User user(model.users);
  const bool busy = SourceBusy(volume);
  const std::string name = StrCat(volume.name, '@', model.name);
  const auto reply = Ask(RequestKind::kRevert, name);
  const Status done = reply.ok() ? OkStatus() : Status(reply.error());
  if (!done.ok()) {
    Check(done.error(), StrCat("revert ", name), busy || SourceBusy(volume) || volume.failed);
  }
  Replaced(done, volume, model.image);
  return true;
}

bool Workload::Copy(VolumeModel& model, uint64_t piece_bytes) {
  const User user(model.users);
  const bool busy = SourceBusy(model);
  VolumeModel& target = Make(model.disk, 0);
  if (target.existence != Existence::kYes) return true;
  const User target_user(target.users);
  ImageModel instant;
  Note(StrCat("copy ", model.name, ' ', target.name));
  const ImageModel::Mark mark = model.image.Now();
  const Claim claim(model.claims);
  const auto pinned = store_.PinSnapshotPoint(store_.Find(model.id));
  oracle_.Tick();
  if (!pinned.ok()) {
    Check(pinned.error(), StrCat("copying ", model.name),
          busy || !claim.alone() || SourceBusy(model) || model.failed);
    return true;
  }
  model.image.Synced(mark);
  instant = model.image.SnapshotPoint(mark);
  const auto bytes = ReadAll(pinned.value()->image());
  if (!bytes.ok()) {
    Check(bytes.error(), StrCat("reading an instant of ", model.name), false);
    return true;
  }
  if (auto wrong = instant.Decide(oracle_.pool(), bytes.value(), true)) {
    Violation(StrCat("an instant of ", model.name, ": ", *wrong));
    return true;
  }
  const std::span<const std::byte> all(bytes.value());
  std::vector<uint64_t> later;  // holes to cp; or another program copies in another order
  const auto copy = [&](uint64_t at) {
    CopyPiece(pinned.value(), target, all.subspan(at, std::min(piece_bytes, all.size() - at)), at);
  };
  for (uint64_t at = 0; at < all.size(); at += piece_bytes) {
    if (random_.OneIn(3)) {
      later.push_back(at);
    } else {
      copy(at);
    }
  }
  if (random_.OneIn(2)) {
    (void)Sync(target);
    for (const uint64_t at : later) copy(at);
  }
  // The source changes before the snapshot point is released: a reader may still need the old
  // bytes.
  if (model.image.size() > 0 && random_.OneIn(2)) {
    (void)Write(model, 0, model.image.size());
    (void)Sync(model);
  }
  return true;
}

void Workload::CopyPiece(const std::shared_ptr<OpenSnapshot>& source, VolumeModel& target,
                         std::span<const std::byte> bytes, uint64_t offset_bytes) {
  const uint64_t end = offset_bytes + bytes.size();
  const bool grows = end > target.image.size();
  if (target.growing || !target.image.Writable(offset_bytes, bytes.size())) return;
  target.growing = grows;
  const Claim claim(target.claims);  // the first piece takes its lock as a source
  target.image.BeginWrite(oracle_.pool(), offset_bytes, bytes.size(), bytes, oracle_.Tick());
  const std::shared_ptr<Volume> volume = store_.Find(target.id);
  Status done = store_.Share(source, volume, {offset_bytes, bytes.size()});
  if (!done.ok() && done.error().code == Errc::kWrongRegion) {
    done = volume->WriteAt(bytes, offset_bytes);
  }
  const auto durability = DrawDurability();
  if (done.ok()) done = Conclude(*volume, target, durability);
  target.image.EndWrite(offset_bytes, bytes.size(), done.ok(), oracle_.Tick());
  if (grows) target.growing = false;
  if (done.ok()) Acknowledged(target, offset_bytes, bytes.size(), durability);
  if (!done.ok()) Check(done.error(), StrCat("copying to ", target.name), target.failed);
}

bool Workload::Delete(VolumeModel& model, bool cancel) {
  if (model.users > 0 || (cancel && model.whole)) return false;
  model.exclusive = true;
  model.existence = Existence::kMaybe;
  const auto reply = Ask(cancel ? RequestKind::kCancel : RequestKind::kDelete, model.name);
  oracle_.Tick();
  if (reply.ok()) {
    model.existence = Existence::kNo;
  } else {
    const bool finished = cancel && reply.error().code == Errc::kInvalid;
    const bool busy = reply.error().code == Errc::kBusy && SourceBusy(model);
    Check(reply.error(), StrCat("delete ", model.name), finished || busy || model.failed);
    // An open outcome may not be used before the next recovery.
    if (LeavesOpen(reply.error())) return true;
    model.existence = Existence::kYes;
  }
  model.exclusive = false;
  return true;
}

// --- snapshots and clones
// --------------------------------------------------------------------------

bool Workload::TakeSnapshot(VolumeModel& model) {
  const std::string name = StrCat("s", random_.Below(4));
  for (const auto& other : oracle_.snapshots()) {
    if (other->volume == model.key && other->name == name && other->existence != Existence::kNo) {
      return false;
    }
  }
  const User user(model.users);
  const User request(model.requests);
  SnapshotModel& snapshot = oracle_.AddSnapshot(model.key, name);
  const ImageModel::Mark mark = model.image.Now();
  snapshot.image = model.image.SnapshotPoint(mark);
  oracle_.Tick();
  const bool busy = SourceBusy(model);
  const Claim claim(model.claims);
  Growth growth(*this, model.disk);
  const auto reply = Ask(RequestKind::kSnapshot, StrCat(model.name, ' ', name));
  Answered(reply, snapshot.existence, StrCat("snapshot ", model.name),
           busy || !claim.alone() || SourceBusy(model) || model.failed);
  snapshot.image = model.image.SnapshotPoint(mark);
  if (reply.ok()) {
    growth.Succeeded(StrCat(model.name, '@', name));
    model.image.Synced(mark);
    ReadSnapshot(snapshot);
  }
  return true;
}

bool Workload::ReadSnapshot(SnapshotModel& model) {
  const User user(model.users);
  const VolumeModel& volume = *oracle_.Volume(model.volume);
  const std::string name = StrCat(volume.name, '@', model.name);
  Note(StrCat("read ", name));
  for (const auto& info : store_.Snapshots(volume.id)) {
    if (info.name != model.name || info.volume_id != volume.id) continue;
    const auto open = store_.OpenSnapshotImage(info.id);
    const auto bytes = open.ok() ? ReadAll(open.value()->image()) : open.error();
    if (!bytes.ok()) {
      Check(bytes.error(), StrCat("reading ", name), false);
    } else if (auto wrong = model.image.Decide(oracle_.pool(), bytes.value(), true)) {
      Violation(StrCat("snapshot ", name, ": ", *wrong));
    } else {
      model.decided = true;
    }
    return true;
  }
  if (!Troubled()) Violation(StrCat("snapshot ", name, " is not listed"));
  return true;
}

bool Workload::DeleteSnapshot(SnapshotModel& model) {
  if (model.users > 0 || model.deleting) return false;
  VolumeModel& volume = *oracle_.Volume(model.volume);
  const User user(volume.users);
  const User request(volume.requests);
  model.deleting = true;
  model.existence = Existence::kMaybe;
  const std::string name = StrCat(volume.name, '@', model.name);
  const auto reply = Ask(RequestKind::kDelete, name);
  oracle_.Tick();
  if (reply.ok()) {
    model.existence = Existence::kNo;
    return true;
  }
  const bool needed = reply.error().code == Errc::kBusy && IsCopied(volume.key, model.key);
  Check(reply.error(), StrCat("delete ", name), needed);
  if (LeavesOpen(reply.error())) return true;
  model.existence = Existence::kYes;
  model.deleting = false;
  return true;
}

bool Workload::Clone(VolumeModel& model, Place place, uint64_t size_bytes) {
  const int disk = place == Place::kOther ? 1 - model.disk : model.disk;
  if (!Mounted(disk)) return false;
  const User user(model.users);
  const User request(model.requests);
  VolumeModel& clone = oracle_.AddVolume(FreshName("c"), disk);
  clone.source = model.key;
  clone.source_disk = place == Place::kLinked ? -1 : model.disk;
  clone.whole = place == Place::kLinked;
  const ImageModel::Mark mark = model.image.Now();
  clone.image = model.image.SnapshotPoint(mark);
  clone.image.ExtendTo(size_bytes);
  oracle_.Tick();
  // Only one copy of a source runs at a time. Is another's running all the while?
  const VolumeModel* rival = nullptr;
  for (const auto& other : oracle_.volumes()) {
    const bool copies = other.get() != &clone && other->source == model.key &&
                        other->source_snapshot == 0 && !other->whole;
    if (copies && other->existence == Existence::kYes) rival = other.get();
  }
  const bool busy = SourceBusy(model);
  const Claim claim(model.claims);
  if (place == Place::kOther) machine_.CloneBegins(disk);
  std::string line = StrCat(model.name, ' ', clone.name);
  if (size_bytes > model.image.size()) line += StrCat(" size=", size_bytes);
  line += PlaceKeys(place, disk);
  const auto reply = Ask(RequestKind::kClone, line);
  // The source may have grown since a size was chosen.
  const bool too_small =
      !reply.ok() && reply.error().code == Errc::kRange && size_bytes < model.image.max_size();
  Answered(reply, clone.existence, StrCat("clone ", line),
           busy || !claim.alone() || SourceBusy(model) || model.failed || too_small);
  clone.image = model.image.SnapshotPoint(mark);
  clone.image.ExtendTo(size_bytes);
  if (!reply.ok()) return true;
  model.image.Synced(mark);
  clone.id = store_.Find(clone.name)->id();
  if (rival != nullptr && rival->existence == Existence::kYes) {
    const auto info = store_.Info(rival->name);
    if (info.ok() && info.value().status == "creating") {
      Violation(StrCat("two clones of ", model.name, " are copied at once"));
    }
  }
  DecideClone(clone);
  return true;
}

std::string Workload::PlaceKeys(Place place, int disk) {
  if (place == Place::kLinked) return " linked=1";
  return StrCat(" node=", NodeName(disk), random_.OneIn(4) ? " verify=1" : "");
}

void Workload::DecideClone(VolumeModel& clone) {
  const auto bytes = ReadAll(*store_.Find(clone.id));
  if (!bytes.ok()) {
    Check(bytes.error(), StrCat("reading ", clone.name), false);
    return;
  }
  if (auto wrong = clone.image.Decide(oracle_.pool(), bytes.value(), true)) {
    Violation(StrCat("clone ", clone.name, " (#", clone.key, "): ", *wrong));
    return;
  }
  clone.decided = true;
}

bool Workload::Restore(SnapshotModel& model, Place place) {
  VolumeModel& volume = *oracle_.Volume(model.volume);
  const int disk = place == Place::kOther ? 1 - volume.disk : volume.disk;
  if (!Mounted(disk)) return false;
  const User user(model.users);
  const User request(volume.requests);
  const std::string source = StrCat(volume.name, '@', model.name);
  const bool was_copied = IsCopied(volume.key, model.key);
  VolumeModel& clone = oracle_.AddVolume(FreshName("c"), disk);
  clone.source = volume.key;
  clone.source_snapshot = model.key;
  clone.source_disk = place == Place::kLinked ? -1 : volume.disk;
  clone.whole = place == Place::kLinked;
  clone.image = model.image;
  oracle_.Tick();
  const Claim claim(model.claims);
  const auto reply =
      Ask(RequestKind::kRestore, StrCat(source, ' ', clone.name, PlaceKeys(place, disk)));
  Answered(reply, clone.existence, StrCat("restore ", source), was_copied || !claim.alone());
  if (!reply.ok()) return true;
  clone.id = store_.Find(clone.name)->id();
  DecideClone(clone);
  return true;
}

bool Workload::Look(VolumeModel& model) {
  const User user(model.users);
  const User request(model.requests);
  Note(StrCat("look ", model.name));
  const bool was_whole = model.whole;
  const uint64_t was_copied = model.copied;
  const auto info = store_.Info(model.name);
  if (!info.ok()) {
    Check(info.error(), StrCat("status of ", model.name), false);
    return true;
  }
  const CloneProgress& progress = info.value().progress;
  if (!progress.creating) {
    model.whole = true;
    return true;
  }
  if (was_whole) Violation(StrCat(model.name, " was whole and is creating"));
  if (progress.copied_bytes < was_copied) {
    Violation(StrCat(model.name, ": progress went back from ", was_copied, " to ",
                     progress.copied_bytes));
  }
  if (progress.percent() >= 100) Violation(StrCat(model.name, ": 100 per cent, but creating"));
  model.copied = std::max(model.copied, progress.copied_bytes);
  return true;
}

void Workload::Wait(Nanoseconds duration) {
  Note("wait");
  SleepFor(duration);
}

bool Workload::WaitUntilWhole() {
  store_.hydrator().throttle().SetRate(Throttle::kUnlimited);
  for (int seconds = 0; seconds < 120; ++seconds) {
    bool whole = true;
    for (auto& model : oracle_.volumes()) {
      if (model->existence != Existence::kYes || !Mounted(model->disk) || model->whole) continue;
      if (!Mounted(model->source_disk)) continue;
      (void)Look(*model);
      whole = whole && model->whole;
    }
    if (whole || Troubled()) return true;
    SleepFor(std::chrono::seconds(1));
  }
  return false;
}

// --- random clients
// --------------------------------------------------------------------------------

void Workload::RunClients(int clients, uint64_t operations) {
  const uint64_t until = operations_ + operations;
  std::vector<Thread> threads;
  for (int i = 0; i < clients; ++i) {
    threads.emplace_back("client", [this, until, seed = random_.Next()] {
      Random random(seed);
      for (uint64_t tries = 0; operations_ < until && tries < 4000; ++tries) {
        if (machine_.power_off() && !machine_.disk(0).powered() && !machine_.disk(1).powered()) {
          return;
        }
        if (violations_.size() > 3) return;
        DoRandom(random);
        machine_.runtime().SwitchReference();
      }
    });
  }
  for (Thread& thread : threads) thread.Join();
}

void Workload::DoRandom(Random& random) {
  VolumeModel* const volume = PickVolume();
  size_t alive = 0;
  for (const auto& model : oracle_.volumes()) alive += model->existence != Existence::kNo ? 1 : 0;
  if (volume == nullptr || alive < 2) {
    (void)Create(static_cast<int>(random.Below(kDisks)), random.Between(1, 30 * kBlock));
    return;
  }
  if (!volume->image.Settled()) Settle(*volume);
  const uint64_t size = volume->image.size();
  uint64_t offset = size == 0 ? 0 : random.Below(size);
  uint64_t length = random.Between(1, random.OneIn(4) ? 8 * kBlock : 2 * kBlock);
  if (focus_) offset %= 4 * kBlock;
  if (random.OneIn(2)) {  // whole blocks
    offset = offset / kBlock * kBlock;
    length = (length + kBlock - 1) / kBlock * kBlock;
  }
  if (random.OneIn(4) && volume->last_write < size) {
    // Writes the other sector of a block that was just written, and then syncs: a block may have
    // two writers.
    const bool wrote = Write(*volume, (volume->last_write / kSectorBytes ^ 1) * kSectorBytes,
                             random.Between(1, kSectorBytes));
    if (wrote && random.OneIn(2)) (void)Sync(*volume);
    return;
  }
  const uint64_t inside = size > offset ? std::min(length, size - offset) : 0;
  SnapshotModel* const snapshot = random.OneIn(2) ? PickSnapshot() : nullptr;
  const uint64_t snapshots = static_cast<uint64_t>(
      std::count_if(oracle_.snapshots().begin(), oracle_.snapshots().end(),
                    [](const auto& s) { return s->existence != Existence::kNo; }));
  const auto place = static_cast<Place>(random.OneIn(8) ? 2 : random.Below(2));
  const uint64_t dice = random.Below(100);
  if (dice < 38) {
    if (inside > 0) (void)Write(*volume, offset, inside);
  } else if (dice < 42) {
    if (size + length < 60 * kBlock) (void)Write(*volume, offset, length);  // may grow it
  } else if (dice < 54) {
    (void)Sync(*volume);
  } else if (dice < 62) {
    (void)Read(*volume, offset, length);
  } else if (dice < 69) {
    if (inside > 0) (void)Discard(*volume, offset, inside);
  } else if (dice < 75) {
    if (snapshots < kMaxSnapshots) (void)TakeSnapshot(*volume);
  } else if (dice < 82) {
    const uint64_t wanted = random.OneIn(3) ? size + random.Below(4 * kBlock) : size;
    if (alive < kMaxVolumes) (void)Clone(*volume, place, wanted);
  } else if (dice < 85) {
    if (snapshot != nullptr) (void)ReadSnapshot(*snapshot);
    if (snapshot != nullptr && compares_) (void)Diff(*snapshot);
  } else if (dice < 87) {
    if (snapshot != nullptr && alive < kMaxVolumes) (void)Restore(*snapshot, place);
  } else if (dice < 90) {
    if (snapshot != nullptr) (void)DeleteSnapshot(*snapshot);
  } else if (dice < 93) {
    if (alive > 2) (void)Delete(*volume, !volume->whole && random.OneIn(2));
  } else if (dice < 94) {
    (void)Rename(*volume);
  } else if (dice < 96) {
    const uint64_t what = random.Below(4);
    if (what == 0 && snapshot != nullptr) {
      (void)Revert(*snapshot);
    } else if (what == 1) {
      (void)Shrink(*volume, random.Below(size + 1));
    } else if (what == 2) {  // bytes that were cut off must not come back
      if (Shrink(*volume, random.Below(size + 1))) (void)Resize(*volume, size);
    } else if (size < 40 * kBlock)
      (void)Resize(*volume, size + random.Below(6 * kBlock));
  } else if (dice < 97) {
    if (alive < kMaxVolumes) (void)Copy(*volume, kBlock * random.Between(1, 10));
  } else if (dice < 98) {
    (void)Look(*volume);
  } else {
    Wait(std::chrono::milliseconds(random.Below(2500)));
  }
}

}  // namespace volfs::sim
