#include "control/cli/command.h"
#include "fusefs/mount.h"

int main(int argc, char** argv) { return volfs::RunCommand(argc, argv, volfs::Mount); }
