"""Files that the grader writes: each whole or not at all, and for its owner's eyes alone."""

import os
import tempfile
from pathlib import Path

from w2s_lab.errors import W2SError


def write(path: str | Path, text: str, *, encoding: str = "utf-8") -> Path:
    """Puts a text into a file, in place of what is there; gives the file.

    After a kill or a full disk there is the old file or the new one. A link that lies there is
    replaced and not followed. Missing folders are made; the file gets mode 600: it holds grades.

    Args:
        encoding: "utf-8-sig" for what Excel opens: it takes a csv file without a byte order mark
            for the system's old encoding.

    Raises:
        W2SError: it cannot be written.
    """
    path, part = Path(path), None
    try:
        if path.exists() and not path.is_file():
            raise OSError("it is no ordinary file")  # root could put a file in place of /dev/null
        path.parent.mkdir(parents=True, exist_ok=True)
        # the name that a file will have can be as long as a name may be
        handle, part = tempfile.mkstemp(prefix=f".{path.name[:40]}.", dir=path.parent)
        with open(handle, "w", encoding=encoding, newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as error:
        what = f"cannot be written ({error.strerror or error})"
        raise W2SError(what, where=str(path), mend="name another place") from None
    finally:
        if part is not None:
            Path(part).unlink(missing_ok=True)
    return path
