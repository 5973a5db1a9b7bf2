#include "control/request/executor.h"

#include "blockstore/base/str_cat.h"

namespace volfs {
namespace {

std::string VolumeWords(const VolumeInfo& info) {
  return StrCat("volume=", info.name, " status=", info.status, " size=", info.size_bytes,
                " node=", info.node);
}

// For a request that is already done: it stays a success even if another caller deleted or renamed
// the volume meanwhile.
std::string WordsOf(Store& store, const std::string& volume) {
  const Result<VolumeInfo> info = store.Info(volume);
  return info.ok() ? VolumeWords(info.value()) : StrCat("volume=", volume);
}

std::string SnapshotName(const std::string& volume, const std::string& snapshot) {
  return StrCat(volume, '@', snapshot);
}

Result<std::string> Resume(Store& store, const Request& request, const Caller& caller) {
  RETURN_IF_ERROR(store.Resume(request.volume, caller));
  return WordsOf(store, request.volume);
}

Result<std::string> Clone(Store& store, const Request& request, const Caller& caller) {
  if (request.resume) return Resume(store, request, caller);
  CloneRequest clone;
  clone.source = request.volume;
  clone.snapshot = request.snapshot;
  clone.name = request.name;
  clone.size_bytes = request.size_bytes;
  clone.type = request.type;
  clone.node = request.node;
  clone.linked = request.linked;
  clone.verify = request.verify;
  clone.token = request.token;
  clone.words = Canonical(request);
  ASSIGN_OR_RETURN(const std::shared_ptr<Volume> volume, store.Clone(clone, caller));
  return VolumeWords(store.Info(*volume));
}

Result<std::string> Snapshot(Store& store, const Request& request, const Caller& caller) {
  ASSIGN_OR_RETURN(const SnapshotInfo info,
                   store.TakeSnapshot(request.volume, request.name, caller));
  return StrCat("snapshot=", SnapshotName(info.volume, info.name), " size=", info.size_bytes);
}

Result<std::string> Revert(Store& store, const Request& request, const Caller& caller) {
  RETURN_IF_ERROR(store.Revert(request.volume, request.snapshot, caller));
  return WordsOf(store, request.volume);
}

Result<std::string> Create(Store& store, const Request& request, const Caller& caller) {
  CreateRequest create;
  create.name = request.name;
  create.size_bytes = request.size_bytes;
  create.type = request.type;
  create.node = request.node;
  create.native = request.native;
  ASSIGN_OR_RETURN(const std::shared_ptr<Volume> volume, store.Create(create, caller));
  return VolumeWords(store.Info(*volume));
}

Result<std::string> Resize(Store& store, const Request& request, const Caller& caller) {
  RETURN_IF_ERROR(store.Resize(request.volume, request.size_bytes.value_or(0), caller));
  return WordsOf(store, request.volume);
}

Result<std::string> Delete(Store& store, const Request& request, const Caller& caller) {
  if (request.snapshot.empty()) {
    RETURN_IF_ERROR(store.Delete(request.volume, caller));
    return StrCat("volume=", request.volume);
  }
  RETURN_IF_ERROR(store.DeleteSnapshot(request.volume, request.snapshot, caller));
  return StrCat("snapshot=", SnapshotName(request.volume, request.snapshot));
}

Result<std::string> Cancel(Store& store, const Request& request, const Caller& caller) {
  RETURN_IF_ERROR(store.Cancel(request.volume, caller));
  return StrCat("volume=", request.volume);
}

}  // namespace

Result<std::string> ExecuteRequest(Store& store, const Request& request, const Caller& caller) {
  switch (request.kind) {
    case RequestKind::kClone:
    case RequestKind::kRestore:
      return Clone(store, request, caller);
    case RequestKind::kSnapshot:
      return Snapshot(store, request, caller);
    case RequestKind::kRevert:
      return Revert(store, request, caller);
    case RequestKind::kCreate:
      return Create(store, request, caller);
    case RequestKind::kResize:
      return Resize(store, request, caller);
    case RequestKind::kDelete:
      return Delete(store, request, caller);
    case RequestKind::kCancel:
      return Cancel(store, request, caller);
  }
  return Error{Errc::kNotSupported, "this request is not known here"};
}

}  // namespace volfs
