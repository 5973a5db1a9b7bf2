// The entry of libFuzzer: one target, VOLFS_FUZZ_TARGET.
#ifdef VOLFS_FUZZ_TARGET

#include "blockstore/base/log.h"
#include "tests/fuzz/fuzz_targets.h"

extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv);
extern "C" int LLVMFuzzerInitialize(int* /*argc*/, char*** /*argv*/) {
  volfs::LogToFile("/dev/null");
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  volfs::VOLFS_FUZZ_TARGET({data, size});
  return 0;
}

#endif
