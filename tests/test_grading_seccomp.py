"""The system call filter: run by an interpreter of its own, and by the kernel."""

import errno
import re
import struct
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from w2s_lab.teach.grading import seccomp
from w2s_lab.teach.grading.seccomp import ALLOWED, LOOKED_AT, NUMBERS, UNKNOWN, program

X86, ARM = "x86_64", "aarch64"
ARCH = {X86: 0xC000003E, ARM: 0xC00000B7}
# include/uapi/linux/seccomp.h; the lower 16 bits of "errno" are the number
ALLOW, KILL, ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
EPERM, ENOMEM, ENOSYS, EAFNOSUPPORT = ERRNO | 1, ERRNO | 12, ERRNO | 38, ERRNO | 97
machines = pytest.mark.parametrize("machine", NUMBERS)
words = st.integers(0, 2**32 - 1)
upper = st.one_of(st.just(0), st.just(1), words)


def instructions(code):
    return list(struct.iter_unpack("<HBBI", code))


def decide(code, arch, number, *args):
    """What classic BPF makes of one call. Source: bpf(4), Documentation/networking/filter.rst."""
    args = [*args, *[0] * (6 - len(args))]
    data = struct.pack("<IIQ6Q", number % 2**32, arch, 0xDEAD_BEEF, *args)
    ops, here, word = instructions(code), 0, 0
    while True:
        op, yes, no, k = ops[here]
        here += 1
        if op == 0x20:  # BPF_LD | BPF_W | BPF_ABS
            assert k % 4 == 0 and k <= 60  # the kernel refuses others
            [word] = struct.unpack_from("<I", data, k)
        elif op == 0x06:  # BPF_RET | BPF_K
            return k
        else:  # BPF_JMP | BPF_K with BPF_JEQ, BPF_JGE, BPF_JSET
            holds = {0x15: word == k, 0x35: word >= k, 0x45: bool(word & k)}[op]
            here += yes if holds else no


def decided(machine, name, *args):
    return decide(program(machine), ARCH[machine], NUMBERS[machine][name], *args)


# --- the program ----------------------------------------------------------------------------------


@machines
def test_every_path_ends_at_a_decision_below(machine):
    ops = instructions(program(machine))
    assert 20 < len(ops) <= 4096  # BPF_MAXINSNS
    for here, (op, yes, no, _) in enumerate(ops):
        assert op in (0x20, 0x06, 0x15, 0x35, 0x45)
        if op != 0x06:
            assert here + 1 + max(yes, no) < len(ops)
    assert ops[-1][0] == 0x06


def test_a_jump_that_is_too_far_or_back_is_no_program():
    ops = [seccomp.Op(seccomp.IS, 1, yes="end"), *[seccomp.Op(seccomp.LOAD, 0)] * 255]
    assert instructions(seccomp._assembled([*ops, "end", seccomp.Op(seccomp.RETURN, 7)]))[0] == (
        (0x15, 255, 0, 1)
    )
    with pytest.raises(struct.error):
        seccomp._assembled([*ops, *ops[1:2], "end", seccomp.Op(seccomp.RETURN, 7)])
    with pytest.raises(struct.error):
        seccomp._assembled(["start", seccomp.Op(seccomp.IS, 1, yes="start")])


def test_another_processor_has_no_program():
    for machine in ("riscv64", "i686", "arm64", "", "X86_64"):
        with pytest.raises(OSError, match="no seccomp filter"):
            program(machine)


def test_numbers_are_those_of_the_kernels_tables():
    # from arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h
    golden = {
        "ptrace": (101, 117), "mount": (165, 40), "clone": (56, 220), "socket": (41, 198),
        "ioctl": (16, 29), "bpf": (321, 280), "unshare": (272, 97), "setns": (308, 268),
        "seccomp": (317, 277), "clone3": (435, 435), "io_uring_setup": (425, 425),
        "process_vm_readv": (310, 270), "open_by_handle_at": (304, 265), "chroot": (161, 51),
        "mmap": (9, 222), "shmget": (29, 194), "shmat": (30, 196), "semget": (64, 190),
        "msgget": (68, 186),
    }  # fmt: skip
    assert {name: (NUMBERS[X86][name], NUMBERS[ARM][name]) for name in golden} == golden
    assert set(NUMBERS[X86]) - set(NUMBERS[ARM]) == {"iopl", "ioperm", "modify_ldt"}
    assert set(NUMBERS[ARM]) < set(NUMBERS[X86])
    for numbers in NUMBERS.values():
        assert len(set(numbers.values())) == len(numbers)


