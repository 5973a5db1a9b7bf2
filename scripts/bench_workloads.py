"""Programs on a filesystem, for scripts/bench: each job gets an empty folder and leaves it
empty, by the same seed the same each time, and tells how much it did a second."""

import concurrent.futures
import functools
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import time

PROCESSES = 4
NOISE = random.Random(3).randbytes(1 << 20)
FILES, IN_FOLDER = 3000, 100  # of a build


def write(path, size, durable=False):
    at = size * 7 % (len(NOISE) // 2)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    try:
        left = size
        while left > 0:
            left -= os.write(fd, NOISE[at:at + min(left, len(NOISE) // 2)])
        if durable:
            os.fsync(fd)
    finally:
        os.close(fd)


def default_signals():
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def in_processes(what, parts):
    """Not threads, which Python lets run one at a time. Not a Pool, which ends its processes by a
    signal."""
    with concurrent.futures.ProcessPoolExecutor(
            PROCESSES, multiprocessing.get_context("fork"), default_signals) as pool:
        return list(pool.map(what, parts))


def forget(device_mount):
    """Writes reach the device, and the next read comes from there."""
    device, folder = device_mount
    subprocess.run(["umount", folder], check=True)
    subprocess.run(["mount", device, folder], check=True)


def deliver(top, end, part):
    choice = random.Random(part)
    folder = top / f"box{part}"
    (folder / "tmp").mkdir(parents=True)
    oldest = count = 0
    while time.monotonic() < end:
        size = min(65536, int(2048 * 1.5 ** choice.randrange(9)))
        write(folder / "tmp" / str(count), size, durable=True)
        os.rename(folder / "tmp" / str(count), folder / str(count))
        count += 1
        (folder / str(choice.randrange(oldest, count))).read_bytes()
        if count % 2 == 0:
            os.unlink(folder / str(oldest))
            oldest += 1
    return count


def mail(device_mount, seconds):
    """A mail server: each of 4 deliverers writes a message of 2 to 52 KiB beside the mailbox,
    fsyncs it, and renames it into place; reads one that came before; every second time deletes the
    oldest. Messages delivered a second."""
    top = device_mount[1]
    start = time.monotonic()
    count = sum(in_processes(functools.partial(deliver, top, start + seconds), range(PROCESSES)))
    told = count / (time.monotonic() - start)
    for part in range(PROCESSES):
        shutil.rmtree(top / f"box{part}")
    return told


def source(top, n):
    return top / f"lib{n // IN_FOLDER}" / f"{n}.cc"


def members(library):
    return range(library * IN_FOLDER, (library + 1) * IN_FOLDER)


def unpack(top, library):
    choice = random.Random(library)
    (top / f"lib{library}").mkdir()
    for n in members(library):
        write(source(top, n), int(1024 * 1.6 ** choice.randrange(9)))


def compile_and_link(top, library):
    choice = random.Random(library)
    for n in members(library):
        for other in (n, *(choice.randrange(FILES) for _ in range(3))):
            source(top, other).read_bytes()
        write(source(top, n).with_suffix(".o"), 24576)
    for n in members(library):
        source(top, n).with_suffix(".o").read_bytes()
    write(top / f"lib{library}" / "lib.a", IN_FOLDER * 24576)


def build(device_mount, _):
    """A build: a tree of 3000 sources of 1 to 43 KiB is unpacked, and the filesystem mounted anew
    so that nothing is cached; 4 compilers read each source and 3 others (its headers) and write
    an object of 24 KiB; every 100 objects are read and written as one library; sync. Sources built
    a second, all of that together."""
    top = device_mount[1]
    libraries = range(FILES // IN_FOLDER)
    start = time.monotonic()
    in_processes(functools.partial(unpack, top), libraries)
    forget(device_mount)
    in_processes(functools.partial(compile_and_link, top), libraries)
    subprocess.run(["sync", "-f", top], check=True)
    told = FILES / (time.monotonic() - start)
    for library in libraries:
        shutil.rmtree(top / f"lib{library}")
    return told


WORKLOADS = {"mail": mail, "build": build}
