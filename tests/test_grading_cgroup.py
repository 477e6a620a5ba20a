"""Control groups: on a made-up tree that behaves like the kernel's, and, where we may, on its own.

The tests on the kernel's tree use `open_group` as it is, so they make no group where the one that
this process is in belongs to whoever manages it; there they are skipped.
"""

import errno
import os
import re
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from w2s_lab.teach.grading import cgroup
from w2s_lab.teach.grading.cgroup import Group, open_group

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="control groups are Linux'")
LIMITS = {"memory_mb": 64, "processes": 10}
PUT = Path.write_text  # around the tree's rules
FILES = {
    "cgroup2": {
        "cgroup.procs": "",
        "cgroup.subtree_control": "",
        "memory.max": "max\n",
        "memory.swap.max": "max\n",
        "memory.oom.group": "0\n",
        "memory.events": "low 0\nhigh 0\nmax 0\noom 0\noom_kill 0\noom_group_kill 0\n",
        "pids.max": "max\n",
    },
    "memory": {
        "cgroup.procs": "",
        "memory.limit_in_bytes": "9223372036854771712\n",
        "memory.memsw.limit_in_bytes": "9223372036854771712\n",
        "memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 0\n",
    },
    "pids": {"cgroup.procs": "", "pids.max": "max\n"},
}


class Kernel:
    """A tree of control groups and the part of /proc that tells about it."""

    def __init__(self, root):
        self.root, self.proc = root, root / "proc"
        self.marked = {}  # a folder → systemd's mark
        (self.proc / "self").mkdir(parents=True)
        self.tell("")
        self.live(os.getpid(), 1000)

    def live(self, pid, started):
        """A process, with a name that tries to mislead a reader."""
        (self.proc / str(pid)).mkdir(exist_ok=True)
        # proc(5): field 22 is the start, so 18 fields stand between the state and it
        line = f"{pid} (a) R 1 (b) S {'7 ' * 18}{started} 8 9\n"
        (self.proc / str(pid) / "stat").write_text(line)

    def tell(self, own, mounted=()):
        (self.proc / "self/cgroup").write_text(own)
        lines = ["21 1 0:19 / / rw - ext4 /dev/sda rw,memory,pids"]
        for kind, source, path, options in mounted:
            lines.append(f"31 21 0:28 {source} {path} rw,nosuid shared:9 - {kind} {kind} {options}")
        (self.proc / "self/mountinfo").write_text("\n".join(lines) + "\n")

    def version_2(self, own="/", *, enabled="cpu memory pids", source="/", mark=(), busy=True):
        """Where this process's own group is; `mark` are those that systemd has delegated."""
        top = self.root / "fs"
        folder = top / own.removeprefix(source).lstrip("/")
        folder.mkdir(parents=True)
        path = folder
        while path != self.root:
            PUT(path / "cgroup.controllers", "cpuset cpu io memory pids\n")
            PUT(path / "cgroup.subtree_control", "")
            PUT(path / "cgroup.procs", "")
            path = path.parent
        PUT(folder / "cgroup.subtree_control", f"{enabled}\n")
        PUT(folder / "cgroup.procs", f"{os.getpid()}\n" * busy)
        self.marked |= {top / one: b"1" for one in mark}
        self.tell(f"1:name=systemd:/x\n0::{own}\n", [("cgroup2", source, top, "rw,nsdelegate")])
        return folder

    def version_1(self, memory="/", pids="/", *, source="/"):
        tops = [self.root / "fs" / one for one in ("memory", "pids")]
        inside = [own.removeprefix(source).lstrip("/") for own in (memory, pids)]
        folders = [top / own for top, own in zip(tops, inside, strict=True)]
        for folder in folders:
            folder.mkdir(parents=True)
        mounted = [("cgroup", source, top, f"rw,{top.name}") for top in tops]
        self.tell(f"5:cpu,cpuacct:/\n4:memory:{memory}\n3:pids:{pids}\n0::/\n", mounted)
        return folders


