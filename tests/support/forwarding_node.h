#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "blockstore/io/node_directory.h"

namespace volfs {

// A layer between the store and a node's directory, for tests in which the directory fails or lies.
// All calls pass through, and a test overrides some of them. Blocks are never shared, so that they
// are read and written.
class ForwardingFile : public NodeFile {
 public:
  explicit ForwardingFile(std::unique_ptr<NodeFile> file) : file_(std::move(file)) {}
  Status ReadAt(std::span<std::byte> out, uint64_t offset_bytes) override {
    return file_->ReadAt(out, offset_bytes);
  }
  Status WriteAt(std::span<const std::byte> data, uint64_t offset_bytes) override {
    return file_->WriteAt(data, offset_bytes);
  }
  Status WaitWritten(const ByteRange& range) override { return file_->WaitWritten(range); }
  void DropWritten(const ByteRange& range) override { file_->DropWritten(range); }
  Result<bool> ShareFrom(NodeFile&, const ByteRange&) override { return false; }
  Status SyncData() override { return file_->SyncData(); }
  Status CheckNamed() override { return file_->CheckNamed(); }
  Status Punch(const ByteRange& range) override { return file_->Punch(range); }
  Status SetSize(uint64_t size_bytes) override { return file_->SetSize(size_bytes); }
  Result<uint64_t> Size() override { return file_->Size(); }
  Result<uint64_t> AllocatedBytes() override { return file_->AllocatedBytes(); }
  Result<std::optional<ByteRange>> NextData(uint64_t offset_bytes) override {
    return file_->NextData(offset_bytes);
  }
  Result<std::optional<uint64_t>> FirstData(uint64_t offset_bytes) override {
    return file_->FirstData(offset_bytes);
  }
  void DropCache(const ByteRange& range) override { file_->DropCache(range); }

 protected:
  const std::unique_ptr<NodeFile> file_;
};

class ForwardingNode : public NodeDirectory {
 public:
  explicit ForwardingNode(std::unique_ptr<NodeDirectory> node) : node_(std::move(node)) {}
  Result<std::unique_ptr<NodeFile>> Open(const std::string& name, OpenMode mode) override {
    return node_->Open(name, mode);
  }
  Status Remove(const std::string& name) override { return node_->Remove(name); }
  Status SyncNames() override { return node_->SyncNames(); }
  Result<std::vector<std::string>> ListLayers() override { return node_->ListLayers(); }
  Result<SpaceInfo> Space() override { return node_->Space(); }
  std::string FilesystemName() const override { return node_->FilesystemName(); }
  Result<uint64_t> AllocatedBytes(const std::string& name) override {
    return node_->AllocatedBytes(name);
  }
  Status CheckPresent() override { return node_->CheckPresent(); }
  [[nodiscard]] bool ChecksNames() const override { return node_->ChecksNames(); }
  uint64_t Pulse() override { return node_->Pulse(); }
  std::string catalog_path() const override { return node_->catalog_path(); }
  const char* sqlite_vfs() const override { return node_->sqlite_vfs(); }
  const std::string& display_path() const override { return node_->display_path(); }

 protected:
  const std::unique_ptr<NodeDirectory> node_;
};

}  // namespace volfs
