#pragma once

#include <string>
#include <vector>

#include "blockstore/base/error.h"
#include "blockstore/catalog/catalog.h"

namespace volfs {

// The contents of a configuration file: a TOML file with
//   nodes = ["/srv/a", "b"]           node directories, for a command line that names none;
//                                     relative ones are below the file's own directory
//   mountpoint = "/srv/volumes"       likewise
//   types = ["ssd:1G-4T", "sata"]     types that new nodes of this mount offer, as --types takes it
//   [limits]                          copy_rate and copy_jobs, as `-o` takes them
//   copy_rate = "100M"
//   allow_shrink = true               ... and any other option of the mount, before the first table
struct ConfigFile {
  std::vector<std::string> nodes;    // absolute
  std::string mountpoint;            // absolute; empty: as if nothing was said
  std::vector<VolumeType> types;     // empty: as if nothing was said
  std::vector<std::string> options;  // as ParseOptions takes them
};

// Reads a configuration file. kNotFound; kInvalid, with the line and the key, for an unknown key or
// a value that makes no sense.
Result<ConfigFile> ReadConfigFile(const std::string& path);

}  // namespace volfs
