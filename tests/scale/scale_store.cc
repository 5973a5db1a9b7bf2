// scale_store NODE VOLUMES SNAPSHOTS DEPTH fills an unmounted node without volumes, with the rows
// that requests would make, but in few commits. scripts/bench scale mounts the result.
//
// It makes volumes v0 to vN of 1 GiB. v0 has DEPTH of the snapshots and the others share the rest
// equally, each named s0 and on. One more block was written between any two snapshots, so that
// every layer has a file with a block of its own.
#include <array>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>

#include "blockstore/catalog/catalog.h"
#include "blockstore/io/posix_node.h"
#include "blockstore/layer/layer.h"
#include "blockstore/node/node.h"

namespace volfs {
namespace {

constexpr uint64_t kVolumeBytes = uint64_t{1} << 30;
constexpr size_t kOpsInACommit = 20'000;

template <typename T>
T OrExit(Result<T> result) {
  if (!result.ok()) {
    std::fprintf(stderr, "scale_store: %s\n", result.error().message.c_str());
    std::exit(1);
  }
  return std::move(result.value());
}

class Filler {
 public:
  explicit Filler(std::unique_ptr<Node> node)
      : node_(std::move(node)), type_(node_->record().types.front().name) {}

  void Add(const std::string& name, uint64_t snapshots) {
    VolumeRecord volume{NewId(), name, kNoId, kVolumeBytes, type_, WallNow().count(), {}};
    LayerRecord layer = NewLayer(kNoId, 0);
    for (uint64_t n = 0; n < snapshots; ++n) {
      const std::string of = "s" + std::to_string(n);
      Commit(PutSnapshot{{NewId(), volume.id, of, layer.id, kVolumeBytes, volume.created_ns, {}}});
      layer = NewLayer(layer.id, n + 1);
    }
    volume.head = layer.id;
    Commit(PutVolume{volume});
    if (change_.size() >= kOpsInACommit) Flush();
  }

  void Flush() {
    OrExit(node_->directory().SyncNames());
    OrExit(node_->catalog().Commit(std::exchange(change_, {})));
  }

 private:
  LayerRecord NewLayer(Id parent, uint64_t block) {
    static constexpr std::array<std::byte, kDefaultBlockSize> kData{std::byte{1}};
    const LayerRecord record{NewId(), parent, {}, kVolumeBytes, parent == kNoId ? 0 : kVolumeBytes,
                             true};
    const auto file =
        OrExit(node_->directory().Open(LayerFileName(record.id), OpenMode::kCreateNew));
    OrExit(file->SetSize(kVolumeBytes));
    OrExit(file->WriteAt(kData, block * kDefaultBlockSize));
    Commit(PutLayer{record});
    if (parent != kNoId) {
      PresenceRuns runs;
      runs.Set({block, 1}, BlockState::kPresent);
      Commit(SetPresence{record.id, runs});
    }
    return record;
  }

  void Commit(CatalogOp op) { change_.push_back(std::move(op)); }

  const std::unique_ptr<Node> node_;
  const std::string type_;
  CatalogChange change_;
};

}  // namespace
}  // namespace volfs

int main(int argc, char** argv) {
  using namespace volfs;
  if (argc != 5) {
    std::fprintf(stderr, "usage: scale_store NODE VOLUMES SNAPSHOTS DEPTH\n");
    return 2;
  }
  const uint64_t volumes = std::stoull(argv[2]);
  const uint64_t snapshots = std::stoull(argv[3]);
  const uint64_t depth = std::stoull(argv[4]);
  Filler filler(OrExit(Node::Open(OrExit(OpenPosixNode(argv[1])))));
  filler.Add("v0", depth);
  for (uint64_t n = 1; n < volumes; ++n) {
    const uint64_t rest = snapshots - depth;
    filler.Add("v" + std::to_string(n), rest * n / (volumes - 1) - rest * (n - 1) / (volumes - 1));
  }
  filler.Flush();
  return 0;
}
