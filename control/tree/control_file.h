#pragma once

#include <memory>
#include <string>

#include "control/request/request.h"
#include "control/tree/control_tree.h"
#include "control/tree/control_view.h"
#include "control/tree/held_texts.h"
#include "control/tree/limits.h"

namespace volfs {

// The kinds of open control files. `state` outlives them.

// A text that was made when the file was opened. Writing is kProtected: nobody may.
std::unique_ptr<ControlFile> OpenTextFile(HeldTexts::Text text);

// Lines in, replies out (RequestFile). Offsets mean nothing.
std::unique_ptr<ControlFile> OpenRequestFile(ControlState& state, RequestKind kind);

// Reads as `text`. Each write is one value; an LF that comes with the next write alone is let pass.
std::unique_ptr<ControlFile> OpenLimitFile(ControlState& state, Limit limit, HeldTexts::Text text);

// The same, of one clone's own copy_rate.
std::unique_ptr<ControlFile> OpenCopyRateFile(ControlState& state, std::shared_ptr<Volume> clone,
                                              HeldTexts::Text text);

// Reads as `text`; takes who shall serve a volume: "native" or "daemon" (io.h).
std::unique_ptr<ControlFile> OpenIoFile(ControlState& state, std::shared_ptr<Volume> volume,
                                        HeldTexts::Text text);

// The events from now on. Offsets mean nothing; one reader's events go to this open file only.
std::unique_ptr<ControlFile> OpenEventsFile(ControlState& state);

// Nothing until the volume is not `creating`; from then on a text: its status, or "deleted" if it
// is gone, and an LF.
std::unique_ptr<ControlFile> OpenVolumeWatch(ControlState& state, Id volume);

}  // namespace volfs
