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

// Shows a text that was made when the file was opened. Nothing may be written to it (kProtected).
std::unique_ptr<ControlFile> OpenTextFile(HeldTexts::Text text);

// Takes lines and returns replies (RequestFile). Offsets mean nothing.
std::unique_ptr<ControlFile> OpenRequestFile(ControlState& state, RequestKind kind);

// Reads as `text`. Each write is one value; a later write of its LF alone is accepted.
std::unique_ptr<ControlFile> OpenLimitFile(ControlState& state, Limit limit, HeldTexts::Text text);

// Does the same for the copy_rate of one clone.
std::unique_ptr<ControlFile> OpenCopyRateFile(ControlState& state, std::shared_ptr<Volume> clone,
                                              HeldTexts::Text text);

// Reads as `text`; a write of "native" or "daemon" says which of the two shall serve the volume
// (io.h).
std::unique_ptr<ControlFile> OpenIoFile(ControlState& state, std::shared_ptr<Volume> volume,
                                        HeldTexts::Text text);

// Shows the events from now on. Offsets mean nothing; each open file gets its own copy of the
// events.
std::unique_ptr<ControlFile> OpenEventsFile(ControlState& state);

// Shows nothing while the volume is `creating`, then a text: its status, or "deleted" if it is
// gone, and an LF.
std::unique_ptr<ControlFile> OpenVolumeWatch(ControlState& state, Id volume);

}  // namespace volfs
