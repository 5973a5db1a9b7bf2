#include "tests/fuzz/store_template.h"

#include <fcntl.h>
#include <unistd.h>

#include <filesystem>

#include "blockstore/layer/layer.h"
#include "blockstore/node/opener.h"
#include "tests/fuzz/fuzz_targets.h"

namespace volfs::fuzz {
namespace {

namespace fs = std::filesystem;

FileBytes BytesOf(const std::string& path) {
  FileBytes bytes;
  const int file = ::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  if (file < 0) return bytes;  // some files can be read by root only
  bytes.size_bytes = static_cast<uint64_t>(::lseek(file, 0, SEEK_END));
  for (off_t at = 0; (at = ::lseek(file, at, SEEK_DATA)) >= 0;) {
    const off_t end = ::lseek(file, at, SEEK_HOLE);
    std::string& data = bytes.data[static_cast<uint64_t>(at)];
    data.resize(static_cast<size_t>(end - at));
    Require(::pread(file, data.data(), data.size(), at) == std::ssize(data), "it can be read");
    at = end;
  }
  ::close(file);
  return bytes;
}

void Write(const std::string& path, const FileBytes& bytes) {
  const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL, 0600);
  Require(file >= 0 && ::ftruncate(file, static_cast<off_t>(bytes.size_bytes)) == 0,
          "a file can be made");
  for (const auto& [at, data] : bytes.data) {
    Require(::pwrite(file, data.data(), data.size(), static_cast<off_t>(at)) == std::ssize(data),
            "a file can be written");
  }
  ::close(file);
}

const Cell& At(const RowTable& table, const std::vector<Cell>& row, const std::string& column) {
  for (size_t i = 0; i < table.columns.size(); ++i) {
    if (table.columns[i] == column) return row[i];
  }
  Require(false, column);
  return row.front();
}

int64_t Integer(const RowTable& table, const std::vector<Cell>& row, const std::string& column) {
  return std::get<int64_t>(At(table, row, column));
}

// Numbers ids in an order that depends on names alone.
class IdNumbers {
 public:
  explicit IdNumbers(const RowTables (&tables)[2]) {
    for (const RowTables& of_node : tables) {
      const RowTable& layers = of_node.at("layers");
      for (const auto& row : layers.rows) {
        parents_[Integer(layers, row, "id")] = Integer(layers, row, "parent");
      }
    }
    for (const RowTables& of_node : tables) AddNamed(of_node.at("volumes"), "head");
    for (const RowTables& of_node : tables) AddNamed(of_node.at("snapshots"), "layer");
    for (const auto& [id, parent] : parents_) {
      Require(numbers_.contains(id), "each layer of the template has a name");
    }
  }
  // Returns other numbers unchanged.
  [[nodiscard]] int64_t Of(int64_t value) const {
    const auto found = numbers_.find(value);
    return found == numbers_.end() ? value : found->second;
  }
  [[nodiscard]] const std::map<int64_t, int64_t>& all() const { return numbers_; }

 private:
  void AddNamed(const RowTable& table, const std::string& layer_column) {
    std::map<std::string, const std::vector<Cell>*> by_name;
    for (const auto& row : table.rows) {
      const int64_t of = layer_column == "layer" ? Of(Integer(table, row, "volume")) : 0;
      by_name[std::get<std::string>(At(table, row, "name")) + "@" + std::to_string(of)] = &row;
    }
    for (const auto& [name, row] : by_name) {
      Add(Integer(table, *row, "id"));
      for (int64_t layer = Integer(table, *row, layer_column); layer != 0;) {
        Add(layer);
        layer = parents_.at(layer);
      }
    }
  }
  void Add(int64_t id) {
    numbers_.try_emplace(id, static_cast<int64_t>(numbers_.size() + 1) << kIdFacetBits);
  }

  std::map<int64_t, int64_t> parents_;
  std::map<int64_t, int64_t> numbers_;
};

}  // namespace

Files FilesOf(const std::string& node_path) {
  Files files;
  for (const auto& entry : fs::recursive_directory_iterator(node_path)) {
    if (!fs::is_regular_file(entry.symlink_status())) continue;
    if (entry.path().filename() != "ballast") files[entry.path()] = BytesOf(entry.path());
  }
  return files;
}

StoreTemplate::StoreTemplate(const std::function<void(Store&)>& fill) {
  for (const int node : {0, 1}) {
    fs::create_directory(NodePath(node));
    NodeRecord record;
    record.name = node == 0 ? "a" : "b";
    record.uuid = node == 0 ? "0a" : "0b";
    Require(InitNode(NodePath(node), record).ok(), "a node can be made");
  }
  {
    const auto store = Open(false);
    Require(store.ok(), "an empty store can be opened");
    fill(*store.value());
  }
  NumberIds();
  for (const int node : {0, 1}) files_.merge(FilesOf(NodePath(node)));
}

void StoreTemplate::NumberIds() {
  for (const int node : {0, 1}) tables_[node] = LoadTables(CatalogPath(node));
  const IdNumbers numbers(tables_);
  for (const int node : {0, 1}) {
    for (auto& [name, table] : tables_[node]) {
      for (auto& row : table.rows) {
        for (Cell& cell : row) {
          if (int64_t* const value = std::get_if<int64_t>(&cell)) *value = numbers.Of(*value);
          std::string* const text = std::get_if<std::string>(&cell);
          for (const auto& [id, number] : numbers.all()) {
            const std::string hex = LayerFileName(static_cast<Id>(id)).substr(7);
            const size_t at = text == nullptr ? std::string::npos : text->find(hex);
            if (at == std::string::npos) continue;
            text->replace(at, hex.size(), LayerFileName(static_cast<Id>(number)).substr(7));
          }
        }
      }
    }
    (void)SaveTables(CatalogPath(node), tables_[node]);
    tables_[node] = LoadTables(CatalogPath(node));
    for (const auto& [id, number] : numbers.all()) {
      std::error_code none;  // volumes and snapshots have no file, nor has each layer
      fs::rename(NodePath(node) + "/" + LayerFileName(static_cast<Id>(id)),
                 NodePath(node) + "/" + LayerFileName(static_cast<Id>(number)), none);
    }
  }
}

void StoreTemplate::Restore() {
  for (const int node : {0, 1}) {
    for (const auto& entry : fs::directory_iterator(NodePath(node))) {
      if (entry.path().filename() != "ballast") fs::remove_all(entry.path());
    }
    fs::create_directory(NodePath(node) + "/layers");
    fs::permissions(NodePath(node) + "/layers", fs::perms::owner_all);
  }
  for (const auto& [path, bytes] : files_) Write(path, bytes);
}

Result<std::unique_ptr<Store>> StoreTemplate::Open(bool merge, bool hydrate) const {
  NodeOpenOptions options;
  options.may_init = false;
  options.registry.clear();
  ASSIGN_OR_RETURN(auto nodes, OpenNodes({NodePath(0), NodePath(1)}, options));
  StoreOptions store;
  store.hydrate = hydrate;
  store.merge = merge;
  store.allow_shrink = true;
  return Store::Open(std::move(nodes), store);
}

}  // namespace volfs::fuzz
