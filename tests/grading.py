"""What tests of the grader share."""

import shutil
import sys

import pytest

HAS_BOX = sys.platform == "linux" and shutil.which("bwrap") is not None
needs_box = pytest.mark.skipif(not HAS_BOX, reason="needs bubblewrap (apt install bubblewrap)")
