"""The contents of scripts/soak. Each block of 4 KiB says in all of its eight sectors
whose it is: volume, block, writer, sequence, check sum. A sequence is a tick of one clock, and each
block has one writer, so a read may find an interval: from the last write that is known to
be in the image to the last one that was begun."""

import array
import collections
import itertools
import mmap
import os
import random
import struct
import threading
import time
import zlib

BLOCK = 4096
SECTOR = 512
MAGIC = b"soak\0\1\2\3"
HEAD = struct.Struct("<8sQQQQQ")
CRC = struct.Struct("<I")
ZEROS = bytes(BLOCK)
PUNCH = 1 | 2  # FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE

_ticks = itertools.count(1)


def now():
    return next(_ticks)


class Wrong(Exception):
    """Contents that must not be."""


def stamp(volume, block, writer, sequence):
    filler = bytes([sequence & 255 | 1]) * (SECTOR - HEAD.size - CRC.size)
    parts: list[bytes] = []
    for sector in range(BLOCK // SECTOR):
        body = HEAD.pack(MAGIC, volume, block, writer, sequence, sector) + filler
        parts += (body, CRC.pack(zlib.crc32(body)))
    return b"".join(parts)


def stamp_of(data, where):
    """(volume, block, writer, sequence) of one whole block; None: zeros."""
    if data == ZEROS:
        return None
    magic, *who, _ = HEAD.unpack_from(data)
    if magic != MAGIC or data != stamp(*who):
        raise Wrong(f"{where}: neither a whole block nor zeros: {bytes(data[:48]).hex()}")
    return tuple(who)


def sequences(data, volume, block, where):
    """Of each sector of one block, which a crash may have torn; 0: zeros."""
    found = []
    for sector in range(BLOCK // SECTOR):
        part = data[sector * SECTOR:(sector + 1) * SECTOR]
        if part == ZEROS[:SECTOR]:
            found.append(0)
            continue
        magic, of, at, writer, sequence, number = HEAD.unpack_from(part)
        whole = stamp(of, at, writer, sequence)[sector * SECTOR:(sector + 1) * SECTOR]
        if magic != MAGIC or (of, at, number) != (volume, block, sector) or part != whole:
            raise Wrong(f"{where}, block {block}, sector {sector}: not a sector of its own: "
                        f"{bytes(part[:48]).hex()}")
        found.append(sequence)
    return found


def read_all(path):
    with open(path, "rb", buffering=0) as file:
        parts = []
        while part := file.read(1 << 20):
            parts.append(part)
    return b"".join(parts)


class Latencies:
    """Of writes until they are durable, in seconds, since the last look."""

    def __init__(self):
        self._seconds = []
        self._lock = threading.Lock()

    def add(self, seconds):
        with self._lock:
            self._seconds.append(seconds)

    def take(self):
        with self._lock:
            taken, self._seconds = self._seconds, []
        return taken


class Image:
    """A volume of stamped blocks, with one writer, and its knowledge of each of them."""

    WAYS = {"buffered": 0, "direct": os.O_DIRECT, "dsync": os.O_DSYNC,
            "direct-dsync": os.O_DIRECT | os.O_DSYNC, "mmap": 0}

    def __init__(self, number, way, blocks, latencies):
        self.number = number
        self.way = way
        self.name = f"{way}.img"
        self.blocks = blocks
        self.latencies = latencies
        # For each block the writes that were begun, acknowledged and durable. A discard is a write
        # of zeros.
        self.issued, self.acked, self.synced = (array.array("Q", bytes(8 * blocks))
                                                for _ in range(3))
        self.discards = collections.defaultdict(list)
        self.written = 0

    def marks(self):
        """The least that an instant has if it is asked for from now on."""
        return self.acked[:]

    def check(self, contents, least, most, where, discards=None):
        """An instant, or the image itself: whole blocks from `least` to `most`. Returns the stamps."""
        if len(contents) != self.blocks * BLOCK:
            raise Wrong(f"{where}: {len(contents)} bytes")
        discards = self.discards if discards is None else discards
        found = []
        for block in range(self.blocks):
            who = stamp_of(contents[block * BLOCK:(block + 1) * BLOCK], f"{where}, block {block}")
            found.append(who)
            low, high = least[block], most[block]
            if who is None:
                if low and not any(low <= d <= high for d in discards.get(block, ())):
                    raise Wrong(f"{where}, block {block}: zeros instead of {low} to {high}")
            elif who[:2] != (self.number, block) or not low <= who[3] <= high:
                raise Wrong(f"{where}, block {block}: {who} instead of {low} to {high}")
        return found

    def check_after_crash(self, contents):
        """Durable contents are there, or newer ones. The contents found count from then on."""
        where = f"{self.name} after a crash"
        for block in range(self.blocks):
            data = contents[block * BLOCK:(block + 1) * BLOCK]
            found = sequences(data, self.number, block, where)
            low, high = self.synced[block], self.issued[block]
            zeros = [d for d in self.discards.get(block, ()) if low <= d <= high]
            for sequence in found:
                if sequence == 0 and (low == 0 or zeros):
                    continue
                if not low <= sequence <= high:
                    raise Wrong(f"{where}, block {block}: {sequence} instead of {low} to {high}")
            if 0 in found:
                least = min([s for s in found if s] + (zeros or [0]))
            else:
                least = min(found)
            torn = len(set(found)) > 1
            self.synced[block] = self.acked[block] = least
            if not torn and 0 not in found:
                self.issued[block] = least
                self.discards.pop(block, None)

    def work(self, path, stop, seed):
        """The writer, until `stop` or an error, which is its caller's."""
        dice = random.Random(seed)
        file = os.open(path, os.O_RDWR | self.WAYS[self.way])
        view = mmap.mmap(file, self.blocks * BLOCK) if self.way == "mmap" else None
        page = mmap.mmap(-1, 16 * BLOCK)  # aligned, as O_DIRECT wants it
        try:
            dirty: set[int] = set()
            while not stop.is_set():
                began = time.monotonic()
                first = dice.randrange(self.blocks)
                blocks = range(first, min(first + dice.choice((1, 1, 1, 2, 16)), self.blocks))
                if view is not None:
                    self._write_mapped(view, blocks)
                elif dice.random() < 0.02:
                    self._discard(file, blocks)
                    dirty.update(blocks)
                else:
                    self._write(file, page, blocks)
                    if self.WAYS[self.way] & os.O_DSYNC:
                        self._durable(blocks)
                    else:
                        dirty.update(blocks)
                if self.WAYS[self.way] & os.O_DSYNC or view is not None:
                    self.latencies.add(time.monotonic() - began)
                if len(dirty) > 64 or (dirty and dice.random() < 0.05):
                    self._sync(file, dirty)
                    dirty.clear()
                self.written += len(blocks)
                stop.wait(0.004)
        finally:
            if view is not None:
                try:
                    view.close()
                except OSError:
                    pass
            os.close(file)

    def _begin(self, blocks):
        for block in blocks:
            self.issued[block] = now()

    def _stamps(self, blocks):
        return b"".join(stamp(self.number, b, self.number, self.issued[b]) for b in blocks)

    def _write(self, file, page, blocks):
        self._begin(blocks)
        data = self._stamps(blocks)
        page[:len(data)] = data
        with memoryview(page) as whole, whole[:len(data)] as part:
            done = os.pwrite(file, part, blocks[0] * BLOCK)
        if done != len(data):
            raise OSError(5, f"a write of {len(data)} bytes took {done}")
        for block in blocks:
            self.acked[block] = self.issued[block]

    def _write_mapped(self, view, blocks):
        self._begin(blocks)
        start, end = blocks[0] * BLOCK, (blocks[-1] + 1) * BLOCK
        view[start:end] = self._stamps(blocks)
        view.flush(start, end - start)
        self._durable(blocks)

    def _discard(self, file, blocks):
        self._begin(blocks)
        for block in blocks:
            self.discards[block].append(self.issued[block])
        fallocate(file, PUNCH, blocks[0] * BLOCK, len(blocks) * BLOCK)
        for block in blocks:
            self.acked[block] = self.issued[block]

    def _sync(self, file, dirty):
        marks = {block: self.acked[block] for block in dirty}
        began = time.monotonic()
        os.fsync(file)
        self.latencies.add(time.monotonic() - began)
        for block, sequence in marks.items():
            self.synced[block] = sequence
            if block in self.discards:
                del self.discards[block][:-32]  # an instant that is checked now is not older than those

    def _durable(self, blocks):
        for block in blocks:
            self.acked[block] = self.synced[block] = self.issued[block]


def fallocate(file, mode, offset, length):
    import ctypes
    libc = ctypes.CDLL(None, use_errno=True)
    libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
    if libc.fallocate(file, mode, offset, length) != 0:
        raise OSError(ctypes.get_errno(), "fallocate")


class Files:
    """Files of stamped blocks in a filesystem on a loop device over a volume. Each is replaced as a
    whole: written beside, synced, renamed, its folder synced."""

    COUNT = 24
    BLOCKS = 16

    def __init__(self, number, kind, latencies):
        self.number = number
        self.kind = kind
        self.name = f"{kind}.img"
        self.issued = [0] * self.COUNT
        self.durable = [0] * self.COUNT
        self.latencies = latencies
        self.written = 0

    def work(self, folder, stop, seed):
        dice = random.Random(seed)
        root = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            while not stop.is_set():
                which = dice.randrange(self.COUNT)
                sequence = self.issued[which] = now()
                beside = os.path.join(folder, "beside")
                file = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
                try:
                    os.write(file, b"".join(stamp(self.number, which * self.BLOCKS + i, 0, sequence)
                                            for i in range(self.BLOCKS)))
                    os.fsync(file)
                finally:
                    os.close(file)
                os.rename(beside, os.path.join(folder, f"f{which}"))
                os.fsync(root)
                self.durable[which] = sequence
                self.written += self.BLOCKS
                stop.wait(0.03)
        finally:
            os.close(root)

    def check(self, folder, least, where):
        """Each file is whole, and as new as it was durable; contents count if `least` is."""
        found = []
        for which in range(self.COUNT):
            path = os.path.join(folder, f"f{which}")
            if not os.path.exists(path):
                if least[which]:
                    raise Wrong(f"{where}: f{which} is missing, which had {least[which]}")
                found.append(0)
                continue
            data = read_all(path)
            stamps = {(who[0], who[1] - i, who[3]) if who else None
                      for i in range(self.BLOCKS)
                      for who in [stamp_of(data[i * BLOCK:(i + 1) * BLOCK], f"{where}: f{which}")]}
            if len(data) != self.BLOCKS * BLOCK or len(stamps) != 1 or None in stamps:
                raise Wrong(f"{where}: f{which} has {len(data)} bytes of {stamps}")
            (volume, first, sequence), = filter(None, stamps)
            if (volume, first) != (self.number, which * self.BLOCKS) or \
                    not least[which] <= sequence <= self.issued[which]:
                raise Wrong(f"{where}: f{which} is {volume}, {first}, {sequence} instead of "
                            f"{least[which]} to {self.issued[which]}")
            found.append(sequence)
        return found

