#pragma once

#include <string>

namespace volfs::sim {

class Machine;

// SQLite over a simulated disk: a VFS under this name, for the catalogs of one machine at a time.
inline constexpr char kVfsName[] = "volfs-sim";

// Returns the path of a disk's catalog in this VFS, such as "/a/catalog.db".
std::string CatalogPath(int disk);

// Installs the VFS and switches off SQLite's own mutexes, because its recursive ones would let a
// second fiber in. Each connection is behind a Mutex of the store. Requires: SQLite was not used
// yet in this process.
void InstallVfs();

// Makes the files those of `machine`, and its clock the clock. SQLite's random numbers (the salts
// of its WALs) begin anew from `seed`. Null: no machine.
void SetVfsMachine(Machine* machine, unsigned long long seed);

}  // namespace volfs::sim
