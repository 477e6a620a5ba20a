"""How a process leaves everything behind before it runs a student's code. Runs inside the box.

bubblewrap has made the box: no network, no host files, read-only. In it each submission gets
namespaces and files of its own, so that one warmed process can serve a whole class and carries
nothing from one student to the next (namespaces(7), capabilities(7), seccomp(2)).
"""

import ctypes
import json
import os
import random
import resource
import sys
from collections.abc import Mapping

from w2s_lab.teach.grading import seccomp

HOME = "/student"
ASSETS = "/assets"
COVERED = "W2S_COVERED"  # where to find again what private files cover: {kept: path}, as JSON
PRIVATE = ("/tmp", HOME, "/dev/shm")  # what can be written, each its own small file system
FIRST_UID = 61_000  # as root: a user of its own for each place in the class
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT = 1, 2, 4, 8, 32
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 1 << 18
CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x20000, 0x4000000, 0x8000000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
PR_CAPBSET_DROP, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL = 24, 47, 4
CAPABILITY_VERSION_3 = 0x20080522
LIBC = ctypes.CDLL(None, use_errno=True)


def leave() -> None:
    """Moves this process's children into namespaces of their own; needs no privilege but root's.

    An ordinary user gets a user namespace as well, and in it the right to mount. There the number
    of processes is counted apart from those of everybody else.

    Raises:
        OSError: the kernel refuses.
    """
    flags = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID | CLONE_NEWNET
    user, group = os.geteuid(), os.getegid()
    if user == 0:
        _done(LIBC.unshare(flags), "unshare")
        return
    _done(LIBC.unshare(flags | CLONE_NEWUSER), "unshare")
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{user} {user} 1"),
        ("gid_map", f"{group} {group} 1"),
    ):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)


def settle(place: int, limits: Mapping[str, int]) -> None:
    """Private files, limits, no rights: after this the process may run a student's code.

    Args:
        place: which of the submissions that run at the same time this is; as root it gets a user
            of its own.
        limits: `files_mb` in each private folder, `data_mb` of one process, `processes`,
            `cpu_seconds` of one process.
    """
    _done(LIBC.mount(None, b"/", None, MS_REC | MS_PRIVATE, None), "mount /")
    options = f"size={limits['files_mb']}m,nr_inodes=20000,mode=1777".encode()
    for folder in PRIVATE:
        path = folder.encode()
        _done(LIBC.mount(b"tmpfs", path, b"tmpfs", MS_NOSUID | MS_NODEV, options), folder)
    for kept, covered in json.loads(os.environ.pop(COVERED, "{}")).items():
        os.makedirs(covered, mode=0o755)
        _done(LIBC.mount(kept.encode(), covered.encode(), None, MS_BIND | MS_REC, None), covered)
    # Mapped and shared, /dev/zero would be memory that nobody is charged for
    _done(LIBC.mount(b"/dev/null", b"/dev/zero", None, MS_BIND, None), "/dev/zero")
    flags = MS_NOSUID | MS_NODEV | MS_NOEXEC
    _done(LIBC.mount(b"proc", b"/proc", b"proc", flags, None), "/proc")
    _done(LIBC.mount(b"/proc/sys", b"/proc/sys", None, MS_BIND, None), "/proc/sys")
    read_only = MS_BIND | MS_REMOUNT | MS_RDONLY | flags
    _done(LIBC.mount(None, b"/proc/sys", None, read_only, None), "/proc/sys")
    _link_assets()
    os.chdir(HOME)
    _limit(limits)
    _drop_bounding_set()  # needs a right that the next lines take away
    if os.geteuid() == 0:
        user = FIRST_UID + place
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    _drop_capabilities()
    seccomp.install()
    reseed()


def _link_assets() -> None:
    """The course's models and data, read-only, in a cache whose other folders can be written."""
    if not os.path.isdir(ASSETS):
        return
    cache = os.environ["W2S_CACHE"]
    os.makedirs(cache, mode=0o777)
    os.chmod(os.path.dirname(cache), 0o777)
    os.chmod(cache, 0o777)
    for name in os.listdir(ASSETS):
        os.symlink(f"{ASSETS}/{name}", f"{cache}/{name}")


def limit_self(limits: Mapping[str, int]) -> None:
    """The limits alone, where there is no box."""
    _limit(limits)
    reseed()


def limit_judge(data_mb: int, cpu_seconds: int) -> None:
    """A judge runs no student's code, but what it is sent must not fill the machine, nor keep it
    busy when nobody waits for the verdict any more.
    """
    resource.setrlimit(resource.RLIMIT_DATA, (data_mb << 20, data_mb << 20))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds))
    reseed()


def reseed() -> None:
    """Chance of its own: a forked process would repeat its parent's draws."""
    random.seed()
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed()
    if torch := sys.modules.get("torch"):
        torch.seed()


def _limit(limits: Mapping[str, int]) -> None:
    megabyte = 1 << 20
    for kind, most in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NPROC, limits["processes"]),
        (resource.RLIMIT_NOFILE, 256),
        (resource.RLIMIT_FSIZE, limits["files_mb"] * megabyte),
        (resource.RLIMIT_DATA, limits["data_mb"] * megabyte),  # torch reserves far more addresses
        (resource.RLIMIT_CPU, limits["cpu_seconds"]),
        (resource.RLIMIT_MSGQUEUE, 0),
        (resource.RLIMIT_MEMLOCK, 0),
    ):
        resource.setrlimit(kind, (most, most))


def _drop_bounding_set() -> None:
    for capability in range(64):
        if LIBC.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0):
            break  # past the last one that this kernel knows


def _drop_capabilities() -> None:
    LIBC.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    _done(LIBC.capset(header, (ctypes.c_uint32 * 6)()), "capset")


def _done(failed: int, what: str) -> None:
    if failed:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)
