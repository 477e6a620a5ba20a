"""Text that came from a student, safe to print anywhere: on a terminal, in a page, in a table."""

import unicodedata

# Cc: control characters, ANSI's escape among them; Cf: what turns the direction of writing round or
# is invisible; Cs: halves of characters; Co, Cn: no characters
UNSEEN = ("Cc", "Cf", "Cs", "Co", "Cn")


def plain(text: str, most: int) -> str:
    """One line of visible characters, cut at `most` of them."""
    short = text[: 4 * most]
    shown = "".join(
        " "
        if one.isspace()
        else one
        if unicodedata.category(one) not in UNSEEN
        else "\N{REPLACEMENT CHARACTER}"
        for one in short
    )
    line = " ".join(shown.split())
    return line if len(line) <= most else f"{line[: most - 1]}…"
