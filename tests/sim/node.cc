#include "tests/sim/node.h"

#include <cstring>

#include "blockstore/base/str_cat.h"
#include "tests/sim/vfs.h"

namespace volfs::sim {
namespace {

constexpr uint64_t kDiskBytes = uint64_t{1} << 30;

Error Failed(Machine::Verdict verdict, std::string_view call, const std::string& name) {
  const bool no_room = verdict != Machine::Verdict::kIo;
  return Error{
      no_room ? Errc::kNoSpace : Errc::kIo,
      StrCat(call, " ", name, no_room ? ": no space (simulated)" : ": failed (simulated)")};
}

uint64_t AllocatedBytesOf(const DiskFile& file) {
  uint64_t sectors = 0;
  for (const bool there : file.now().allocated) sectors += there ? 1 : 0;
  return sectors * kSectorBytes;
}

class SimFile final : public NodeFile {
 public:
  SimFile(Machine& machine, int disk, std::string name, std::shared_ptr<DiskFile> file)
      : machine_(machine), disk_(disk), name_(std::move(name)), file_(std::move(file)) {}

  Status ReadAt(std::span<std::byte> out, uint64_t offset_bytes) override {
    RETURN_IF_ERROR(Before(Call::kRead, offset_bytes, out.size()));
    const auto& bytes = file_->now().bytes;
    const uint64_t there = offset_bytes >= bytes.size() ? 0 : bytes.size() - offset_bytes;
    const uint64_t got = std::min<uint64_t>(out.size(), there);
    if (got > 0) std::memcpy(out.data(), bytes.data() + offset_bytes, got);
    std::memset(out.data() + got, 0, out.size() - got);
    return OkStatus();
  }

  Status WriteAt(std::span<const std::byte> data, uint64_t offset_bytes) override {
    const auto verdict = machine_.BeforeCall(disk_, Call::kWrite, name_, offset_bytes, data.size());
    if (verdict == Machine::Verdict::kHalf) {
      file_->Write(disk().NextSeq(), offset_bytes, data.first(HalfOf(offset_bytes, data.size())));
    }
    if (verdict != Machine::Verdict::kGoOn) return Failed(verdict, "pwrite", name_);
    if (!disk().Fits(*file_, offset_bytes, data.size())) {
      return Failed(Machine::Verdict::kNoSpace, "pwrite", name_);
    }
    file_->Write(disk().NextSeq(), offset_bytes, data);
    return OkStatus();
  }

  // An error counts as the error of a sync. Success promises less than a sync's.
  Status WaitWritten(const ByteRange& range) override {
    const auto verdict =
        machine_.BeforeCall(disk_, Call::kSync, name_, range.offset_bytes, range.length_bytes);
    if (verdict == Machine::Verdict::kGoOn) return OkStatus();
    if (disk().powered()) file_->LosePending(machine_.random());
    return Failed(Machine::Verdict::kIo, "sync_file_range", name_);
  }

  void DropWritten(const ByteRange& range) override { DropCache(range); }

  // Files of one disk can share: this file gets the bytes of the source file there.
  Result<bool> ShareFrom(NodeFile& source, const ByteRange& range) override {
    const auto* const from = dynamic_cast<const SimFile*>(&source);
    if (from == nullptr || from->disk_ != disk_) return false;
    const auto& bytes = from->file_->now().bytes;
    if (range.end() > bytes.size()) return false;
    RETURN_IF_ERROR(WriteAt(std::span(bytes).subspan(range.offset_bytes, range.length_bytes),
                            range.offset_bytes));
    return true;
  }

  Status SyncData() override {
    const auto verdict = machine_.BeforeCall(disk_, Call::kSync, name_, 0, 0);
    if (verdict != Machine::Verdict::kGoOn) {
      if (disk().powered()) file_->LosePending(machine_.random());
      return Failed(Machine::Verdict::kIo, "fdatasync", name_);
    }
    disk().SyncFile(*file_);
    return OkStatus();
  }

  Status Punch(const ByteRange& range) override {
    RETURN_IF_ERROR(Before(Call::kPunch, range.offset_bytes, range.length_bytes));
    if (range.offset_bytes >= file_->now().bytes.size()) return OkStatus();
    file_->Punch(disk().NextSeq(), range.offset_bytes, range.length_bytes);
    return OkStatus();
  }

  Status SetSize(uint64_t size_bytes) override {
    RETURN_IF_ERROR(Before(Call::kSetSize, size_bytes, 0));
    file_->SetSize(disk().NextSeq(), size_bytes);
    return OkStatus();
  }

  Result<uint64_t> Size() override {
    RETURN_IF_ERROR(Before(Call::kLook, 0, 0));
    return uint64_t{file_->now().bytes.size()};
  }

  Result<uint64_t> AllocatedBytes() override {
    RETURN_IF_ERROR(Before(Call::kLook, 0, 0));
    return AllocatedBytesOf(*file_);
  }

