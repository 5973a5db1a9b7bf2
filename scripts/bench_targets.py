"""The targets of scripts/bench: volfs and its peers. A target makes images on a place; fio and loop
devices use all of them alike, by a path. Each peer has its fastest setting here whose
acknowledged data is as durable as with the others; a comment beside it names the setting."""

import contextlib
import os
import pathlib
import shutil
import subprocess
import time

from bench_lib import BUILD, MIB, Disk, Failed, Mount, fill, run

TOP = pathlib.Path(__file__).resolve().parent.parent
LIBFUSE_EXAMPLE = TOP / "build/libfuse-example/passthrough_hp"


class Skip(Exception):
    """This target or job cannot be had here; the text says why."""


def mounted(path):
    lines = pathlib.Path("/proc/self/mountinfo").read_text().splitlines()
    return str(path) in (line.split()[4] for line in lines)


@contextlib.contextmanager
def daemon(mountpoint, command):
    """A FUSE daemon in the foreground, until it has mounted; it unmounts when it is told to end. In
    a session of its own, as Ctrl-C is for the script, which ends it in its turn."""
    log = mountpoint.parent / f"{mountpoint.name}.log"
    with open(log, "w") as file:
        process = subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL,
                                   stdout=file, stderr=file, start_new_session=True)
    try:
        for _ in range(200):
            if mounted(mountpoint) or process.poll() is not None:
                break
            time.sleep(0.05)
        if not mounted(mountpoint):
            raise Skip(f"{command[0]} has not mounted: {log.read_text().strip()[-200:]}")
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if mounted(mountpoint):
            subprocess.run(["umount", "-l", mountpoint], check=False)
        log.unlink()


class Place:
    """A folder on tmpfs or on a disk, and the targets made there."""

    def __init__(self, name, folder, size_bytes, stack):
        self.name = name
        self.folder = folder
        self.size_bytes = size_bytes
        self.stack = stack
        self._volfs = None
        self._full = {}
        self._names = 0

    def new_name(self):
        self._names += 1
        return f"i{self._names}"

    def volfs(self):
        if not self._volfs:
            self._volfs = Mount([self.folder / "a"], self.folder / "mnt")
            self.stack.callback(self._volfs.unmount)
        return self._volfs

    def full_image(self, target):
        """Of which every block has been written to, and is used again for the next job."""
        if target.name not in self._full:
            raw = self.full_image(TARGETS["raw"]) if isinstance(target, View) else None
            path = self.stack.enter_context(target.image(self, raw))
            if not raw:
                fill(path, [(0, self.size_bytes)])
            self._full[target.name] = path
        return self._full[target.name]


class Target:
    """`image` gives the path of an empty image of the place's size; `snapshot`, of one that is full
    and of which a snapshot has just been made."""

    name = "raw"
    about = "a file on the same filesystem"
    needs: tuple[str, ...] = ()

    def check(self):
        for command in self.needs:
            if not shutil.which(command):
                raise Skip(f"there is no {command}")

    @contextlib.contextmanager
    def image(self, place, _raw=None):
        path = place.folder / f"{place.new_name()}.raw"
        with open(path, "wb") as file:
            file.truncate(place.size_bytes)
        try:
            yield path
        finally:
            path.unlink()

    def snapshot(self, place):
        raise Skip("has no snapshots")


class Volfs(Target):
    name = "volfs"
    about = "a volume on a node on the same filesystem"
    words = ""

    @contextlib.contextmanager
    def image(self, place, _raw=None):
        volfs, name = place.volfs(), place.new_name()
        try:
            volfs.ask("create", f"{name} {place.size_bytes}{self.words}")
        except OSError as refused:
            why = volfs.read("last_error").partition("\n")[0].partition('" ')[2]
            raise Skip(f"create{self.words} is refused: {why or refused.strerror}") from None
        try:
            yield volfs.image(name)
        finally:
            volfs.ask("delete", name)

    @contextlib.contextmanager
    def snapshot(self, place):
        with self.image(place) as path:
            fill(path, [(0, place.size_bytes)])
            place.volfs().ask("snapshot", f"{path.name} s")
            try:
                yield path
            finally:
                place.volfs().ask("delete", f"{path.name}@s")


