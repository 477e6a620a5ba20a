"""The box holds what is in it, gives everybody the same empty room, and is refused where it is not.

What the red team tries is in test_redteam.py; here the walls themselves are looked at.
"""

import json
import os
import stat
import sys
import time
from pathlib import Path

import psutil
import pytest
from grading import needs_box
from redteam.arena import FULL
from redteam.target import honest_cells, submission, target_notebook

from w2s_lab.assets import cache_dir
from w2s_lab.errors import W2SError
from w2s_lab.teach.grading import bubblewrap, isolation
from w2s_lab.teach.grading.box import BubblewrapRoom, open_room
from w2s_lab.teach.grading.codec import decode
from w2s_lab.teach.grading.container import ContainerRoom
from w2s_lab.teach.grading.grader import Grader
from w2s_lab.teach.grading.line import Ended, Line
from w2s_lab.teach.grading.process import Limits
from w2s_lab.teach.grading.verdict import BOX, CONTAINER, TRUST

ROOT = Path(__file__).parent.parent
CANARY = "w2s-canary-5e1f"
TARGET = json.dumps(target_notebook())
LIMITS = Limits(memory_mb=1024, processes=40, files_mb=16)
boxed = [pytest.mark.slow, needs_box]


@pytest.fixture(scope="module")
def room():
    """A room that was opened with a secret in the environment, and numpy warmed up."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("W2S_CANARY", CANARY)
        patch.setenv("PYTHONPATH", f"/{CANARY}")
        one = open_room(LIMITS, ["numpy"])
        yield one
        one.close()


class Guest:
    """One submission's process, asked directly."""

    def __init__(self, room, place=0):
        self.worker = room.open(place)
        self.line = Line(self.worker.end)

    def run(self, source, seconds=30):
        self.line.send({"op": "run", "source": source})
        return self.line.receive(seconds=seconds)

    def get(self, name):
        self.line.send({"op": "get", "names": [name]})
        ((_, value),) = self.line.receive(seconds=30)["value"]
        return decode(value, lambda told: told)

    def told(self, source, seconds=30):
        """The value of `x` after a cell that must not fail."""
        reply = self.run(source, seconds)
        assert reply["ok"], reply
        return self.get("x")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.worker.close()


@pytest.fixture
def guest(room):
    with Guest(room) as one:
        yield one


# --- walls ----------------------------------------------------------------------------------------