@pytest.mark.parametrize(
    ("machine", "header"),
    [(X86, "x86_64-linux-gnu/asm/unistd_64.h"), (ARM, "asm-generic/unistd.h")],
)
def test_numbers_agree_with_this_machines_headers(machine, header):
    path = Path("/usr/include") / header
    if not path.exists():
        pytest.skip("no kernel headers here")
    told = dict(re.findall(r"#define __NR_(\w+)\s+(\d+)", path.read_text()))
    both = told.keys() & NUMBERS[machine].keys()
    assert len(both) > 40
    assert {name: int(told[name]) for name in both} == {n: NUMBERS[machine][n] for n in both}


# --- what it decides ------------------------------------------------------------------------------


@machines
def test_each_call_of_the_table_is_refused_whatever_its_arguments(machine):
    for name in NUMBERS[machine].keys() - ALLOWED - LOOKED_AT.keys():
        expected = ENOSYS if name in UNKNOWN else EPERM
        for args in ((), [2**64 - 1] * 6):
            assert decided(machine, name, *args) == expected, name


@machines
@given(number=st.integers(0, 0x3FFFFFFF), args=st.lists(st.integers(0, 2**64 - 1), max_size=6))
def test_a_call_that_is_not_in_the_table_is_allowed(machine, number, args):
    if number not in NUMBERS[machine].values():
        assert decide(program(machine), ARCH[machine], number, *args) == ALLOW


@machines
def test_what_a_notebook_lives_on_is_allowed(machine):
    # read, write, mmap, futex, execve, exit_group, openat, pidfd_open, getrandom; on x86_64 fork
    # and vfork are calls of their own
    numbers = {
        X86: (0, 1, 9, 202, 59, 231, 257, 434, 318, 57, 58),
        ARM: (63, 64, 222, 98, 221, 94, 56, 434, 278),
    }[machine]
    for number in numbers:
        assert decide(program(machine), ARCH[machine], number) == ALLOW
    assert decided(machine, "seccomp", 1) == ALLOW


@machines
@given(arch=words, number=words)
def test_a_call_in_the_name_of_another_processor_ends_the_process(machine, arch, number):
    if arch != ARCH[machine]:
        assert decide(program(machine), arch, number) == KILL


@machines
def test_32_bit_code_and_the_other_processor_end_the_process(machine):
    other = ARCH[ARM if machine == X86 else X86]
    for arch in (0x40000003, 0x40000028, 0, other):  # i386, ARM of 32 bits
        assert decide(program(machine), arch, NUMBERS[machine]["ioctl"]) == KILL


@given(number=st.integers(0x40000000, 2**32 - 1))
def test_x32_is_not_there(number):
    assert decide(program(X86), ARCH[X86], number) == ENOSYS


def test_x32_does_not_lead_around_the_table():
    for number in NUMBERS[X86].values():
        assert decide(program(X86), ARCH[X86], number | 0x40000000) == ENOSYS
    assert decide(program(X86), ARCH[X86], 0x3FFFFFFF) == ALLOW


@machines
@given(flags=words, high=upper)
def test_clone_makes_processes_and_threads_but_no_namespace(machine, flags, high):
    # sched.h: CLONE_NEWTIME, NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET
    bits = (7, 17, 25, 26, 27, 28, 29, 30)
    new = any(flags >> bit & 1 for bit in bits)
    assert decided(machine, "clone", high << 32 | flags) == (EPERM if new else ALLOW)


@machines
@pytest.mark.parametrize("bit", range(64))
def test_each_kind_of_namespace_alone_is_refused(machine, bit):
    expected = EPERM if bit in (7, 17, 25, 26, 27, 28, 29, 30) else ALLOW
    assert decided(machine, "clone", 1 << bit) == expected


@machines
def test_clone_as_libc_calls_it_is_allowed(machine):
    # glibc: fork is CLONE_CHILD_SETTID | CHILD_CLEARTID | SIGCHLD (17); a thread is CLONE_VM | FS |
    # FILES | SIGHAND | THREAD | SYSVSEM | SETTLS | PARENT_SETTID | CHILD_CLEARTID; vfork
    for flags in (0x01200011, 0x003D0F00, 0x4111):
        assert decided(machine, "clone", flags, 2**64 - 1) == ALLOW


@machines
@pytest.mark.parametrize("call", ["socket", "socketpair"])
@given(family=st.one_of(st.integers(0, 46), words), high=upper)
def test_sockets_are_local_or_internet_ones(machine, call, family, high):
    expected = ALLOW if family in (1, 2, 10) else EAFNOSUPPORT
    assert decided(machine, call, high << 32 | family, 2**64 - 1) == expected