class VolfsNative(Volfs):
    name = "volfs-native"
    about = "the same, made with io=native"
    words = " io=native"


class View(Target):
    """Shows a raw file: `raw`, or one of its own. `view` gives the path that shows it."""

    def view(self, place, raw):
        raise NotImplementedError

    @contextlib.contextmanager
    def image(self, place, raw=None):
        with contextlib.ExitStack() as stack:
            raw = raw or stack.enter_context(Target().image(place))
            yield stack.enter_context(self.view(place, raw))


class Libfuse(View):
    name = "libfuse"
    about = "libfuse's example passthrough_hp, without FUSE passthrough"

    def check(self):
        if not LIBFUSE_EXAMPLE.exists():
            raise Skip(f"there is no {LIBFUSE_EXAMPLE}: scripts/setup --bench could not build it")

    @contextlib.contextmanager
    def view(self, place, raw):
        mountpoint = place.folder / place.new_name()
        mountpoint.mkdir()
        # Each thread has a descriptor of /dev/fuse, as in volfs. Splice makes no difference here,
        # and passthrough_ll is no faster. Its caches stay on: they hold names, attributes and
        # buffered pages, and direct I/O goes to the file each time.
        with daemon(mountpoint, [LIBFUSE_EXAMPLE, "--nopassthrough", "--clone-fd", "--foreground",
                                 raw.parent, mountpoint]):
            yield mountpoint / raw.name
        mountpoint.rmdir()


class Nbd(View):
    name = "nbd"
    about = "nbdfuse on nbdkit's file plugin"
    needs = ("nbdkit", "nbdfuse")

    @contextlib.contextmanager
    def view(self, place, raw):
        mountpoint = place.folder / place.new_name()
        mountpoint.mkdir()
        with daemon(mountpoint, ["nbdfuse", "-C", "4", mountpoint / "nbd.img",
                                 "[", "nbdkit", "file", raw, "]"]):
            yield mountpoint / "nbd.img"
        mountpoint.rmdir()


# QEMU's file below the image is opened as its manual advises: past the page cache, with Linux's own
# asynchronous I/O. Of QEMU's ways (threads, io_uring, native; cached or not) this one reads
# fastest. It writes fastest through the page cache with io_uring, so limits refer to the faster of
# both.
DIRECT = ("cache.direct=on", "aio=native", "discard=unmap")
CACHED = ("cache.direct=off", "aio=io_uring", "discard=unmap")


@contextlib.contextmanager
def qemu(place, driver, file, base=None, how=DIRECT):
    """`base`: the qcow2 that `file` is over."""
    def node(prefix, driver, file):
        words = ["driver=" + driver, "discard=unmap", "file.driver=file", f"file.filename={file}",
                 *(f"file.{word}" for word in how)]
        return ",".join(prefix + word for word in words)

    mountpoint = place.folder / place.new_name()
    mountpoint.touch()
    blockdev = "node-name=image," + node("", driver, file)
    if base:
        blockdev += "," + node("backing.", driver, base)
    with daemon(mountpoint, [
            "qemu-storage-daemon", "--blockdev", blockdev, "--export",
            f"type=fuse,id=export,node-name=image,mountpoint={mountpoint},writable=on"]):
        yield mountpoint
    mountpoint.unlink()


class QemuRaw(View):
    name = "qemu-raw"
    about = "qemu-storage-daemon, raw"
    needs = ("qemu-storage-daemon",)

    @contextlib.contextmanager
    def view(self, place, raw):
        with qemu(place, "raw", raw) as path:
            yield path


