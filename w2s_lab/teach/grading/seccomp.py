"""A filter that takes away the system calls which no exercise needs.

It does not isolate by itself: files, network and memory are the box's concern. Standard library
only, since it runs inside the box; Linux on x86_64 and aarch64.
Source: Linux, Documentation/userspace-api/seccomp_filter.rst; seccomp(2); filter.h, seccomp.h.
"""

import ctypes
import errno
import platform
import struct
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

MACHINE = platform.machine()
AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}  # include/uapi/linux/audit.h
X32 = 0x40000000  # x86_64 takes the same calls again with this bit set

# Since Linux 5.1 a new call has one number everywhere.
# Source: scripts/syscall.tbl, arch/x86/entry/syscalls/syscall_64.tbl
NEW = {
    "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427, "open_tree": 428,
    "move_mount": 429, "fsopen": 430, "fsconfig": 431, "fsmount": 432, "fspick": 433,
    "clone3": 435, "pidfd_getfd": 438, "process_madvise": 440, "mount_setattr": 442,
    "quotactl_fd": 443, "memfd_secret": 447, "process_mrelease": 448, "open_tree_attr": 467,
}  # fmt: skip
NUMBERS = {
    # Source: arch/x86/entry/syscalls/syscall_64.tbl
    "x86_64": NEW | {
        "mmap": 9, "ioctl": 16, "shmget": 29, "shmat": 30, "socket": 41, "socketpair": 53,
        "clone": 56, "semget": 64, "msgget": 68, "ptrace": 101, "syslog": 103, "personality": 135,
        "vhangup": 153, "modify_ldt": 154, "pivot_root": 155, "adjtimex": 159,
        "chroot": 161, "acct": 163, "settimeofday": 164, "mount": 165, "umount2": 166,
        "swapon": 167, "swapoff": 168, "reboot": 169, "sethostname": 170, "setdomainname": 171,
        "iopl": 172, "ioperm": 173, "init_module": 175, "delete_module": 176, "quotactl": 179,
        "nfsservctl": 180, "lookup_dcookie": 212, "clock_settime": 227, "kexec_load": 246,
        "add_key": 248, "request_key": 249, "keyctl": 250, "migrate_pages": 256, "unshare": 272,
        "move_pages": 279, "perf_event_open": 298, "fanotify_init": 300, "name_to_handle_at": 303,
        "open_by_handle_at": 304, "clock_adjtime": 305, "setns": 308, "process_vm_readv": 310,
        "process_vm_writev": 311, "kcmp": 312, "finit_module": 313, "seccomp": 317,
        "memfd_create": 319, "kexec_file_load": 320, "bpf": 321, "userfaultfd": 323,
    },
    # Source: include/uapi/asm-generic/unistd.h, which arm64 uses
    "aarch64": NEW | {
        "lookup_dcookie": 18, "ioctl": 29, "umount2": 39, "mount": 40, "pivot_root": 41,
        "nfsservctl": 42, "chroot": 51, "vhangup": 58, "quotactl": 60, "acct": 89,
        "personality": 92, "unshare": 97, "kexec_load": 104, "init_module": 105,
        "delete_module": 106, "clock_settime": 112, "syslog": 116, "ptrace": 117, "reboot": 142,
        "sethostname": 161, "setdomainname": 162, "settimeofday": 170, "adjtimex": 171,
        "msgget": 186, "semget": 190, "shmget": 194, "shmat": 196, "socket": 198,
        "socketpair": 199, "mmap": 222, "add_key": 217, "request_key": 218, "keyctl": 219,
        "clone": 220, "swapon": 224, "swapoff": 225, "migrate_pages": 238, "move_pages": 239,
        "perf_event_open": 241, "fanotify_init": 262, "name_to_handle_at": 264,
        "open_by_handle_at": 265, "clock_adjtime": 266, "setns": 268, "process_vm_readv": 270,
        "process_vm_writev": 271, "kcmp": 272, "finit_module": 273, "seccomp": 277,
        "memfd_create": 279, "bpf": 280, "userfaultfd": 282, "kexec_file_load": 294,
    },
}  # fmt: skip
ALLOWED = {"seccomp"}  # a further filter can only take more away; `install` needs the number
# ENOSYS says "this kernel is too old": libc then takes clone, whose flags can be looked at, and
# libraries take a file. What lies in a memfd or in System V's objects need not be in any process'
# memory, so that no watch would see it; files in /dev/shm have a limit.
UNKNOWN = {"clone3", "memfd_create", "shmget", "shmat", "msgget", "semget"}
LOOKED_AT = {
    "clone": "clone", "socket": "family", "socketpair": "family", "ioctl": "ioctl", "mmap": "mmap",
}  # fmt: skip

# sched.h: CLONE_NEWTIME, NEWNS, NEWCGROUP, NEWUTS, NEWIPC; NEWUSER, NEWPID and NEWNET
NAMESPACES = 0x80 | 0x20000 | 0x2000000 | 0x4000000 | 0x8000000 | 0x70000000
FAMILIES = (1, 2, 10)  # socket.h: AF_UNIX, AF_INET, AF_INET6
MAP_SHARED, MAP_ANONYMOUS = 0x01, 0x20  # asm-generic/mman-common.h
TERMINAL = (0x5412, 0x541C)  # asm-generic/ioctls.h: TIOCSTI, TIOCLINUX write to a terminal's input