@pytest.fixture
def kernel(tmp_path, monkeypatch):
    root = tmp_path / "machine"
    made = Kernel(root)
    mkdir, rmdir = os.mkdir, os.rmdir

    def is_group(path):
        return Path(path).name.startswith("w2s-lab-")

    def make(path, *arguments, **options):
        mkdir(path, *arguments, **options)
        if is_group(path):
            base = Path(path).parent
            kind = base.name if base.name in FILES else "cgroup2"
            for name, content in FILES[kind].items():
                PUT(Path(path) / name, content)

    def remove(path, **options):
        if is_group(path):
            procs = Path(path) / "cgroup.procs"
            if procs.exists() and procs.read_text().strip():
                raise OSError(errno.EBUSY, "Device or resource busy")
            for file in Path(path).iterdir():
                file.unlink()
        rmdir(path, **options)

    def write(path, text, *arguments, **options):
        if path.name == "cgroup.subtree_control":
            if (path.parent / "cgroup.procs").read_text().strip():
                raise OSError(errno.EBUSY, "Device or resource busy")  # no internal processes
            text = path.read_text().strip() + " " + text.replace("+", "")
        if path.name == "cgroup.procs" and not path.exists():
            raise FileNotFoundError(path)
        PUT(path, text, *arguments, **options)

    def mark(path, name):
        if name == "user.delegate" and Path(path) in made.marked:
            return made.marked[Path(path)]
        raise OSError(errno.ENODATA, "No data available")

    for module, name, instead in (
        (os, "mkdir", make),
        (os, "rmdir", remove),
        (Path, "write_text", write),
        (os, "getxattr", mark),
    ):
        monkeypatch.setattr(module, name, instead)
    return made


def opened(kernel, name="x", **limits):
    return open_group(name, **LIMITS | limits, proc=kernel.proc)


def groups(folder):
    return sorted(path.name for path in folder.iterdir() if path.name.startswith("w2s-lab-"))


def content(folder):
    return {path.name: path.read_text().strip() for path in folder.iterdir()}


# --- where a group is made ------------------------------------------------------------------------


def test_in_version_2_a_group_has_the_limits_of_memory_swap_and_processes(kernel):
    base = kernel.version_2("/a/job", mark=["a/job"])
    group = opened(kernel, "place 7")
    [folder] = group.folders
    assert folder.parent == base
    assert re.fullmatch(rf"w2s-lab-{os.getpid()}-1000-\d+-place7", folder.name)
    told = content(folder)
    assert told["memory.max"] == "67108864"  # 64 · 2^20
    assert told["memory.swap.max"] == "0" and told["memory.oom.group"] == "1"
    assert told["pids.max"] == "10"
    group.close()
    assert groups(base) == []


def test_in_version_1_a_group_has_a_folder_for_each_controller(kernel):
    memory, pids = kernel.version_1()
    group = opened(kernel)
    assert [folder.parent for folder in group.folders] == [memory, pids]
    told = content(group.folders[0])
    assert told["memory.limit_in_bytes"] == told["memory.memsw.limit_in_bytes"] == "67108864"
    assert content(group.folders[1])["pids.max"] == "10"
    group.close()
    assert groups(memory) == groups(pids) == []


def test_a_group_that_is_somebody_elses_gets_nothing_new(kernel):
    for folder in (kernel.version_2("/job/step"), kernel.root / "fs/job", kernel.root / "fs"):
        assert opened(kernel) is None
        assert groups(folder) == []


@pytest.mark.parametrize(("memory", "pids"), [("/job", "/"), ("/", "/job"), ("/job", "/job")])
def test_in_version_1_both_groups_have_to_be_ours(kernel, memory, pids):
    folders = kernel.version_1(memory, pids)
    assert opened(kernel) is None
    assert [groups(folder) for folder in folders] == [[], []]
    assert groups(kernel.root / "fs/memory") == groups(kernel.root / "fs/pids") == []


def test_in_a_container_the_top_of_what_is_mounted_is_ours(kernel):
    folders = kernel.version_1("/docker/5f", "/docker/5f", source="/docker/5f")
    assert [folder.parent for folder in opened(kernel).folders] == folders
    assert [folder.name for folder in folders] == ["memory", "pids"]


def test_a_mount_of_another_part_of_the_tree_is_not_ours(kernel):
    kernel.version_1("/docker/5f", "/docker/5f", source="/docker/77")
    assert opened(kernel) is None
    (kernel.proc / "self/cgroup").write_text("4:memory:/docker/77/../5f\n3:pids:/docker/77/../5f\n")
    assert opened(kernel) is None