@pytest.mark.slow
@needs_box
class TestWalls:
    def test_it_sees_no_process_but_its_own(self, guest):
        x = "import os\nx = [os.getpid(), [p for p in os.listdir('/proc') if p.isdigit()]]"
        assert guest.told(x) == [1, ["1"]]

    def test_it_has_no_network_but_a_loopback_that_is_down(self, guest):
        source = """
import socket
names = [line.split(":")[0].strip() for line in open("/proc/net/dev").read().splitlines()[2:]]
addresses = open("/proc/net/if_inet6").read() + open("/proc/net/fib_trie").read()
reached = []
for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        try:
            with socket.socket(family, kind) as one:
                one.connect((address, 53))
            reached.append(address)
        except OSError:
            pass
x = [names, addresses, reached]
"""
        assert guest.told(source) == [["lo"], "", []]

    def test_it_has_no_rights_and_can_get_none(self, guest):
        source = """
import os
status = dict(line.split(":\\t", 1) for line in open("/proc/self/status").read().splitlines())
names = "CapInh CapPrm CapEff CapBnd CapAmb NoNewPrivs Seccomp".split()
x = [int(status[name], 16) for name in names], os.getuid(), os.getgid(), os.getgroups()
"""
        rights, user, group, groups = guest.told(source)
        assert rights == [0, 0, 0, 0, 0, 1, 2]  # 2: filtered by a program
        assert 0 not in (user, group)
        assert 0 not in groups

    def test_it_can_write_only_into_its_three_small_folders(self, guest):
        source = """
import os, sys, w2s_lab
places = ["/", "/usr", "/etc", "/proc", "/proc/sys/kernel", "/dev", "/assets", sys.prefix]
places += [os.path.dirname(w2s_lab.__file__), os.path.dirname(os.__file__), "/home", "/root"]
places += ["/tmp", "/student", "/dev/shm"]
x = []
for place in places:
    try:
        open(place + "/w2s", "w").write("x")
        x.append(place)
    except OSError:
        pass
try:
    open("/tmp/large", "wb").write(bytes(20 << 20))
    x.append("20 MB")
except OSError:
    pass
"""
        assert guest.told(source) == ["/tmp", "/student", "/dev/shm"]
        assert (
            guest.told("import os\nx = os.getcwd(), os.path.expanduser('~')")
            == (isolation.HOME,) * 2
        )

    def test_no_mount_but_its_own_folders_can_be_written(self, guest):
        x = "x = [line.split() for line in open('/proc/mounts')]"
        writable = {m[1] for m in guest.told(x) if "rw" in m[3].split(",")}
        assert writable <= {"/tmp", "/student", "/dev/shm", "/proc", *_devices()}

    def test_the_kernel_keeps_its_limits(self, guest):
        source = """
import resource
names = "CORE NPROC NOFILE FSIZE DATA MSGQUEUE MEMLOCK CPU".split()
x = {name: resource.getrlimit(getattr(resource, f"RLIMIT_{name}")) for name in names}
"""
        limits = {name: hard for name, (_, hard) in guest.told(source).items()}
        assert limits == {
            "CORE": 0,
            "NPROC": 40,
            "NOFILE": 256,
            "FSIZE": 16 << 20,
            "DATA": 2048 << 20,  # twice 1024: address space is cheap
            "MSGQUEUE": 0,
            "MEMLOCK": 0,
            "CPU": 730,  # 180 s × 4 + 10
        }

    def test_nothing_of_this_machines_environment_is_in_it(self, guest):
        source = """
import glob, os, subprocess
x = [dict(os.environ)]
for path in glob.glob("/proc/*/environ"):
    try:
        x.append(open(path, "rb").read())
    except OSError:
        pass
x.append(subprocess.run(["env"], capture_output=True, text=True).stdout)
"""
        told = guest.told(source)
        assert CANARY not in repr(told)
        ours = [one.split(b"=")[0] for one in Path("/proc/self/environ").read_bytes().split(b"\0")]
        assert told[0].keys() & {name.decode() for name in ours} <= {*bubblewrap.ENVIRONMENT, "PWD"}

    def test_it_sees_none_of_this_projects_files_but_the_package(self, guest):
        hidden = [ROOT / name for name in ("tests", "solutions", "exercises", ".git", "docs")]
        hidden += [Path.home() / ".cache", Path("/etc/passwd"), Path.home() / ".ssh", Path("/var")]
        x = f"import os\nx = [p for p in {list(map(str, hidden))} if os.path.exists(p)]"
        assert guest.told(x) == []
        x = f"import os\nx = os.listdir({str(ROOT)!r}) if os.path.isdir({str(ROOT)!r}) else []"
        assert set(guest.told(x)) <= {".venv", "w2s_lab"}

    def test_two_guests_do_not_see_each_other(self, room):
        with Guest(room, 0) as one, Guest(room, 1) as other:
            one.told("open('/tmp/mine', 'w').write('x')\nopen('/dev/shm/mine', 'w')\nx = 1")
            x = "import os\nx = [os.listdir(p) for p in ('/tmp', '/dev/shm')], os.listdir('/proc')"
            files, processes = other.told(x)
            # an environment that lies in /tmp is found there again
            here = {Path(path).parts[2] for path in (sys.prefix, ROOT) if "/tmp/" in str(path)}
            assert set(files[0]) <= here and files[1] == []
            assert [p for p in processes if p.isdigit()] == ["1"]
            users = {
                one.told("import os\nx = os.getuid()"),
                other.told("import os\nx = os.getuid()"),
            }
            assert len(users) == 2 or os.geteuid() != 0  # as root each has a user of its own


def _devices():
    return {"/dev/pts", "/dev/mqueue", "/dev/console", "/dev/zero", "/dev/null"} | {
        f"/dev/{name}" for name in ("full", "random", "urandom", "tty")
    }


# --- one guest after the other --------------------------------------------------------------------

