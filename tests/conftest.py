"""What every test can rely on: no network hub, no window, no progress bars, smoke size.

It makes no data; each test file makes its own. Set before any module of the package is imported.
"""

import os
import signal

import pytest
from hypothesis import settings

os.environ["HF_HUB_OFFLINE"] = "1"  # a test that needs the Hub would pass here and fail elsewhere
os.environ["MPLBACKEND"] = "Agg"
os.environ["TOKENIZERS_PARALLELISM"] = "false"  # its threads warn in forked workers
os.environ["W2S_QUIET"] = "1"
os.environ.setdefault("W2S_SIZE", "smoke")

# The same examples on every run, and no deadline: a busy machine is not a bug.
settings.register_profile("w2s", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("w2s")


def pytest_runtest_setup(item):
    """Skips a test marked `gpu` where torch sees no CUDA device."""
    if item.get_closest_marker("gpu"):
        import torch  # late: most runs select no such test

        if not torch.cuda.is_available():
            pytest.skip("needs a CUDA device")


@pytest.fixture
def hurried():
    """Ends a test that blocks."""
    if not hasattr(signal, "alarm"):
        yield
        return

    def late(*_):
        raise AssertionError("it blocks")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(10)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)
