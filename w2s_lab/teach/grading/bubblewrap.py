"""The command line of the box: bubblewrap with no network, no host files but Python's, no rights.

Source: bwrap(1). What still has to be done inside, for each submission, is in `isolation`.
"""

import json
import os
import shutil
import sys
from pathlib import Path

from w2s_lab.assets import cache_dir
from w2s_lab.errors import W2SError
from w2s_lab.teach.grading.isolation import ASSETS, COVERED, HOME, PRIVATE

CACHED = (
    "assets",
    "converted",
    "tasks",
    "shortcuts",
)  # of the cache; results are nobody's business
ENVIRONMENT = {
    "PATH": "/usr/bin:/bin",
    "HOME": HOME,
    "LANG": "C.UTF-8",
    "IPYTHONDIR": "/tmp/ipython",
    "MPLBACKEND": "agg",
    "MPLCONFIGDIR": "/tmp/matplotlib",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_OFFLINE": "1",
    "W2S_CACHE": f"{HOME}/.cache/w2s-lab",
    "W2S_QUIET": "1",
}


def bubblewrap() -> list[str]:
    """The command that makes a box around what follows it: no network, no host files, no rights.

    Raises:
        W2SError: there is no bubblewrap here.
    """
    beside = os.pathsep.join([os.environ.get("PATH", ""), str(Path(sys.executable).parent)])
    program = shutil.which("bwrap", path=beside)
    if sys.platform != "linux" or program is None:
        what = "bubblewrap is not installed" if sys.platform == "linux" else "no box on this system"
        raise no_box(what)
    command = [program, "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts"]
    command += ["--unshare-cgroup-try", "--new-session", "--hostname", "box", "--clearenv"]
    # What runs in the box is the first process of its namespace: with it everything ends, whoever
    # was killed before
    command += ["--as-pid-1"]
    if os.geteuid() == 0:
        # A user namespace would leave the host's root on bound files. What remains is needed to
        # make namespaces and to become somebody else, and is given up before a cell runs.
        command += ["--cap-drop", "ALL"]
        for capability in ("SYS_ADMIN", "SETUID", "SETGID", "SETPCAP"):
            command += ["--cap-add", f"CAP_{capability}"]
    else:
        command += ["--unshare-user", "--uid", "1000", "--gid", "1000"]
    for key, value in ENVIRONMENT.items():
        command += ["--setenv", key, value]
    command += ["--proc", "/proc", "--dev", "/dev"]
    for folder in ("/dev/shm", "/tmp", HOME):  # covered by private ones later
        command += [*_folders(folder), "--perms", "1777", "--size", str(32 << 20)]
        command += ["--tmpfs", folder]
    command += ["--remount-ro", "/dev", "--ro-bind", "/usr", "/usr"]
    for name in ("lib", "lib32", "lib64", "bin", "sbin"):
        if os.path.islink(f"/{name}"):
            command += ["--symlink", os.readlink(f"/{name}"), f"/{name}"]
        elif os.path.isdir(f"/{name}"):
            command += ["--ro-bind", f"/{name}", f"/{name}"]
    covered = {}
    for number, path in enumerate(_readable()):
        command += [*_folders(path), "--ro-bind", path, path]
        if any(Path(path).is_relative_to(folder) for folder in PRIVATE):
            # An environment in /tmp, say, which private files will cover: to be found again
            kept = covered[f"/kept/{number}"] = path
            command += ["--perms", "0755", "--dir", "/kept", "--ro-bind", kept, f"/kept/{number}"]
    command += ["--setenv", COVERED, json.dumps(covered)]
    for cached in CACHED:
        if (cache_dir() / cached).is_dir():
            inside = f"{ASSETS}/{cached}"
            command += [*_folders(inside), "--ro-bind", str(cache_dir() / cached), inside]
    return [*command, "--chdir", HOME, "--remount-ro", "/", "--"]


def _readable() -> list[str]:
    """The Python environment and this package, and nothing else that is ours."""
    import w2s_lab

    package = Path(w2s_lab.__file__).parent
    paths = [sys.prefix, sys.base_prefix, os.path.realpath(sys.base_prefix)]
    if not any(package.is_relative_to(path) for path in paths):
        paths.append(str(package))
    outer = [path for path in dict.fromkeys(paths) if not path.startswith("/usr/")]
    return [path for path in outer if path != "/usr"]


def _folders(path: str) -> list[str]:
    """bubblewrap makes missing parents that only root may enter."""
    made = []
    for parent in reversed(Path(path).parents):
        if str(parent) not in ("/", "/dev", "/tmp", "/usr"):
            made += ["--perms", "0755", "--dir", str(parent)]
    return made


def no_box(what: str) -> W2SError:
    """Why there is no box here, and what to do about it."""
    if sys.platform == "linux":
        how = "install it (Debian, Ubuntu: apt install bubblewrap) and allow user namespaces"
    else:
        how = "grade on Linux"
    mend = f"{how}, or name a container (--container docker:IMAGE), or --trust code that you trust"
    return W2SError(what, where="grade", mend=mend)