def test_a_group_with_processes_gets_no_limited_groups_below_it(kernel):
    base = kernel.version_2("/job", mark=["job"], enabled="")
    assert opened(kernel) is None
    assert groups(base) == [] and (base / "cgroup.subtree_control").read_text() == "\n"


def test_a_group_without_processes_gets_the_controllers_that_it_lacks(kernel):
    base = kernel.version_2("/job", mark=["job"], enabled="memory", busy=False)
    assert opened(kernel).folders[0].parent == base
    assert (base / "cgroup.subtree_control").read_text() == "memory pids"


def test_a_delegated_group_above_takes_it_where_the_own_one_is_its_leaf(kernel):
    own = kernel.version_2("/job/main", mark=["job"], enabled="")
    assert opened(kernel).folders[0].parent == own.parent
    assert (own.parent / "cgroup.subtree_control").read_text().split() == ["memory", "pids"]
    assert groups(own) == []


@pytest.mark.parametrize("mark", [b"0", b"", b"yes"])
def test_another_mark_delegates_nothing(kernel, mark):
    base = kernel.version_2("/job", mark=["job"])
    kernel.marked[base] = mark
    assert opened(kernel) is None


@pytest.mark.parametrize("there", ["cpu io", "memory", "pids", "memory.x pids"])
def test_both_controllers_are_needed(kernel, there):
    base = kernel.version_2("/job", mark=["job"])
    (base / "cgroup.controllers").write_text(there)
    (base.parent / "cgroup.controllers").write_text(there)
    assert opened(kernel) is None


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="gives files away")
def test_a_folder_that_an_administrator_gave_to_this_user_is_ours(kernel, monkeypatch):
    base = kernel.version_2("/users/ada")
    os.chown(base, 1234, -1)
    assert opened(kernel) is None  # for root all is open, which says nothing
    monkeypatch.setattr(os, "geteuid", lambda: 1234)
    assert opened(kernel).folders[0].parent == base
    os.chown(base.parent, 1234, -1)  # then the one above was given, to whoever runs there
    assert opened(kernel) is None


def test_what_cannot_be_made_is_none_and_leaves_nothing(kernel, monkeypatch):
    memory, pids = kernel.version_1()
    make = os.mkdir
    for number in (errno.EROFS, errno.EACCES, errno.ENOSPC, errno.ENOMEM):

        def refuse(path, *arguments, number=number):
            if Path(path).parent == pids:
                raise OSError(number, os.strerror(number))
            make(path, *arguments)

        monkeypatch.setattr(os, "mkdir", refuse)
        assert opened(kernel) is None
        assert groups(memory) == []


def test_a_limit_that_is_refused_is_none_and_leaves_nothing(kernel, monkeypatch):
    base = kernel.version_2("/job", mark=["job"])
    write = Path.write_text

    def refuse(path, text):
        if path.name == "pids.max":
            raise OSError(errno.EINVAL, "Invalid argument")
        return write(path, text)

    monkeypatch.setattr(Path, "write_text", refuse)
    assert opened(kernel) is None
    assert groups(base) == []


def test_without_swap_accounting_the_other_limits_hold(kernel, monkeypatch):
    kernel.version_1()
    monkeypatch.delitem(FILES["memory"], "memory.memsw.limit_in_bytes")
    told = content(opened(kernel).folders[0])
    assert told["memory.limit_in_bytes"] == "67108864"
    assert "memory.memsw.limit_in_bytes" not in told


def test_no_proc_is_none(tmp_path):
    assert open_group("x", **LIMITS, proc=tmp_path / "none") is None


quick = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
anything = st.text(st.characters(codec="utf-8"), max_size=60)


@quick
@given(own=anything, mounts=anything)
def test_whatever_proc_says_is_no_error(kernel, own, mounts):
    (kernel.proc / "self/cgroup").write_text(own)
    (kernel.proc / "self/mountinfo").write_text(mounts)
    assert opened(kernel) is None
    (kernel.proc / "self/cgroup").write_text(f"4:memory:/\n3:pids:/\n0::/\n{own}")
    assert opened(kernel) is None