# linux/bpf_common.h and seccomp.h
LOAD, IS, AT_LEAST, ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
ALLOW, ERRNO, KILL_PROCESS = 0x7FFF0000, 0x00050000, 0x80000000
NR, ARCH = 0, 4  # where in struct seccomp_data
# Linux'; `errno` has those of the machine it runs on
EPERM, ENOMEM, ENOSYS, EAFNOSUPPORT = 1, 12, 38, 97
PR_SET_NO_NEW_PRIVS, SET_MODE_FILTER, TSYNC = 38, 1, 1


@dataclass(frozen=True)
class Op:
    """One instruction; `yes` and `no` are labels to go on at, "" the next instruction."""

    code: int
    k: int
    yes: str = ""
    no: str = ""


def program(machine: str = MACHINE) -> bytes:
    """The filter for a processor: struct sock_filter, 8 bytes each, as seccomp(2) takes it.

    Everything is allowed but what stands in `NUMBERS`. A call in the name of another processor
    (32-bit code) ends the process.

    Args:
        machine: "x86_64" or "aarch64".

    Raises:
        OSError: no filter is written for this processor.
    """
    if machine not in NUMBERS:
        raise OSError(errno.ENOSYS, f"no seccomp filter is written for {machine!r}")
    return _assembled(list(_listing(machine)))


def install() -> None:
    """Puts the filter on all threads of this process and on what they start; for good.

    Raises:
        OSError: this machine has no filter, or the kernel refuses it.
    """
    if sys.platform != "linux":
        raise OSError(errno.ENOSYS, "seccomp is there on Linux only")
    code = program()
    libc = ctypes.CDLL(None, use_errno=True)
    long = ctypes.c_long  # what a variadic function is given has to be as wide as a register
    if libc.prctl(long(PR_SET_NO_NEW_PRIVS), long(1), long(0), long(0), long(0)):
        raise OSError(ctypes.get_errno(), "prctl refuses no_new_privs")
    kept = ctypes.create_string_buffer(code, len(code))  # while the kernel copies it
    # struct sock_fprog: how many instructions, and where
    about = struct.pack("@HP", len(code) // 8, ctypes.addressof(kept))
    number = NUMBERS[MACHINE]["seccomp"]
    got = libc.syscall(long(number), long(SET_MODE_FILTER), long(TSYNC), ctypes.c_char_p(about))
    if got > 0:  # a thread's id: it has a filter of its own
        raise OSError(errno.EBUSY, f"thread {got} cannot take the seccomp filter")
    if got:
        raise OSError(ctypes.get_errno(), "the kernel refuses the seccomp filter")


def _listing(machine: str) -> Iterator[Op | str]:
    """The program line by line; a string is a label."""
    numbers = NUMBERS[machine]
    yield Op(LOAD, ARCH)
    yield Op(IS, AUDIT_ARCH[machine], no="kill")
    yield Op(LOAD, NR)
    if machine == "x86_64":
        yield Op(AT_LEAST, X32, yes="unknown")
    for name, number in numbers.items():
        if name not in ALLOWED:
            goal = "unknown" if name in UNKNOWN else LOOKED_AT.get(name, "refuse")
            yield Op(IS, number, yes=goal)
    yield Op(RETURN, ALLOW)

    # Of these arguments only the lower 32 bits count, and the kernel drops the rest, so the upper
    # half must not be looked at: a bit set there would get a forbidden value through
    # (CVE-2019-7303).
    yield from ("clone", _argument(0), Op(ANY_BIT, NAMESPACES, "refuse", "allow"))
    yield from ("family", _argument(0))
    yield from (Op(IS, family, yes="allow") for family in FAMILIES)
    yield Op(RETURN, ERRNO | EAFNOSUPPORT)
    # Pages shared without a file stay when madvise(2) takes them out of a process' memory.
    yield from ("mmap", _argument(3), Op(ANY_BIT, MAP_SHARED, no="allow"))
    yield from (Op(ANY_BIT, MAP_ANONYMOUS, no="allow"), Op(RETURN, ERRNO | ENOMEM))
    yield from ("ioctl", _argument(1))
    yield from (Op(IS, request, yes="refuse") for request in TERMINAL)

    yield from ("allow", Op(RETURN, ALLOW))
    yield from ("refuse", Op(RETURN, ERRNO | EPERM))
    yield from ("unknown", Op(RETURN, ERRNO | ENOSYS))
    yield from ("kill", Op(RETURN, KILL_PROCESS))


def _argument(place: int) -> Op:
    """Loads the lower half of an argument; both processors store it first."""
    return Op(LOAD, 16 + 8 * place)


def _assembled(listing: Sequence[Op | str]) -> bytes:
    places: dict[str, int] = {}
    ops: list[Op] = []
    for line in listing:
        if isinstance(line, str):
            places[line] = len(ops)
        else:
            ops.append(line)
    code = b""
    for here, op in enumerate(ops):
        # struct.error where a label is above, or further below than 255
        skips = [places[goal] - here - 1 if goal else 0 for goal in (op.yes, op.no)]
        code += struct.pack("<HBBI", op.code, *skips, op.k)
    return code
