#include "tests/cuts/fio_load.h"

#include <csignal>
#include <stdexcept>

namespace volfs {
namespace {

// Parses "issued rwts: total=READS,WRITES,...". An fio that could not open the image prints no such
// line.
uint64_t IssuedWrites(const std::string& output) {
  const size_t at = output.find("issued rwts: total=");
  return at == std::string::npos ? 0 : std::stoull(output.substr(output.find(',', at) + 1));
}

}  // namespace

FioLoad::FioLoad(std::string image, std::string directory, uint64_t size_bytes, uint64_t seed)
    : image_(std::move(image)),
      folder_(std::move(directory)),
      size_bytes_(size_bytes),
      seed_(seed) {}

std::vector<std::string> FioLoad::Words() const {
  return {"fio",
          "--name=load",
          "--filename=" + image_,
          "--allow_file_create=0",
          "--rw=randwrite",
          "--bs=4k",
          "--size=" + std::to_string(size_bytes_),
          "--sync=1",
          "--verify=crc32c",
          "--verify_fatal=1",
          "--randseed=" + std::to_string(seed_),
          "--aux-path=" + folder_};
}

void FioLoad::Start() {
  std::vector<std::string> words = Words();
  words.insert(words.end(), {"--do_verify=0", "--verify_state_save=1"});
  program_ = std::make_unique<BackgroundProgram>(words);
}

uint64_t FioLoad::Stop() {
  if (program_ == nullptr) return 0;
  constexpr int kPatienceMs = 30'000;
  program_->Signal(SIGINT);  // fio ends in order, and keeps its file
  const CommandResult result = program_->Finish(kPatienceMs);
  program_.reset();
  if (result.exit_code == CommandResult::kTimedOut) {
    throw std::runtime_error("fio does not end after its image is dead\n" + result.output);
  }
  const uint64_t issued = IssuedWrites(result.output);
  // The last write of a run that failed was not acknowledged; fio's file has the exact state.
  acknowledged_ = issued - (result.ok() || issued == 0 ? 0 : 1);
  return acknowledged_;
}

std::string FioLoad::Check() const {
  if (acknowledged_ == 0) return "";
  std::vector<std::string> words = Words();
  words.insert(words.end(), {"--verify_only", "--verify_state_load=1"});
  const CommandResult result = RunProgram(words);
  if (result.ok()) return "";
  std::string line = result.output.substr(0, result.output.find("\n\n"));
  for (char& c : line) c = c == '\n' ? ';' : c;
  return "lost: fio: " + line + "\n";
}

}  // namespace volfs
