#include "blockstore/base/sabotage.h"
#include "blockstore/catalog/volume_settings.h"
#include "blockstore/store/request_checks.h"
#include "blockstore/store/requests/placement.h"
#include "blockstore/store/store.h"

namespace volfs {

uint32_t NewVolumeMode(uint32_t mode) { return (mode & 0222) == 0 ? mode | 0200 : mode; }

Result<std::shared_ptr<Volume>> Store::Create(const CreateRequest& request, const Caller& caller) {
  Reservation reservation(parts_.tables);
  {
    MutexLock lock(parts_.tables.mu);
    if (parts_.tables.names.Taken(request.name)) return NameTaken(request.name);
    parts_.tables.ReserveName(reservation, request.name);
  }
  std::string type = request.type;
  ASSIGN_OR_RETURN(Node* const node, PlaceNew(parts_, request, type));
  RETURN_IF_ERROR(CheckNotFenced(*node));
  RETURN_IF_ERROR(node->catalog().CheckMayGrow());
  LayerRecord layer_record;
  layer_record.id = NewId();
  layer_record.size_bytes = request.size_bytes.value_or(0);
  VolumeRecord record;
  record.id = NewId();
  record.name = request.name;
  record.head = layer_record.id;
  record.size_bytes = layer_record.size_bytes;
  record.type = type;
  record.created_ns = WallNow().count();
  record.attributes = {caller.uid,        caller.gid,        NewVolumeMode(request.mode),
                       record.created_ns, record.created_ns, record.created_ns};
  Layer* const head = parts_.layers.Add(node, layer_record, LayerTable::Origin::kNew);
  // The file is durable before the record that names it.
  Status done = head->CreateFile();
  if (done.ok() && !Sabotaged(Sabotage::kCreateUnsynced)) done = head->SyncFile();
  layer_record = head->record();
  const bool has_file = done.ok();
  const bool native = request.native.value_or(parts_.options.native);
  if (has_file) {
    CatalogChange change{PutLayer{layer_record}, PutVolume{record}};
    if (native) {
      change.emplace_back(PutSetting{VolumeSetting(kIoPrefix, record.id), std::string(kIoNative)});
    }
    done = node->catalog().Commit(change, Room::kGrow);
  }
  if (!done.ok()) {
    // If it is not known whether the commit happened, the next mount decides about the file.
    if (has_file && !RefusedCleanly(done.error())) {
      reservation.Abandon();
    } else {
      (void)head->RemoveFile();
    }
    parts_.layers.Remove(head);
    return done.error();
  }
  head->Committed(layer_record);
  parts_.tree.AddReference(head);
  // shared_ptr: see store.h, "looking".
  auto volume = std::make_shared<Volume>(
      VolumeContext{parts_.layers, node->epoch(), parts_.block_size}, *node, record, head);
  volume->native().set_wanted(native);
  {
    MutexLock lock(parts_.tables.mu);
    parts_.tables.names.Add(record.name, volume);
  }
  parts_.events.Emit("created", record.name, record.id, "available");
  return volume;
}

}  // namespace volfs
