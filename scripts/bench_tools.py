"""What the benchmarks of mounted stores share: disks of their own, commands, verdicts."""

import json
import os
import pathlib
import random
import subprocess
import sys

MIB = 1 << 20
GIB = 1 << 30
BUILD = pathlib.Path(os.environ.get("VOLFS_BENCH_BUILD", "build/release")).resolve()


def run(*command, **more):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, **more)
    if done.returncode != 0:
        sys.exit(f"scripts/bench: {' '.join(map(str, command))}: {done.stderr.strip()}")
    return done.stdout.strip()


class Disk:
    """A filesystem in a loop device, so that every machine has the same. Direct I/O: its blocks are
    cached once."""

    def __init__(self, top, name, kind, size_bytes=12 * GIB):
        self.path = top / name
        self.image = top / f"{name}.img"
        self.path.mkdir()
        with open(self.image, "wb") as image:
            image.truncate(size_bytes)
        quiet = {"ext4": ["-q", "-E", "lazy_itable_init=0,lazy_journal_init=0"], "xfs": ["-q"]}
        run(f"mkfs.{kind}", *quiet[kind], self.image)
        self.device = run("losetup", "--find", "--show", "--direct-io=on", self.image)
        run("mount", self.device, self.path)

    def remove(self):
        subprocess.run(["umount", self.path], check=False)
        subprocess.run(["losetup", "-d", self.device], check=False)
        self.image.unlink()


class Mount:
    """A mounted store: what it answers."""

    def __init__(self, mnt):
        self.mnt = mnt

    def find_daemon(self):
        config = dict(line.split("=", 1) for line in self.read("config").splitlines() if "=" in line)
        self.pid = int(config["pid"])

    def read(self, name):
        return (self.mnt / "control" / name).read_text()

    def ask(self, request, text):
        with open(self.mnt / "control" / request, "wb", buffering=0) as file:
            file.write(text.encode() + b"\n")

    def image(self, name):
        return self.mnt / "volumes" / name

    def make(self, name, size_bytes, pieces):
        """`pieces`: offsets and lengths of random data."""
        self.ask("create", f"{name} {size_bytes} node=a")
        noise = random.Random(1).randbytes(MIB)
        with open(self.image(name), "r+b", buffering=0) as file:
            for offset, length in pieces:
                for at in range(offset, offset + length, MIB):
                    os.pwrite(file.fileno(), noise[:min(MIB, offset + length - at)], at)
            os.fsync(file.fileno())

    def resident_bytes(self):
        for line in pathlib.Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        sys.exit("scripts/bench: the daemon is gone")


def fio(path, what, depth, seconds, size="256m"):
    """Operations a second, and the 99th percentile of their time in ms."""
    told = json.loads(run(
        # A thread, as fio's processes would outlive this script when a signal ends it.
        "fio", "--thread", "--name=f", f"--filename={path}", f"--rw=rand{what}", "--bs=4k",
        f"--size={size}", f"--iodepth={depth}", "--ioengine=libaio", "--direct=1", "--time_based",
        f"--runtime={seconds}", "--ramp_time=1", "--output-format=json"))
    side = told["jobs"][0][what]
    return side["iops"], side["clat_ns"]["percentile"]["99.000000"] / 1e6


def verdict(good):
    return "ok" if good else "NOT MET"
