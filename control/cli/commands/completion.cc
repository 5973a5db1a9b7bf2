#include "control/cli/completion.h"

#include "control/cli/commands/commands.h"
#include "control/cli/process/output.h"

namespace volfs::cli {

Status Completion(const Common& common, const std::string& shell) {
  ASSIGN_OR_RETURN(const std::string script, CompletionScript(shell));
  Print(common.json ? JsonLine({{"shell", shell}, {"script", script}}) : script);
  return OkStatus();
}

}  // namespace volfs::cli
