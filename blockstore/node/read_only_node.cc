#include "blockstore/node/read_only_node.h"

#include <utility>

#include "blockstore/base/str_cat.h"
#include "blockstore/catalog/overlay.h"

namespace volfs {
namespace {

Error RefuseChange(std::string_view what, const std::string& where) {
  return Error{Errc::kReadOnly, StrCat(what, " on node directory ", where,
                                       ": it is open for reading only; mount it without `ro`")};
}

class ReadOnlyFile final : public NodeFile {
 public:
  ReadOnlyFile(std::unique_ptr<NodeFile> file, std::string name, std::string where)
      : file_(std::move(file)), name_(std::move(name)), where_(std::move(where)) {}

  Status ReadAt(std::span<std::byte> out, uint64_t offset_bytes) override {
    return file_->ReadAt(out, offset_bytes);
  }
  Status ReadOnce(std::span<std::byte> out, uint64_t offset_bytes) override {
    return file_->ReadOnce(out, offset_bytes);
  }
  Result<uint64_t> Size() override { return file_->Size(); }
  Result<State> Stat() override { return file_->Stat(); }
  Result<uint64_t> AllocatedBytes() override { return file_->AllocatedBytes(); }
  Result<std::optional<ByteRange>> NextData(uint64_t offset_bytes) override {
    return file_->NextData(offset_bytes);
  }
  Descriptor Duplicate() override { return file_->Duplicate(); }
  bool WrittenElsewhere() override { return file_->WrittenElsewhere(); }

  Status WriteAt(std::span<const std::byte>, uint64_t) override { return Refuse("write"); }
  Result<bool> ShareFrom(NodeFile&, const ByteRange&) override { return Refuse("write"); }
  Result<bool> CloneFrom(NodeFile&) override { return Refuse("write"); }
  Status Punch(const ByteRange&) override { return Refuse("punch"); }
  Status SetSize(uint64_t) override { return Refuse("truncate"); }
  Status CheckNamed() override { return file_->CheckNamed(); }
  Status SyncData() override { return OkStatus(); }
  Status WaitWritten(const ByteRange&) override { return OkStatus(); }
  void DropWritten(const ByteRange&) override {}
  void DropCache(const ByteRange&) override {}

 private:
  [[nodiscard]] Error Refuse(std::string_view call) const {
    return RefuseChange(StrCat(call, " ", name_), where_);
  }

  const std::unique_ptr<NodeFile> file_;
  const std::string name_;
  const std::string where_;
};

class ReadOnlyNode final : public NodeDirectory {
 public:
  explicit ReadOnlyNode(std::unique_ptr<NodeDirectory> node)
      : NodeDirectory(node->calls()), node_(std::move(node)), overlay_(*node_) {}

  Result<std::unique_ptr<NodeFile>> Open(const std::string& name, OpenMode mode) override {
    if (mode == OpenMode::kCreateNew) return Refuse(StrCat("make ", name));
    ASSIGN_OR_RETURN(auto file, node_->Open(name, OpenMode::kReadOnly));
    return std::unique_ptr<NodeFile>(
        std::make_unique<ReadOnlyFile>(std::move(file), name, display_path()));
  }
  Status Remove(const std::string& name) override { return Refuse(StrCat("unlink ", name)); }
  Status SyncNames() override { return OkStatus(); }
  Result<std::vector<std::string>> ListLayers() override { return node_->ListLayers(); }
  Result<SpaceInfo> Space() override { return node_->Space(); }
  Result<uint64_t> AllocatedBytes(const std::string& name) override {
    return node_->AllocatedBytes(name);
  }
  Status CheckPresent() override { return node_->CheckPresent(); }
  [[nodiscard]] bool ChecksNames() const override { return node_->ChecksNames(); }
  uint64_t Pulse() override { return node_->Pulse(); }
  std::string catalog_path() const override { return overlay_.path(); }
  const char* sqlite_vfs() const override { return catalog::Overlay::kVfsName; }
  const std::string& display_path() const override { return node_->display_path(); }
  bool read_only() const override { return true; }

 private:
  [[nodiscard]] Error Refuse(std::string_view what) const {
    return RefuseChange(what, display_path());
  }

  const std::unique_ptr<NodeDirectory> node_;
  catalog::Overlay overlay_;
};

}  // namespace

std::unique_ptr<NodeDirectory> MakeReadOnly(std::unique_ptr<NodeDirectory> node) {
  return std::make_unique<ReadOnlyNode>(std::move(node));
}

}  // namespace volfs