  Result<std::optional<ByteRange>> NextData(uint64_t offset_bytes) override {
    RETURN_IF_ERROR(Before(Call::kLook, offset_bytes, 0));
    const auto& allocated = file_->now().allocated;
    uint64_t first = offset_bytes / kSectorBytes;
    while (first < allocated.size() && !allocated[first]) ++first;
    if (first >= allocated.size()) return std::optional<ByteRange>();
    uint64_t last = first;
    while (last < allocated.size() && allocated[last]) ++last;
    const uint64_t start = std::max(offset_bytes, first * kSectorBytes);
    const uint64_t end = std::min<uint64_t>(last * kSectorBytes, file_->now().bytes.size());
    if (start >= end) return std::optional<ByteRange>();
    return std::optional<ByteRange>(ByteRange{start, end - start});
  }

  void DropCache(const ByteRange&) override {
    if (disk().powered()) file_->DropCleanPages();
  }

 private:
  Disk& disk() { return machine_.disk(disk_); }
  Status Before(Call call, uint64_t offset_bytes, uint64_t length_bytes) {
    const auto verdict = machine_.BeforeCall(disk_, call, name_, offset_bytes, length_bytes);
    if (verdict == Machine::Verdict::kGoOn) return OkStatus();
    return Failed(verdict, NameOf(call), name_);
  }

  Machine& machine_;
  const int disk_;
  const std::string name_;
  const std::shared_ptr<DiskFile> file_;
};

class SimNode final : public NodeDirectory {
 public:
  SimNode(Machine& machine, int disk)
      : machine_(machine),
        disk_(disk),
        path_(StrCat("node", static_cast<char>('a' + disk))),
        catalog_path_(CatalogPath(disk)) {}

  Result<std::unique_ptr<NodeFile>> Open(const std::string& name, OpenMode mode) override {
    RETURN_IF_ERROR(Before(mode == OpenMode::kCreateNew ? Call::kOpen : Call::kLook, name));
    std::shared_ptr<DiskFile> file = disk().Find(name);
    if (mode == OpenMode::kCreateNew) {
      if (file != nullptr) return Error{Errc::kExists, StrCat("open ", name, ": it is there")};
      file = disk().Create(name);
    }
    if (file == nullptr) return Error{Errc::kNotFound, StrCat("open ", name, ": no such file")};
    return std::unique_ptr<NodeFile>(std::make_unique<SimFile>(machine_, disk_, name, file));
  }

  Status Remove(const std::string& name) override {
    RETURN_IF_ERROR(Before(Call::kRemove, name));
    if (disk().Find(name) == nullptr) return Error{Errc::kNotFound, StrCat("unlink ", name)};
    disk().Remove(name);
    return OkStatus();
  }

  Status SyncNames() override {
    RETURN_IF_ERROR(Before(Call::kSyncNames, "."));
    disk().SyncNames("layers/");
    disk().SyncNames("");
    return OkStatus();
  }

  Result<std::vector<std::string>> ListLayers() override {
    RETURN_IF_ERROR(Before(Call::kList, "layers"));
    std::vector<std::string> names;
    for (const auto& [name, file] : disk().names()) {
      if (name.starts_with("layers/")) names.push_back(name.substr(7));
    }
    return names;
  }

  Result<SpaceInfo> Space() override {
    RETURN_IF_ERROR(Before(Call::kLook, "statfs"));
    return SpaceInfo{kDiskBytes, disk().FreeBytes()};
  }

  Result<uint64_t> AllocatedBytes(const std::string& name) override {
    RETURN_IF_ERROR(Before(Call::kLook, name));
    const std::shared_ptr<DiskFile> file = disk().Find(name);
    if (file == nullptr) return Error{Errc::kNotFound, StrCat("stat ", name, ": no such file")};
    return AllocatedBytesOf(*file);
  }

  // Makes no call to the disk, because the question is about the path.
  Status CheckPresent() override {
    if (!machine_.away(disk_)) return OkStatus();
    return Error{Errc::kIo, StrCat("node directory ", path_, " is gone: it was moved away")};
  }

  std::string catalog_path() const override { return catalog_path_; }
  const char* sqlite_vfs() const override { return kVfsName; }
  const std::string& display_path() const override { return path_; }

 private:
  Disk& disk() { return machine_.disk(disk_); }
  Status Before(Call call, const std::string& name) {
    const auto verdict = machine_.BeforeCall(disk_, call, name, 0, 0);
    if (verdict == Machine::Verdict::kGoOn) return OkStatus();
    return Failed(verdict, NameOf(call), name);
  }

  Machine& machine_;
  const int disk_;
  const std::string path_;
  const std::string catalog_path_;
};

}  // namespace

std::unique_ptr<NodeDirectory> OpenSimNode(Machine& machine, int disk) {
  return std::make_unique<SimNode>(machine, disk);
}

}  // namespace volfs::sim