@quick
@given(name=st.text(st.characters(), max_size=200))
def test_a_name_never_leads_out_of_the_folder(kernel, name):
    if not (kernel.root / "fs").exists():
        kernel.version_2("/", source="/")
    group = opened(kernel, name)
    [folder] = group.folders
    assert folder.parent == kernel.root / "fs" and folder.is_dir()
    assert re.fullmatch(r"w2s-lab-\d+-\d+-\d+-[A-Za-z0-9]{0,40}", folder.name)
    group.close()


def test_two_groups_of_one_name_are_two(kernel):
    base = kernel.version_2("/")
    first, second = opened(kernel), opened(kernel)
    assert len(groups(base)) == 2
    first.close()
    assert groups(base) == [second.folders[0].name]


# --- its processes --------------------------------------------------------------------------------


def test_a_process_is_added_to_each_folder(kernel):
    kernel.version_1()
    group = opened(kernel)
    assert group.add(4321) is True
    assert [content(folder)["cgroup.procs"] for folder in group.folders] == ["4321", "4321"]


def test_what_cannot_be_added_is_told(kernel):
    kernel.version_2("/")
    group = opened(kernel)
    group.close()
    assert group.add(4321) is False


EVENTS = {
    "memory.events": [
        ("low 0\nhigh 5\nmax 9\noom 0\noom_kill 0\noom_group_kill 0\n", False),
        ("low 0\nhigh 0\nmax 9\noom 1\noom_kill 0\n", True),
        ("low 0\nhigh 0\nmax 9\noom 0\noom_kill 12\n", True),
        ("", False),
    ],
    "memory.oom_control": [
        ("oom_kill_disable 0\nunder_oom 0\noom_kill 0\n", False),
        ("oom_kill_disable 0\nunder_oom 0\noom_kill 1\n", True),
        ("oom_kill_disable 1\nunder_oom 0\n", False),
    ],
}
CASES = [(name, text, told) for name, cases in EVENTS.items() for text, told in cases]


@pytest.mark.parametrize(("name", "text", "told"), CASES)
def test_memory_was_exceeded_when_the_kernel_had_to_refuse_it(tmp_path, name, text, told):
    (tmp_path / name).write_text(text)
    assert Group((tmp_path,)).exceeded() is told


def test_a_group_that_is_gone_has_exceeded_nothing(tmp_path):
    assert Group((tmp_path / "none",)).exceeded() is False


def test_closing_waits_until_its_processes_have_ended(kernel):
    base = kernel.version_2("/")
    group = opened(kernel)
    group.add(4321)
    procs = group.folders[0] / "cgroup.procs"
    timer = threading.Timer(0.1, procs.write_text, [""])
    timer.start()
    group.close()
    timer.join()
    assert groups(base) == []
    group.close()  # once more does no harm


def test_closing_gives_up_on_a_process_that_does_not_end(kernel, monkeypatch):
    monkeypatch.setattr(cgroup, "CLOSE_SECONDS", 0.05)
    base = kernel.version_2("/")
    group = opened(kernel)
    group.add(4321)
    start = time.monotonic()
    group.close()
    assert 0.05 <= time.monotonic() - start < 1
    assert groups(base) == [group.folders[0].name]


def test_the_next_group_removes_those_of_dead_owners_and_no_others(kernel):
    base = kernel.version_2("/")
    kernel.live(55, 200)
    names = {
        "w2s-lab-54-200-0-dead": False,
        "w2s-lab-55-199-0-reused": False,  # another process has this number now
        "w2s-lab-55-200-0-alive": True,
        "w2s-lab-54-200-1-busy": True,
        f"w2s-lab-{os.getpid()}-1000-9-own": True,
        "w2s-lab-54-mine": True,
        "w2s-lab-5x-1-1-a": True,
        "other-54-200-0-x": True,
    }
    for name in names:
        (base / name).mkdir()
    (base / "w2s-lab-54-200-1-busy/cgroup.procs").write_text("77")
    group = opened(kernel)
    assert {name: (base / name).exists() for name in names} == names
    assert group.folders[0].exists()


# --- the kernel's own -----------------------------------------------------------------------------


@pytest.fixture
def real():
    group = open_group("test", **LIMITS)
    if group is None:
        pytest.skip("this process may make no control group here")
    yield group
    group.close()
    assert not any(folder.exists() for folder in group.folders)


