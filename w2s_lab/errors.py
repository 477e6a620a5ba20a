"""One kind of error for everything a user can mend.

It does not cover bugs: those keep their traceback.
"""


class W2SError(Exception):
    """A user's mistake or a machine's limit, told in one line.

    Args:
        what: what is wrong.
        where: the file, argument or command it was found in.
        mend: what to do about it.
    """

    def __init__(self, what: str, *, where: str = "", mend: str = ""):
        self.what, self.where, self.mend = what, where, mend
        line = f"{where}: {what}" if where else what
        line = f"{line}; {mend}" if mend else line
        super().__init__(" ".join(line.split()))
