#include "tests/support/store_fixture.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "blockstore/check/check.h"
#include "blockstore/io/posix_node.h"

namespace volfs {
namespace {

template <typename T>
T OrAbort(Result<T> result, const char* what) {
  if (!result.ok()) {
    std::fprintf(stderr, "StoreFixture: %s: %s\n", what, result.error().message.c_str());
    std::abort();
  }
  return std::move(result.value());
}

NodeRecord RecordOf(const std::string& name) {
  NodeRecord record;
  record.name = name;
  record.region = "default";
  record.types = {{"standard", 0, kMaxVolumeBytes}, {"ssd", 0, kMaxVolumeBytes}};
  if (name == "b") record.types.push_back({"sata", kMiB, 1024 * kMiB});
  return record;
}

void MakeNode(const std::string& path, const std::string& name) {
  std::filesystem::create_directory(path);
  std::filesystem::permissions(path, std::filesystem::perms::owner_all);
  const auto directory = OrAbort(OpenPosixNode(path), "opening the directory");
  OrAbort(Node::Init(*directory, RecordOf(name)), "making the node");
}

std::unique_ptr<Node> OpenNode(const std::string& path) {
  return OrAbort(Node::Open(OrAbort(OpenPosixNode(path), "opening the directory")),
                 "opening the node");
}

}  // namespace

StoreFixture::StoreFixture(const StoreOptions& options) {
  for (const char* name : {"a", "b"}) MakeNode(NodePath(name), name);
  Reopen(options);
}

StoreFixture::~StoreFixture() = default;

void StoreFixture::Reopen(const StoreOptions& options) {
  Close();
  std::vector<std::unique_ptr<Node>> nodes;
  for (const char* name : {"a", "b"}) nodes.push_back(OpenNode(NodePath(name)));
  store_ = OrAbort(Store::Open(std::move(nodes), options), "opening the store");
}

void StoreFixture::Close() { store_.reset(); }

std::shared_ptr<Volume> StoreFixture::MakeVolume(const std::string& name, uint64_t size_bytes,
                                                 size_t data_bytes) {
  CreateRequest request;
  request.name = name;
  request.size_bytes = size_bytes;
  request.node = "a";
  std::shared_ptr<Volume> volume = OrAbort(store_->Create(request, Caller{}), "making a volume");
  if (data_bytes > 0) {
    OrAbort(volume->WriteAt(Pattern(data_bytes), 0), "writing to a volume");
    OrAbort(volume->Sync(), "syncing a volume");
  }
  return volume;
}

bool StoreFixture::WaitForStatus(const std::string& name, const std::string& status) {
  const Nanoseconds deadline = MonotonicNow() + std::chrono::seconds(20);
  while (MonotonicNow() < deadline) {
    const Result<VolumeInfo> info = store_->Info(name);
    if (info.ok() && info.value().status == status) return true;
    SleepFor(std::chrono::milliseconds(10));
  }
  return false;
}

std::vector<std::byte> Pattern(size_t bytes) {
  std::vector<std::byte> data(bytes);
  uint64_t state = 0x9e3779b97f4a7c15ULL;
  for (std::byte& byte : data) {
    state = state * 6364136223846793005ULL + 1442695040888963407ULL;
    byte = static_cast<std::byte>((state >> 56) | 1);
  }
  return data;
}

std::vector<std::byte> ReadBack(Volume& volume) {
  std::vector<std::byte> bytes(volume.size_bytes());
  const Result<size_t> got = volume.ReadAt(bytes, 0);
  if (!got.ok()) {
    ADD_FAILURE() << got.error().message;
  } else {
    EXPECT_EQ(got.value(), bytes.size());
  }
  return bytes;
}

std::vector<std::string> CheckFindings(Store& store) {
  std::vector<Node*> nodes;
  for (const auto& node : store.nodes()) nodes.push_back(node.get());
  const auto found = CheckNodes(nodes, {});
  if (!found.ok()) return {found.error().message};
  std::vector<std::string> texts;
  for (const Finding& finding : found.value()) texts.push_back(finding.text);
  return texts;
}

std::vector<std::string> LastingFindings(Store& store) {
  const Nanoseconds deadline = MonotonicNow() + std::chrono::seconds(20);
  while (true) {
    std::vector<std::string> findings = CheckFindings(store);
    if (findings.empty() || MonotonicNow() >= deadline) return findings;
    SleepFor(std::chrono::milliseconds(50));
  }
}

}  // namespace volfs
