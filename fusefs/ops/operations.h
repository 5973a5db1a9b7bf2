#pragma once

#include <fuse3/fuse_lowlevel.h>

// The handlers of FUSE requests, by file. Sections 4 and 6 of contract.md say how they answer. Each
// answers its request exactly once, now or later, from any thread (Serve). fuse_lowlevel.h
// documents the parameters. A handler waits for the node of its file at most; a request that may
// wait longer goes to one of Filesystem's pools.
namespace volfs::op {

// op_lookup.cc
void Lookup(fuse_req_t req, fuse_ino_t parent, const char* name);
void Forget(fuse_req_t req, fuse_ino_t ino, uint64_t lookups);
void ForgetMulti(fuse_req_t req, size_t count, fuse_forget_data* forgets);
void StatFs(fuse_req_t req, fuse_ino_t ino);

// op_attr.cc
void GetAttr(fuse_req_t req, fuse_ino_t ino, fuse_file_info* fi);
void SetAttr(fuse_req_t req, fuse_ino_t ino, struct stat* wanted, int which, fuse_file_info* fi);

// op_xattr.cc
void SetXattr(fuse_req_t req, fuse_ino_t ino, const char* name, const char* value, size_t size,
              int flags);
void GetXattr(fuse_req_t req, fuse_ino_t ino, const char* name, size_t size);
void ListXattr(fuse_req_t req, fuse_ino_t ino, size_t size);
void RemoveXattr(fuse_req_t req, fuse_ino_t ino, const char* name);

// op_dir.cc
void OpenDir(fuse_req_t req, fuse_ino_t ino, fuse_file_info* fi);
void ReadDir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, fuse_file_info* fi);
void ReleaseDir(fuse_req_t req, fuse_ino_t ino, fuse_file_info* fi);
void FsyncDir(fuse_req_t req, fuse_ino_t ino, int data_only, fuse_file_info* fi);

// op_name.cc
void Create(fuse_req_t req, fuse_ino_t parent, const char* name, mode_t mode, fuse_file_info* fi);
void Mknod(fuse_req_t req, fuse_ino_t parent, const char* name, mode_t mode, dev_t device);
void Mkdir(fuse_req_t req, fuse_ino_t parent, const char* name, mode_t mode);
void Symlink(fuse_req_t req, const char* target, fuse_ino_t parent, const char* name);
void Link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t new_parent, const char* new_name);
void Unlink(fuse_req_t req, fuse_ino_t parent, const char* name);
void Rmdir(fuse_req_t req, fuse_ino_t parent, const char* name);
void Rename(fuse_req_t req, fuse_ino_t parent, const char* name, fuse_ino_t new_parent,
            const char* new_name, unsigned int flags);

// op_open.cc
void Open(fuse_req_t req, fuse_ino_t ino, fuse_file_info* fi);
void Release(fuse_req_t req, fuse_ino_t ino, fuse_file_info* fi);

// op_io.cc
void Read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, fuse_file_info* fi);
void Write(fuse_req_t req, fuse_ino_t ino, const char* data, size_t size, off_t offset,
           fuse_file_info* fi);
void Flush(fuse_req_t req, fuse_ino_t ino, fuse_file_info* fi);
void Fsync(fuse_req_t req, fuse_ino_t ino, int data_only, fuse_file_info* fi);
void Fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t offset, off_t length,
               fuse_file_info* fi);
void Lseek(fuse_req_t req, fuse_ino_t ino, off_t offset, int whence, fuse_file_info* fi);

// op_copy.cc
void CopyFileRange(fuse_req_t req, fuse_ino_t ino_in, off_t offset_in, fuse_file_info* fi_in,
                   fuse_ino_t ino_out, off_t offset_out, fuse_file_info* fi_out, size_t length,
                   int flags);

// op_control.cc; the first two are Read and Write of a control file.
void ReadControl(fuse_req_t req, size_t size, off_t offset, const fuse_file_info& fi);
void WriteControl(fuse_req_t req, const char* data, size_t size, const fuse_file_info& fi);
void OpenControl(fuse_req_t req, fuse_ino_t ino, fuse_file_info* fi);
void Poll(fuse_req_t req, fuse_ino_t ino, fuse_file_info* fi, fuse_pollhandle* poll_handle);

}  // namespace volfs::op
