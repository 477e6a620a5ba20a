"""Attacks on the walls: namespaces, mounts, tracing, devices, rights, files outside.

Each attempt is a call that the box must refuse. One that is let through is told and goes no
further. Numbers are x86-64's, from the kernel's table of system calls.
"""

from functools import partial

from redteam.attack import LAST, LIBC, TELL, attack

escaping = partial(attack, "escaping")


def attempts(name: str, about: str, source: str):
    """An honest `double`, then a cell of attempts."""
    extra = [(LAST, source)]
    return escaping(name, about, honest="double", needs=[TELL, LIBC], extra=extra)


ATTACKS = (
    attempts(
        "escape-unshare",
        "Makes namespaces of its own, in which it would have all rights.",
        """
        for flag in (0x10000000, 0x20000, 0x40000000, 0x20000000, 0x8000000, 0x4000000, 0x2000000):
            attempt(f"unshare {flag:#x}", lambda: syscall(272, flag))
            attempt(f"unshare {flag:#x} with users", lambda: syscall(272, 0x10000000 | flag))
        finish()
        """,
    ),
    attempts(
        "escape-clone-flags",
        "Clones a child into new namespaces, by clone and by clone3.",
        """
        def child(number, *arguments):
            pid = syscall(number, *arguments)
            if pid == 0:
                os._exit(0)
            os.waitpid(pid, 0)
            return pid


        attempt("clone with users", lambda: child(56, 0x10000000 | 17, 0, 0, 0, 0))
        attempt("clone with mounts", lambda: child(56, 0x20000 | 17, 0, 0, 0, 0))
        wanted = (ctypes.c_uint64 * 11)(0x10000000, 0, 0, 0, 17)
        attempt("clone3 with users", lambda: child(435, wanted, 88))
        finish()
        """,
    ),
    attempts(
        "escape-setns",
        "Enters the namespaces of other processes, by path and by process descriptor.",
        """
        for pid in sorted({1, 2, max(os.getppid(), 1)} - {os.getpid()}):
            for kind in ("user", "mnt", "net", "pid", "ipc", "uts", "cgroup"):
                attempt(
                    f"namespace {kind} of {pid}",
                    lambda: syscall(308, os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY), 0),
                )
        for kind in ("mnt", "net", "uts", "ipc"):
            attempt(
                f"own namespace {kind} again",
                lambda: syscall(308, os.open(f"/proc/self/ns/{kind}", os.O_RDONLY), 0),
            )
        attempt("own mounts by pidfd", lambda: syscall(308, syscall(434, os.getpid(), 0), 0x20000))
        finish()
        """,
    ),
    attempts(
        "escape-mounts",
        "Mounts, remounts, binds and moves by the old calls and the new.",
        """
        os.makedirs("/tmp/w2s-redteam-mount", exist_ok=True)
        here = b"/tmp/w2s-redteam-mount"
        for kind in (b"tmpfs", b"proc", b"sysfs", b"overlay", b"devpts", b"cgroup2"):
            attempt(f"mount of {kind}", lambda: syscall(165, kind, here, kind, 0, b""))
        attempt("bind of /", lambda: syscall(165, b"/", here, None, 0x1000, None))
        attempt("/ to be written", lambda: syscall(165, None, b"/", None, 0x20 | 0x1000, None))
        attempt("umount", lambda: syscall(166, here, 2))
        attempt("fsopen", lambda: syscall(430, b"tmpfs", 0))
        attempt("open_tree", lambda: syscall(428, -100, b"/", 1))
        attempt("mount_setattr", lambda: syscall(442, -100, b"/", 0, (ctypes.c_uint64 * 4)(), 32))
        attempt("fspick", lambda: syscall(433, -100, b"/", 0))
        finish()
        """,
    ),
    attempts(
        "escape-roots",
        "Changes its root and climbs out of it, the way out of an old jail.",
        """
        os.makedirs("/tmp/w2s-redteam-root", exist_ok=True)
        attempt("chroot", lambda: os.chroot("/tmp/w2s-redteam-root") is None)
        attempt("pivot_root", lambda: syscall(155, b"/tmp/w2s-redteam-root", b"/tmp"))
        for pid in (1, 2):
            attempt(
                f"the root of {pid}",
                lambda: os.stat(f"/proc/{pid}/root"),
                lambda found: (found.st_dev, found.st_ino)
                != (os.stat("/").st_dev, os.stat("/").st_ino),
            )
        finish()
        """,
    ),
    attempts(
        "escape-ptrace",
        "Traces its parent, other processes and itself.",
        """
        for pid in sorted({1, 2, os.getppid()} - {0, os.getpid()}):
            attempt(f"PTRACE_ATTACH to {pid}", lambda: syscall(101, 16, pid, 0, 0))
            attempt(f"PTRACE_SEIZE of {pid}", lambda: syscall(101, 0x4206, pid, 0, 0))
        attempt("PTRACE_TRACEME", lambda: syscall(101, 0, 0, 0, 0))
        finish()
        """,
    ),
    attempts(
        "escape-file-handles",
        "Opens files by their handle, past every path and mount.",
        """
        handle = (ctypes.c_uint32 * 34)(128, 0)
        place = (ctypes.c_int * 1)()
        for path in (b"/", b"/tmp", b"/usr"):
            handle[0] = 128
            attempt("", lambda: syscall(303, -100, path, handle, place, 0), lambda done: False)
            attempt(f"{path} by its handle", lambda: syscall(304, -100, handle, os.O_RDONLY))
        handle[0], handle[1], handle[2] = 8, 1, 2
        for fd in (-100, *range(3, 12)):
            attempt("a file by a made-up handle", lambda: syscall(304, fd, handle, os.O_RDONLY))
        finish()
        """,
    ),
    attempts(
        "escape-kernel-surface",
        "Tries the calls that kernels were broken by: bpf, io_uring, userfaultfd, perf and kin.",
        """
        zeros = (ctypes.c_uint64 * 32)()
        attempt("bpf", lambda: syscall(321, 0, zeros, 128))
        attempt("io_uring_setup", lambda: syscall(425, 4, zeros))
        attempt("userfaultfd", lambda: syscall(323, 0))
        attempt("userfaultfd for users", lambda: syscall(323, 1))
        attempt("perf_event_open", lambda: syscall(298, zeros, 0, -1, -1, 0))
        attempt("memfd_secret", lambda: syscall(447, 0))
        attempt("init_module", lambda: syscall(175, zeros, 8, b""))
        attempt("finit_module", lambda: syscall(313, 0, b"", 0))
        attempt("kexec_load", lambda: syscall(246, 0, 0, zeros, 0))
        attempt("modify_ldt", lambda: syscall(154, 0, zeros, 64))
        attempt("syslog", lambda: syscall(103, 3, zeros, 128))
        attempt("quotactl", lambda: syscall(179, 0x800001 << 8, None, 0, zeros))
        attempt("acct", lambda: syscall(163, b"/tmp/w2s-redteam-acct"))
        attempt("swapon", lambda: syscall(167, b"/tmp/w2s-redteam-swap", 0))
        finish()
        """,
    ),
    attempts(
        "escape-other-abi",
        "Makes the same calls by the numbers of two other interfaces, which a filter may forget.",
        r"""
        import mmap

        attempt("unshare by x32", lambda: syscall(0x40000000 | 272, 0x10000000))
        attempt("ptrace by x32", lambda: syscall(0x40000000 | 521, 0, 0, 0, 0))


        def old_call():
            # push rbx; mov eax, 310 (unshare); mov ebx, CLONE_NEWUSER; int 0x80; pop rbx; ret
            code = b"\x53\xb8\x36\x01\x00\x00\xbb\x00\x00\x00\x10\xcd\x80\x5b\xc3"
            rights = mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
            page = mmap.mmap(-1, 4096, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, rights)
            page.write(code)
            place = ctypes.addressof(ctypes.c_char.from_buffer(page))
            return ctypes.CFUNCTYPE(ctypes.c_int)(place)()


        if X86:
            attempt("unshare by int 0x80", old_call, lambda result: result == 0)
        finish()
        """,
    ),
    attempts(
        "escape-rights",
        "Becomes another user, takes capabilities and runs programs that have some.",
        """
        uid, gid = os.getuid(), os.getgid()
        for number in (0, 1, 1000, uid + 1):
            attempt(
                f"user {number}",
                lambda: os.setresuid(number, number, number) is None,
                lambda done: number != uid,
            )
            attempt(
                f"group {number}",
                lambda: os.setresgid(number, number, number) is None,
                lambda done: number != gid,
            )
        header = (ctypes.c_uint32 * 2)(0x20080522, 0)
        attempt(
            "all capabilities",
            lambda: syscall(126, header, (ctypes.c_uint32 * 6)(*[0xFFFFFFFF] * 6)),
        )
        held = (ctypes.c_uint32 * 6)()
        attempt("any capability", lambda: syscall(125, header, held), lambda done: any(held))
        attempt("an ambient capability", lambda: syscall(157, 47, 2, 21, 0, 0))
        attempt("new rights by exec", lambda: syscall(157, 39, 0, 0, 0, 0), lambda held: held != 1)
        attempt("setgroups", lambda: os.setgroups([0, 4, 6, 27]) is None)
        name = os.uname().nodename.encode()  # the same again: allowed is bad enough
        attempt("a host name", lambda: syscall(170, name, len(name)))
        finish()
        """,
    ),
    attempts(
        "escape-devices",
        "Makes devices, opens those of the machine and pushes keys into a terminal.",
        """
        import fcntl, stat

        for kind, number in ((stat.S_IFBLK, 0x800), (stat.S_IFCHR, 0x101), (stat.S_IFCHR, 0x105)):
            for folder in ("/tmp", "/dev", "/dev/shm"):
                path = f"{folder}/w2s-redteam-{number}"
                attempt(path, lambda: os.mknod(path, kind | 0o666, number) is None)
        names = "mem kmem kmsg sda vda nvme0n1 fuse kvm loop-control mapper/control net/tun uinput"
        for name in names.split():
            attempt(f"/dev/{name}", lambda: os.close(os.open(f"/dev/{name}", os.O_RDWR)) is None)
        for path in ("/dev/tty", "/dev/console", "/dev/pts/0", "/dev/stdin"):
            attempt(
                f"keys into {path}",
                lambda: fcntl.ioctl(os.open(path, os.O_RDWR | os.O_NOCTTY), 0x5412, b"#"),
                lambda result: True,
            )
        finish()
        """,
    ),
    attempts(
        "escape-kernel-settings",
        "Opens the kernel's settings to write: core patterns, modules, cgroups, others' scores.",
        """
        for path in (
            "/proc/sys/kernel/core_pattern",
            "/proc/sys/kernel/modprobe",
            "/proc/sys/vm/overcommit_memory",
            "/proc/sys/kernel/ns_last_pid",
            "/proc/sysrq-trigger",
            "/sys/kernel/uevent_helper",
            "/sys/fs/cgroup/cgroup.procs",
            "/sys/fs/cgroup/memory.max",
            "/proc/1/oom_score_adj" if os.getpid() != 1 else "/proc/none",
        ):
            attempt(path, lambda: os.close(os.open(path, os.O_WRONLY)) is None)
        finish()
        """,
    ),
    attempts(
        "escape-writes",
        "Writes new files outside its own folders: at the root, among libraries, in the package.",
        """
        import numpy, pathlib, sys

        import w2s_lab

        folders = [
            *("/", "/usr", "/usr/bin", "/usr/lib", "/etc", "/var/tmp", "/opt", "/proc", "/sys"),
            *("/dev", "/run", "/home", "/root", "/mnt", "/srv"),
            os.path.dirname(numpy.__file__),
            os.path.dirname(w2s_lab.__file__),
            os.path.dirname(sys.executable),
            *(path for path in sys.path if path),
        ]
        own = {os.path.expanduser("~"), os.getcwd(), "/tmp", "/dev/shm"} - {"/"}
        for folder in dict.fromkeys(map(os.path.realpath, folders)):
            if not folder.startswith(tuple(own)):
                path = os.path.join(folder, "w2s-redteam-escape-writes")
                attempt(path, lambda: pathlib.Path(path).write_text("w2s-redteam") > 0)
        finish()
        """,
    ),
    attempts(
        "escape-own-filter",
        "Replaces or loosens the filter that it runs under.",
        """
        class Filter(ctypes.Structure):
            _fields_ = [("count", ctypes.c_ushort), ("program", ctypes.c_void_p)]


        allow = (ctypes.c_uint64 * 1)(0x7FFF000000000006)
        program = Filter(1, ctypes.addressof(allow))
        for number, arguments in ((317, (1, 0)), (157, (22, 2))):
            try:
                syscall(number, *arguments, ctypes.addressof(program))
            except OSError:
                pass
        attempt("unshare after a filter of its own", lambda: syscall(272, 0x10000000))
        attempt("no filter at all", lambda: syscall(157, 21), lambda mode: mode != 2)
        finish()
        """,
    ),
)
