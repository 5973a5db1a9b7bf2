#include "control/cli/host/state_directory.h"

#include <unistd.h>

#include <cstdlib>

#include "blockstore/base/str_cat.h"

namespace volfs::cli {
namespace {

constexpr const char* kRootState = "/var/lib/volfs";

std::string Environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? std::string() : std::string(value);
}

}  // namespace

std::string StateDirectory() {
  if (::geteuid() == 0) return kRootState;
  const std::string state = Environment("XDG_STATE_HOME");
  if (state.starts_with('/')) return StrCat(state, "/volfs");
  const std::string home = Environment("HOME");
  return home.starts_with('/') ? StrCat(home, "/.local/state/volfs") : std::string();
}

std::string NodeRegistryFile() {
  const std::string directory = StateDirectory();
  return directory.empty() ? directory : StrCat(directory, "/nodes");
}

std::string NodeLockDirectory() {
  if (::geteuid() == 0) return "/run/volfs/nodes";
  const std::string runtime = Environment("XDG_RUNTIME_DIR");
  return runtime.starts_with('/') ? StrCat(runtime, "/volfs/nodes") : std::string();
}

}  // namespace volfs::cli