TAKE = {
    "anonymous": "held = bytearray(b'x') * (200 << 20)",
    "shared": """
        import mmap
        held = mmap.mmap(-1, 200 << 20)
        for place in range(0, 200 << 20, 4096):
            held[place] = 1
    """,
    "tmpfs": """
        with open(f"/dev/shm/w2s-lab-test-{os.getpid()}", "wb") as file:
            os.unlink(file.name)  # so that it goes whatever happens
            for _ in range(200):
                file.write(b"x" * (1 << 20))
    """,
}


def held_process(group, body):
    """A process that does something as soon as it is in the group; how it ended, what it said."""
    code = "import os, sys; sys.stdin.readline()\n" + textwrap.dedent(body)
    process = subprocess.Popen(
        [sys.executable, "-Sc", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert group.add(process.pid)
    said, _ = process.communicate("go\n", timeout=30)
    return process.returncode, said.strip()


@pytest.mark.parametrize("body", TAKE.values(), ids=TAKE)
def test_the_kernel_ends_what_takes_200_of_64_megabytes(real, body):
    code, _ = held_process(real, body)
    assert code == -9
    assert real.exceeded()


def test_the_kernel_lets_40_of_64_megabytes_be_taken(real):
    # 40 and the interpreter's own, some 10, are below 64
    assert held_process(real, "held = bytearray(b'x') * (40 << 20); print(len(held))") == (
        0,
        "41943040",
    )
    assert not real.exceeded()


@pytest.fixture
def pids_only(tmp_path):
    """A group whose pids part is the kernel's and whose memory part is a folder like another."""
    proc = Path("/proc")
    found = list(cgroup._mounted(proc, "cgroup", "pids"))
    if not found or found[0][0] != found[0][1] or os.geteuid() != 0:
        pytest.skip("this process may make no group of version 1 for pids here")
    (tmp_path / "memory").mkdir()
    here, fake = str(os.getpid()), tmp_path / "proc"
    (fake / "self").mkdir(parents=True)
    (fake / here).symlink_to(proc / here)
    (fake / "self/cgroup").write_text("2:memory:/\n1:pids:/\n")
    mounts = f"1 1 0:1 / {tmp_path}/memory rw - cgroup cgroup rw,memory\n"
    mounts += f"2 1 0:2 / {found[0][0]} rw - cgroup cgroup rw,pids\n"
    (fake / "self/mountinfo").write_text(mounts)
    group = open_group("test", **LIMITS, proc=fake)
    assert group is not None
    yield group, fake
    for file in group.folders[0].iterdir() if group.folders[0].exists() else ():
        file.unlink()  # here they are files like others
    group.close()
    assert not any(folder.exists() for folder in group.folders)


def test_the_kernel_refuses_the_eleventh_of_ten_processes(pids_only):
    group, _ = pids_only
    (group.folders[0] / "cgroup.procs").touch()
    body = """
        come, go = os.pipe()
        made = 0
        try:
            while made < 50:
                if os.fork() == 0:
                    os.close(go); os.read(come, 1); os._exit(0)  # until its parent ends
                made += 1
        except OSError as error:
            print(made, error.errno)
    """
    # it is one of the ten itself
    assert held_process(group, body) == (0, f"9 {errno.EAGAIN}")


def test_the_kernels_folders_of_an_owner_killed_by_force_are_removed(pids_only):
    group, fake = pids_only
    base = group.folders[1].parent
    code = textwrap.dedent("""
        import os, signal, sys
        from pathlib import Path
        from w2s_lab.teach.grading import cgroup
        started = cgroup._started(Path("/proc"), os.getpid())
        Path(sys.argv[1], f"w2s-lab-{os.getpid()}-{started}-0-dead").mkdir()
        print(os.getpid(), started, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    """)
    done = subprocess.run([sys.executable, "-c", code, base], capture_output=True, text=True)
    assert done.returncode == -9
    pid, started = done.stdout.split()
    left = base / f"w2s-lab-{pid}-{started}-0-dead"
    assert left.exists()
    cgroup._sweep(base, fake)
    assert not left.exists() and group.folders[1].exists()


def test_a_process_that_has_ended_cannot_be_added_to_the_kernels_group(pids_only):
    group, _ = pids_only
    process = subprocess.Popen([sys.executable, "-Sc", ""])
    process.wait()
    assert Group(group.folders[1:]).add(process.pid) is False
