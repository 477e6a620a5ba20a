"""What every result can do: print and display itself as its table, and write itself as JSON.

It computes nothing; `report` and its kin make the tables and the plain values.
"""


class Shown:
    """For a result with `table()`, and with `to_dict()` where it is written to a file."""

    def to_json(self, path) -> None:
        """Writes the result as JSON, whole or not at all."""
        from w2s_lab import report

        report.write_json(self, path)

    def table(self):
        """The result as a table; each kind of result says which."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return str(self.table())

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()