class QemuQcow2(Target):
    name = "qemu-qcow2"
    about = "qemu-storage-daemon, qcow2, with direct I/O and aio=native"
    needs = ("qemu-storage-daemon", "qemu-img")
    how = DIRECT

    @contextlib.contextmanager
    def file(self, place):
        file = place.folder / f"{place.new_name()}.qcow2"
        run("qemu-img", "create", "-q", "-f", "qcow2", file, place.size_bytes)
        try:
            yield file
        finally:
            file.unlink()

    @contextlib.contextmanager
    def image(self, place, _raw=None):
        with self.file(place) as file, qemu(place, "qcow2", file, how=self.how) as path:
            yield path


class QemuCached(QemuQcow2):
    name = "qemu-cached"
    about = "the same, through the page cache and with io_uring"
    how = CACHED


class QemuInternal(QemuQcow2):
    name = "qemu-internal"
    about = "as qemu-qcow2, after an internal snapshot"

    @contextlib.contextmanager
    def snapshot(self, place):
        with self.file(place) as file:
            with qemu(place, "qcow2", file) as path:
                fill(path, [(0, place.size_bytes)])
            run("qemu-img", "snapshot", "-c", "s", file)
            with qemu(place, "qcow2", file) as path:
                yield path


class QemuExternal(QemuQcow2):
    name = "qemu-external"
    about = "a new qcow2 over another (an external snapshot)"

    @contextlib.contextmanager
    def snapshot(self, place):
        with self.file(place) as file:
            with qemu(place, "qcow2", file) as path:
                fill(path, [(0, place.size_bytes)])
            over = file.with_suffix(".over.qcow2")
            run("qemu-img", "create", "-q", "-f", "qcow2", "-b", file, "-F", "qcow2", over)
            try:
                with qemu(place, "qcow2", over, file) as path:
                    yield path
            finally:
                over.unlink()


class Reflink(Target):
    """A file on a filesystem that shares blocks, in a loop device with direct I/O on the place."""

    def __init__(self, kind):
        self.name = kind
        self.kind = kind
        self.about = f"a file on {kind}, in a loop device on the same filesystem"
        self.needs = (f"mkfs.{kind}",)

    @contextlib.contextmanager
    def image(self, place, _raw=None):
        disk = Disk(place.folder, place.new_name(), self.kind,
                    place.size_bytes * 5 // 2 + 512 * MIB)
        try:
            path = disk.path / "image"
            with open(path, "wb") as file:
                file.truncate(place.size_bytes)
            yield path
        finally:
            disk.remove()

    @contextlib.contextmanager
    def snapshot(self, place):
        with self.image(place) as path:
            fill(path, [(0, place.size_bytes)])
            run("cp", "--reflink=always", path, path.with_suffix(".s"))
            run("sync", "-f", path)
            yield path


TARGETS = {target.name: target for target in (
    Target(), Volfs(), VolfsNative(), Libfuse(), Nbd(), QemuRaw(), QemuQcow2(), QemuCached(),
    QemuInternal(), QemuExternal(), Reflink("xfs"), Reflink("btrfs"))}


def version(*command):
    try:
        return run(*command).splitlines()[0]
    except (Failed, OSError, IndexError):
        return "not there"


def machine():
    """The conditions that the figures depend on."""
    cpu = [line.partition(":")[2].strip() for line in open("/proc/cpuinfo")
           if line.startswith("model name")]
    packages = run("dpkg-query", "-W", "-f", "${Package} ${Version}\n").splitlines()
    wanted = ("fio", "qemu-system-common", "nbdkit", "libnbd-bin", "xfsprogs", "btrfs-progs",
              "libfuse3-3", "e2fsprogs")
    return {
        "kernel": os.uname().release, "cores": os.cpu_count(), "cpu": cpu[0] if cpu else "unknown",
        "memory_mib": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // MIB,
        "volfs": version(BUILD / "volfs", "--version"),
        "commit": version("git", "-C", TOP, "describe", "--always", "--dirty"),
        "packages": dict(line.split(" ") for line in packages if line.split(" ")[0] in wanted),
        "load_at_start": os.getloadavg()[0],
    }