@machines
@given(request=st.one_of(st.integers(0x5400, 0x5460), words), high=upper)
def test_nothing_is_typed_into_a_terminal_even_with_upper_bits_set(machine, request, high):
    expected = EPERM if request in (0x5412, 0x541C) else ALLOW  # TIOCSTI, TIOCLINUX
    assert decided(machine, "ioctl", request, high << 32 | request) == expected


@machines
@given(flags=st.one_of(st.integers(0, 0x7F), words), high=upper)
def test_memory_is_not_shared_without_a_file(machine, flags, high):
    # mman.h: MAP_SHARED 1, MAP_PRIVATE 2, MAP_SHARED_VALIDATE 3, MAP_ANONYMOUS 32
    expected = ENOMEM if flags % 2 and flags // 32 % 2 else ALLOW
    assert decided(machine, "mmap", 0, 4096, 3, high << 32 | flags, 2**64 - 1) == expected


@machines
def test_memory_as_libc_and_numpy_map_it_is_allowed(machine):
    # private without a file (malloc), the same as a stack or unreserved (a thread's, OpenBLAS'),
    # private or shared with a file (a library, a memory map)
    for flags in (0x22, 0x20022, 0x4022, 0x02, 0x01, 0x812, 0x03):
        assert decided(machine, "mmap", 33, 33, 33, flags, 33, 33) == ALLOW


@machines
def test_only_the_argument_that_matters_is_looked_at(machine):
    assert decided(machine, "ioctl", 0x5412, 0x5401) == ALLOW  # TCGETS on file 0x5412
    assert decided(machine, "clone", 17, 0x10000000) == ALLOW
    assert decided(machine, "socket", 2, 16) == ALLOW


# --- the kernel -----------------------------------------------------------------------------------

kernel = pytest.mark.skipif(
    sys.platform != "linux" or seccomp.MACHINE not in NUMBERS, reason="no filter for this machine"
)
START = """\
import ctypes, errno, os, socket, sys
from w2s_lab.teach.grading import seccomp
libc = ctypes.CDLL(None, use_errno=True)
def call(name, *args):
    got = libc.syscall(*map(ctypes.c_long, (seccomp.NUMBERS[seccomp.MACHINE][name], *args)))
    return got if got >= 0 else errno.errorcode[ctypes.get_errno()]
"""


def under_filter(body, before=""):
    """What a process of its own prints."""
    code = "\n".join([START, textwrap.dedent(before), "seccomp.install()", textwrap.dedent(body)])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@kernel
def test_the_kernel_takes_it_and_it_stays():
    said = under_filter("""
        status = dict(line.split(":\\t") for line in open("/proc/self/status").read().splitlines()
                      if line.startswith(("Seccomp", "NoNewPrivs")))
        print(status["Seccomp"], status["NoNewPrivs"])
        seccomp.install()  # once more does no harm
        print(call("unshare", 0))
    """)
    assert said == ["2", "1", "EPERM"]  # 2: a filter is on


@kernel
def test_the_kernel_refuses_what_the_table_names():
    # harmless even without a filter: no flags, bad addresses, bad file descriptors
    said = under_filter("""
        print(call("unshare", 0), call("ptrace", 0x4200, 0, 0, 0), call("setns", -1, 0),
              call("process_vm_readv", 0, 0, 0, 0, 0, 0), call("bpf", -1, 0, 0),
              call("io_uring_setup", 0, 0), call("keyctl", -1), call("mount", 0, 0, 0, 0, 0),
              call("personality", 0xFFFFFFFF), call("pidfd_getfd", -1, -1, 0))
        print(call("clone3", 0, 0), call("memfd_create", 0, 0), call("shmget", 0, 0, 0),
              call("shmat", -1, 0, 0), call("semget", 0, 0, 0), call("msgget", 5, 0))
    """)
    assert said == ["EPERM"] * 10 + ["ENOSYS"] * 6


@kernel
def test_the_kernel_looks_at_arguments():
    said = under_filter("""
        for family in (socket.AF_UNIX, socket.AF_INET):
            socket.socket(family).close()
        for ends in socket.socketpair():
            ends.close()
        print(call("socket", 16, 3, 0), call("socket", 38, 5, 0), call("socketpair", 16, 3, 0, 0))
        print(call("ioctl", -1, 0x5412, 0), call("ioctl", -1, 0x5412 | 1 << 40, 0))
        print(call("ioctl", -1, 0x5401, 0), call("clone", 0x10000000 | 17, 0, 0, 0, 0))
        import mmap
        for flags in (0x21, 0x23, 0x22):  # shared, shared and validated, private; without a file
            try:
                print(len(mmap.mmap(-1, 100, flags)))
            except OSError as error:
                print(errno.errorcode[error.errno])
    """)
    # AF_NETLINK 16, AF_ALG 38; a bad file is EBADF where the filter lets the call through
    assert said[:7] == ["EAFNOSUPPORT"] * 3 + ["EPERM"] * 2 + ["EBADF", "EPERM"]
    assert said[7:] == ["ENOMEM"] * 2 + ["100"]


