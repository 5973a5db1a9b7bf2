#pragma once

#include <string>

namespace volfs::sim {

class Machine;

// SQLite over a simulated disk: a VFS under this name, for the catalogs of one machine at a time.
inline constexpr char kVfsName[] = "volfs-sim";

// The path of a disk's catalog in this VFS: "/a/catalog.db".
std::string CatalogPath(int disk);

// Before SQLite's first use in this process: no mutexes of its own (its recursive ones would let a
// second fiber in; each connection is behind a Mutex of ours), and the VFS.
void InstallVfs();

// From now on files are those of `machine`, its clock the clock, and SQLite's random numbers
// (the salts of its WALs) begin anew from `seed`. Null: none.
void SetVfsMachine(Machine* machine, unsigned long long seed);

}  // namespace volfs::sim