LEAVE = """
import builtins, math, os, sys, threading, time, json, atexit, signal
import numpy as np
secret = "left"
math.pi = 3
json.load = None
np.left = 1
builtins.sum = lambda _: 0
builtins.left = 1
sys.modules["left"] = math
sys.path.insert(0, "/tmp")
os.environ["LEFT"] = "1"
os.makedirs("/tmp/left"); open("/student/left", "w").write("x"); open("/dev/shm/left", "w")
threading.Thread(target=time.sleep, args=(1000,), name="left", daemon=True).start()
np.random.seed(1); os.umask(0); sys.setrecursionlimit(50_000)
get_ipython().user_ns["_left"] = 1
x = 1
"""
LOOK = """
import builtins, json, math, os, sys, threading
import numpy as np
x = {
    "names": [name for name in ("secret", "_left") if name in globals()],
    "modules": [math.pi == 3, json.load is None, hasattr(np, "left"), "left" in sys.modules],
    "builtins": [hasattr(builtins, "left"), sum([1, 2]) != 3],
    "path": "/tmp" in sys.path,
    "environment": "LEFT" in os.environ,
    "files": [os.listdir(p) for p in ("/tmp", "/student", "/dev/shm")],
    "threads": [t.name for t in threading.enumerate()][1:],
    "limit": sys.getrecursionlimit() > 20_000,
}
"""


@pytest.mark.slow
@needs_box
def test_nothing_of_one_guest_is_there_for_the_next_one(room):
    with Guest(room) as first:
        before = first.told(LOOK)
    with Guest(room) as second:
        second.told(LEAVE)
    with Guest(room) as third:
        after = third.told(LOOK)
    assert after == before
    assert not any(after["modules"] + after["builtins"] + after["names"] + after["threads"])
    assert (after["path"], after["environment"], after["limit"]) == (False, False, False)
    assert {name for names in after["files"] for name in names} <= {".cache"}


@pytest.mark.slow
@needs_box
def test_no_two_guests_draw_the_same_numbers(room):
    x = "import random, numpy as np\nx = random.random(), float(np.random.rand()), os.urandom(4)"
    drawn = []
    for _ in range(2):
        with Guest(room) as one:
            drawn.append(one.told("import os\n" + x))
    assert all(a != b for a, b in zip(*drawn, strict=True))


@pytest.mark.slow
@needs_box
def test_a_module_that_was_warmed_up_is_there_at_once(room):
    with Guest(room) as one:
        assert one.told("import sys\nx = 'numpy' in sys.modules") is True


@pytest.mark.slow
@needs_box
def test_a_box_that_was_ended_is_opened_again(room):
    room.nursery.process.kill()
    with Guest(room) as one:
        assert one.told("x = 1") == 1


# --- what is too much -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def strict():
    """A grader with little to give."""
    limits = Limits(
        cell_seconds=3, call_seconds=2, notebook_seconds=20, memory_mb=400, processes=30
    )
    with Grader(TARGET, "target", limits=limits) as one:
        yield one


def with_cell(source):
    return submission(honest_cells(), [(1, source)])


@pytest.mark.slow
@needs_box
def test_too_much_memory_ends_a_cell_with_the_reason_and_costs_nothing_else(strict):
    verdict = strict.grade(with_cell("x = b'x' * (600 << 20)\nimport time\ntime.sleep(9)"))
    assert verdict.score == FULL  # the cells that ran are run again
    assert "took more than 400 MB of memory" in " ".join(verdict.notes)


@pytest.mark.slow
@needs_box
def test_too_many_threads_end_a_cell_with_the_reason(strict):
    source = "import threading, time\n"
    source += "for _ in range(200): threading.Thread(target=time.sleep, args=(60,)).start()"
    verdict = strict.grade(with_cell(source))
    told = " ".join(verdict.notes)
    assert "can't start new thread" in told or "more than 30 processes" in told


@pytest.mark.slow
@needs_box
def test_too_much_time_ends_a_cell_with_the_reason_and_costs_nothing_else(strict):
    verdict = strict.grade(with_cell("while True: pass"))
    assert verdict.score == FULL
    assert "did not answer within 3 seconds" in " ".join(verdict.notes)
    assert verdict.seconds < 10