@kernel
def test_threads_that_run_already_are_bound_too():
    said = under_filter(
        """
        go.set(); thread.join()
        """,
        before="""
        import threading
        go = threading.Event()
        def work():
            go.wait()
            print(call("unshare", 0))
        thread = threading.Thread(target=work); thread.start()
        """,
    )
    assert said == ["EPERM"]


@kernel
def test_honest_work_goes_on():
    said = under_filter("""
        import mmap, multiprocessing, subprocess, tempfile, threading
        import numpy
        print(numpy.arange(4).reshape(2, 2).dot([1, 1]).sum())
        child = os.fork()
        if not child:
            os._exit(7)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        thread = threading.Thread(target=print, args=("thread",)); thread.start(); thread.join()
        print(subprocess.run([sys.executable, "-Sc", "print(8)"], capture_output=True).stdout[:1])
        with tempfile.TemporaryFile() as file:
            file.write(b"x" * 5000); file.flush()
            print(len(mmap.mmap(file.fileno(), 0)), len(mmap.mmap(-1, 6000, mmap.MAP_PRIVATE)))
        with multiprocessing.get_context("fork").Pool(1) as pool:
            print(pool.map(abs, [-9]))
        print(ctypes.CFUNCTYPE(ctypes.c_int)(lambda: 3)())  # libffi would take a memfd
    """)
    # (0 + 1) + (2 + 3) = 6
    assert said == ["6", "7", "thread", "b'8'", "5000", "6000", "[9]", "3"]


@kernel
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_processes_that_share_memory_through_files_go_on(tmp_path, method):
    script = tmp_path / "shares.py"  # spawned processes import it
    script.write_text(
        textwrap.dedent("""
        import multiprocessing, sys
        from w2s_lab.teach.grading import seccomp
        def work(array, value, queue):
            with value.get_lock():
                value.value += 1
            array[:] = [7, 8, 9]
            queue.put(b"x" * 100_000)
        if __name__ == "__main__":
            context = multiprocessing.get_context(sys.argv[1])
            seccomp.install()
            array, value, queue = context.Array("i", 3), context.Value("d", 2), context.Queue()
            child = context.Process(target=work, args=(array, value, queue))
            child.start(); told = queue.get(timeout=30); child.join()
            print(array[:], value.value, len(told), child.exitcode)
            with context.Pool(2) as pool:
                print(pool.map(abs, [-9, -8]))
        """)
    )
    done = subprocess.run(
        [sys.executable, script, method], capture_output=True, text=True, timeout=60
    )
    assert (done.stdout, done.stderr) == ("[7, 8, 9] 3.0 100000 0\n[9, 8]\n", "")


@kernel
@pytest.mark.slow
def test_torchs_workers_and_figures_go_on():
    said = under_filter("""
        import io, torch, matplotlib
        matplotlib.use("agg")
        import matplotlib.pyplot as plt
        from torch.utils.data import DataLoader
        data = torch.arange(6.0).reshape(3, 2)
        for batch in DataLoader(data, batch_size=2, num_workers=1):
            print(batch.sum().item())
        figure, axes = plt.subplots(); axes.plot([1, 2]); figure.savefig(io.BytesIO())
        data.share_memory_(); print(data.is_shared(), (data @ data.T).shape[0])
    """)
    # 0 + 1 + 2 + 3 = 6 and 4 + 5 = 9
    assert said == ["6.0", "9.0", "True", "3"]


@kernel
def test_a_child_and_a_program_that_it_starts_are_bound_too():
    said = under_filter("""
        import subprocess
        code = "import ctypes; l = ctypes.CDLL(None, use_errno=True)\\n"
        code += "print(l.unshare(0), ctypes.get_errno())"
        subprocess.run([sys.executable, "-c", code])
    """)
    assert said == ["-1", str(errno.EPERM)]


def test_elsewhere_it_says_that_it_cannot(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(OSError, match="Linux only"):
        seccomp.install()


@kernel
def test_a_kernel_that_refuses_is_an_error(monkeypatch):
    # in a process of its own: no_new_privs would stay on this one
    body = """
        seccomp.program = lambda: b""
        try:
            seccomp.install()
        except OSError as error:
            print(errno.errorcode[error.errno])
    """
    assert under_filter(body) == ["EINVAL"]  # seccomp(2): a program of no instructions
