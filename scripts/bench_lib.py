"""Shared by the benchmarks: commands, disks, a mount of volfs, fio. All that they start ends with
the script: a function that makes something pushes its removal on an ExitStack, and a signal ends
the script as an exception does."""

import json
import os
import pathlib
import random
import signal
import subprocess
import sys

MIB = 1 << 20
GIB = 1 << 30
BUILD = pathlib.Path(os.environ.get("VOLFS_BENCH_BUILD", "build/release")).resolve()


class Failed(SystemExit):
    """A command failed. Ends the script, unless the caller catches it."""


def run(*command, **more):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, **more)
    if done.returncode != 0:
        raise Failed(f"scripts/bench: {' '.join(map(str, command))}: {done.stderr.strip()}")
    return done.stdout.strip()


def end_on_signals():
    """By an exception, so that all is removed; a second signal does not interrupt that."""
    def end(number, _):
        for other in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(other, signal.SIG_IGN)
        sys.exit(128 + number)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, end)


def sweep(top):
    """Removes mounts below a folder, and loop devices of files there: a signal or a failure
    may have come between its making and the note that it is to be removed."""
    mounts = pathlib.Path("/proc/self/mountinfo").read_text().splitlines()
    for path in reversed([line.split()[4] for line in mounts]):
        if path.startswith(f"{top}/"):
            subprocess.run(["umount", "-l", path], check=False)
    for loop in json.loads(run("losetup", "--list", "--json") or "{}").get("loopdevices", []):
        if loop["back-file"].startswith(f"{top}/"):
            subprocess.run(["losetup", "-d", loop["name"]], check=False)


def need_root():
    if os.geteuid() != 0:
        sys.exit("scripts/bench: only root can make loop devices and mount them: use sudo")


def verdict(good):
    return "ok" if good else "MISSED"


def forget_pages(path):
    """Of one file: other users of the machine keep their cache."""
    run("sync", "-f", path)
    run("dd", f"of={path}", "oflag=nocache", "conv=notrunc", "count=0", "status=none")


def fill(path, pieces, seed=1):
    """`pieces`: offsets and lengths of random data, all of which is synced at the end."""
    noise = random.Random(seed).randbytes(MIB)
    with open(path, "r+b", buffering=0) as file:
        for offset, length in pieces:
            for at in range(offset, offset + length, MIB):
                os.pwrite(file.fileno(), noise[:min(MIB, offset + length - at)], at)
        os.fsync(file.fileno())


def fio(path, **options):
    """The result of one job. A thread, as fio's processes would outlive this script when a signal
    ends it."""
    words = [f"--{name}={value}" for name, value in options.items()]
    told = run("fio", "--thread", "--name=f", f"--filename={path}", "--output-format=json", *words)
    # A line about a feature that fio lacks may stand before the JSON.
    return json.loads(told[told.index("{"):])["jobs"][0]


def random_fio(path, what, depth, seconds, size="256m"):
    """4 KiB, direct: operations a second, and the 99th percentile of their time in ms."""
    side = fio(path, rw=f"rand{what}", bs="4k", size=size, iodepth=depth, ioengine="libaio",
               direct=1, time_based=1, runtime=seconds, ramp_time=1)[what]
    return side["iops"], side["clat_ns"]["percentile"]["99.000000"] / 1e6


class Loop:
    """A loop device. Direct I/O: blocks are cached once."""

    def __init__(self, image):
        self.device = run("losetup", "--find", "--show", "--direct-io=on", image)

    def remove(self):
        subprocess.run(["losetup", "-d", self.device], check=False)


class Disk:
    """A filesystem in a loop device, so that every machine has the same."""

    MKFS = {"ext4": ["-q", "-E", "lazy_itable_init=0,lazy_journal_init=0"], "xfs": ["-q"],
            "btrfs": ["-q"]}

    def __init__(self, top, name, kind, size_bytes=12 * GIB):
        self.path = top / name
        self.image = top / f"{name}.img"
        self.path.mkdir()
        with open(self.image, "wb") as image:
            image.truncate(size_bytes)
        run(f"mkfs.{kind}", *self.MKFS[kind], self.image)
        self.loop = Loop(self.image)
        run("mount", self.loop.device, self.path)

    def remove(self):
        subprocess.run(["umount", self.path], check=False)
        self.loop.remove()
        self.image.unlink()
        self.path.rmdir()


class Mount:
    """volfs on some nodes, the first of which is called `a`."""

    def __init__(self, nodes, mnt):
        self.nodes = nodes
        self.mnt = mnt
        for folder in (*nodes, mnt):
            folder.mkdir()
        run(BUILD / "volfs", "mount", *nodes, mnt)
        self.find_daemon()

    def find_daemon(self):
        lines = self.read("config").splitlines()
        self.pid = int(dict(line.split("=", 1) for line in lines if "=" in line)["pid"])

    def unmount(self):
        subprocess.run([BUILD / "volfs", "umount", self.mnt], check=False)

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
        fill(self.image(name), pieces)

    def resident_bytes(self):
        for line in pathlib.Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        sys.exit("scripts/bench: the daemon is gone")