@pytest.mark.slow
@needs_box
def test_two_seconds_after_the_end_no_process_is_left():
    room = BubblewrapRoom(LIMITS)
    inside = psutil.Process(room.nursery.process.pid)
    guest = Guest(room)
    source = """
import os, subprocess
for _ in range(3):
    subprocess.Popen(["sleep", "1000"], start_new_session=True)
if not os.fork():
    os.setsid()
    if not os.fork():
        os.execv("/bin/sleep", ["sleep", "1000"])
    os._exit(0)
x = 1
"""
    guest.told(source)
    time.sleep(0.2)
    seen = [inside, *inside.children(recursive=True)]
    asleep = [one for one in seen if one.name() == "sleep"]
    assert len(asleep) == 4
    guest.worker.close()
    assert not psutil.wait_procs(asleep, 2)[1]
    room.close()
    assert not psutil.wait_procs(seen, 2)[1]


# --- where there is no box ------------------------------------------------------------------------


def refused(*arguments, **options):
    with pytest.raises(W2SError) as caught:
        open_room(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_without_bubblewrap_grading_refuses_in_one_line(monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(bubblewrap.shutil, "which", lambda *_, **__: None)
    told = refused(LIMITS)
    assert "bubblewrap" in told or "no box" in told
    assert "--container docker:IMAGE" in told and "--trust" in told


def test_on_another_system_grading_refuses_in_one_line(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert "no box on this system" in refused(LIMITS)


@pytest.mark.slow
@needs_box
def test_a_kernel_that_allows_no_box_is_told_in_one_line(monkeypatch, tmp_path):
    program = tmp_path / "bwrap"
    program.write_text(
        "#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2; exit 1\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    told = refused(LIMITS)
    assert "No permissions to create new namespace" in told and "allow user namespaces" in told


@pytest.mark.parametrize("name", ["docker", "lxc:image", "docker:", ":image", "image"])
def test_a_container_that_is_none_is_refused(name):
    assert "docker:IMAGE or podman:IMAGE" in refused(LIMITS, container=name)


def test_an_engine_that_is_not_installed_is_refused(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert "podman is not installed" in refused(LIMITS, container="podman:image")


# --- a container ----------------------------------------------------------------------------------

# An engine without containers: it runs the worker itself, under the number of its own process
ENGINE = f"""#!{sys.executable}
import os, signal, sys
here = os.path.dirname(os.path.abspath(__file__))
with open(here + "/log", "a") as log:
    log.write("\\x1f".join(sys.argv[1:]) + "\\n")
if sys.argv[1] == "run":
    name = sys.argv[sys.argv.index("--name") + 1]
    with open(here + "/" + name, "w") as file:
        file.write(str(os.getpid()))
    python = sys.argv.index("python")
    if os.path.exists(here + "/broken"):
        sys.exit(125)
    os.execv(sys.executable, [sys.executable, *sys.argv[python + 1:]])
name = sys.argv[-1]
if sys.argv[1] == "rm" and os.path.exists(here + "/" + name):
    try:
        os.kill(int(open(here + "/" + name).read()), signal.SIGKILL)
    except ProcessLookupError:
        pass
"""


@pytest.fixture
def engine(tmp_path, monkeypatch):
    """A folder with a `docker` that writes down what it is asked."""
    program = tmp_path / "docker"
    program.write_text(ENGINE)
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    return tmp_path


def asked(engine):
    return [line.split("\x1f") for line in (engine / "log").read_text().splitlines()]


def test_a_container_has_no_network_no_rights_and_nothing_to_write(engine):
    command = ContainerRoom("docker:w2s", Limits(memory_mb=512, processes=9)).command("one")
    text = " ".join(command)
    assert command[:2] == ["docker", "run"]
    for part in (
        "--rm",
        "--network none",
        "--read-only",
        "--cap-drop ALL",
        "--security-opt no-new-privileges",
        "--user 61000:61000",
        "--memory 512m",
        "--memory-swap 512m",
        "--pids-limit 17",  # 9, and 8 of the engine's own
    ):
        assert f" {part} " in text
    assert "--privileged" not in text
    volumes = [command[n + 1] for n, part in enumerate(command) if part == "--volume"]
    assert all(volume.endswith(":ro") for volume in volumes)
    assert command[-6:] == ["w2s", "python", "-I", "-B", "-m", "w2s_lab.teach.grading.worker"]


@pytest.mark.slow
def test_honest_work_gets_full_marks_in_containers_that_are_removed_by_name(engine):
    with Grader(TARGET, "target", container="docker:w2s") as grader:
        verdict = grader.grade(submission(honest_cells()))
    assert (verdict.score, verdict.isolation) == (FULL, CONTAINER)
    started = [line[line.index("--name") + 1] for line in asked(engine) if line[0] == "run"]
    removed = [line[-1] for line in asked(engine) if line[:2] == ["rm", "--force"]]
    assert started == removed and len(started) == 1


@pytest.mark.slow
def test_a_container_that_does_not_answer_is_removed_as_well(engine):
    limits = Limits(cell_seconds=1, call_seconds=1, notebook_seconds=20)
    with Grader(TARGET, "target", container="docker:w2s", limits=limits) as grader:
        endless = "def double(x):\n    while True: pass"
        verdict = grader.grade(submission(honest_cells() | {"double": endless}))
    assert verdict.score == FULL - 3
    started = {line[line.index("--name") + 1] for line in asked(engine) if line[0] == "run"}
    assert started == {line[-1] for line in asked(engine) if line[:2] == ["rm", "--force"]}
    assert len(started) >= 2
    for name in started:
        assert not psutil.pid_exists(int((engine / name).read_text()))


@pytest.mark.slow
def test_an_image_that_does_not_start_is_told_in_one_line(engine):
    (engine / "broken").touch()
    room = ContainerRoom("docker:w2s", LIMITS)
    with pytest.raises(W2SError, match="the container did not start") as caught:
        room.open(0)
    assert "docker run --rm w2s python" in str(caught.value)
    room.close()


# --- without any ----------------------------------------------------------------------------------


@pytest.mark.slow
def test_without_isolation_the_verdict_says_so():
    with Grader(TARGET, "target", trust=True) as grader:
        verdict = grader.grade(submission(honest_cells()))
    assert (verdict.score, verdict.isolation) == (FULL, TRUST)


@pytest.mark.slow
@needs_box
def test_in_the_box_the_verdict_says_so(strict):
    assert strict.grade(submission(honest_cells())).isolation == BOX


# --- real work ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def workshop():
    """A room with the usual limits, as a course gives them."""
    one = open_room(Limits())
    yield one
    one.close()


@pytest.mark.slow
@needs_box
def test_a_model_can_be_trained_and_a_figure_saved(workshop):
    source = """
import torch, transformers, os
import matplotlib.pyplot as plt
torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1))
optimizer = torch.optim.AdamW(model.parameters(), lr=0.05)
inputs = torch.randn(64, 4)
losses = []
for _ in range(50):
    loss = ((model(inputs).squeeze() - inputs.sum(1)) ** 2).mean()
    optimizer.zero_grad(); loss.backward(); optimizer.step()
    losses.append(loss.item())
torch.save(model.state_dict(), "model.pt")
config = transformers.AutoConfig.for_model("bert")
plt.plot(losses); plt.savefig("loss.png"); plt.show()
x = [losses[-1] < 0.5 * losses[0], config.model_type, os.path.getsize("loss.png") > 1000]
"""
    with Guest(workshop) as one:
        assert one.told(source, seconds=120) == [True, "bert", True]


@pytest.mark.slow
@needs_box
@pytest.mark.skipif(not (cache_dir() / "assets").is_dir(), reason="needs `w2s-lab fetch`")
def test_the_courses_data_can_be_read_without_a_network(workshop):
    source = "import w2s_lab\nx = len(w2s_lab.load_task('indemnity', size='smoke').inputs)"
    with Guest(workshop) as one:
        assert one.told(source, seconds=120) > 0


@pytest.mark.slow
@needs_box
def test_a_guest_that_ended_is_an_end_to_who_asks(workshop):
    with Guest(workshop) as one:
        with pytest.raises(Ended):
            one.run("import os\nos._exit(0)")
        assert one.worker.why == ""
