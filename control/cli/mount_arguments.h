#pragma once

#include <string>
#include <vector>

namespace volfs {

// The arguments of `volfs mount` and `mount.volfs`.
struct MountArguments {
  std::vector<std::string> nodes;  // node directories, in the order given; "DIR1:DIR2" is split
  std::string mountpoint;          // empty: the configuration file names it
  bool foreground = false;
  std::vector<std::string> options;  // of all -o, one option each: "allow_shrink", "copy_rate=10M"
  std::string config_file;           // empty: none
  bool json = false;                 // --json
  bool through_helper = false;       // started by mount(8), fstab or systemd: a new node needs -o
                                     // init
};

}  // namespace volfs
