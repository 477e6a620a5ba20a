"""What is shown of hostile text is harmless, tells names apart, and keeps what people write."""

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from w2s_lab.teach.grading.plain import named, number, plain, quoted

HOSTILE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
TEXT = st.text(st.characters(codec=None, categories=None), max_size=200)  # lone surrogates too
WRITTEN = (
    "Zoë: 3 − 2 = 1 • naïve",
    "می\u200cخواهم",
    "שלום",
    "क\u094d\u200dष",
    "👩\u200d🔬 ∑ᵢ xᵢ² ❤\ufe0f\u200d🔥",
)


def is_harmless(text):
    """Whether a terminal only shows it, and nothing in it is invisible or stacked high."""
    text.encode()  # no half of a character
    pairs = zip(" " + text, text, strict=False)
    joined = all(a > "\x7f" for a, b in pairs if b in "\u200c\u200d")
    kinds = {unicodedata.category(char) for char in text if char not in "\n\u200c\u200d"}
    marks = "".join("m" if unicodedata.category(c) in ("Mn", "Me") else " " for c in text)
    return joined and not kinds & HOSTILE and "m" * 5 not in marks


# --- plain ----------------------------------------------------------------------------------------


@given(TEXT, st.integers(2, 60))
@example("e\u0301\u0301\u0301\x1b[m\u0301\u200b\u0301\u0301", 60)
@example("👩\u200d\u200d\u200dx\u200d", 60)
def test_a_line_is_short_and_harmless_and_stays_as_it_is(text, most):
    line = plain(text, most)
    assert len(line) <= most and "\n" not in line and line == line.strip()
    assert is_harmless(line)
    assert plain(line, most) == line


@given(TEXT, st.integers(1, 60))
@example("e\u0301\u0301\u0301\x1b[m\u0301\u200b\u0301\u0301", 60)
@example("\r\n\r\t", 60)
def test_lines_are_harmless_and_stay_as_they_are(text, most):
    lines = plain(text, most, lines=True)
    assert len(lines) <= most + 50  # the remark
    assert is_harmless(lines)
    assert plain(lines, len(lines), lines=True) == lines


def test_what_people_write_stays():
    for text in WRITTEN:
        assert plain(text, 100) == text
        assert plain(f"{text}\n  {text}", 100, lines=True) == f"{text}\n  {text}"


SHOWN = {
    "colours": ("\x1b[1;31mred\x1b[0m \x9b2Jx", "red x", "red x"),
    "a window's title": ("a\x1b]0;t\x07b\x1b]8;;https://x\x1b\\c", "abc", "abc"),
    # half a sequence does nothing
    "half a title": ("a\x1b]0;no end", "a]0;no end", "a⟨U+001B⟩]0;no end"),
    "controls": ("a\0b\x7f\x9b", "ab", "a⟨U+0000⟩b⟨U+007F⟩⟨U+009B⟩"),
    "direction": ("now\u202egnp.exe", "nowgnp.exe", "now⟨U+202E⟩gnp.exe"),
    "a surrogate": ("\ud800!", "!", "⟨U+D800⟩!"),
    "no characters": ("\U000e0041\ufffe\ue000", "", "⟨U+E0041⟩⟨U+FFFE⟩⟨U+E000⟩"),
    "odd blanks": ("a\u200b\u2028b\x0c", "a b", "a⟨U+200B⟩⟨U+2028⟩b⟨U+000C⟩"),
    "joiners in English": ("pay\u200dpal", "paypal", "pay⟨U+200D⟩pal"),
    "stacked marks": ("e\u0301" + "\u0301" * 9, "e" + "\u0301" * 4, "e" + "\u0301" * 4),
    "ends of lines": ("a\r\nb\rc\td ", "a b c d", "a\nb\nc    d "),
}


@pytest.mark.parametrize(("text", "line", "lines"), SHOWN.values(), ids=SHOWN)
def test_what_cannot_be_seen_is_left_out_of_a_line_and_written_out_in_lines(text, line, lines):
    assert plain(text, 100) == line
    assert plain(text, 100, lines=True) == lines


def test_what_is_too_long_is_cut_and_says_so():
    assert plain("x" * 201, 200) == "x" * 199 + "…"
    assert plain("abc   " * 9, 5) == "abc…"
    assert plain("abcde", 5, lines=True) == "abcde"
    remark = " … (1,234 more characters are not shown)"
    assert plain("x" * 1_239, 5, lines=True) == "xxxxx" + remark
    # ⟨U+202E⟩ has 8 characters: one of them has room in 15, and 1,234 of 1,235 have none
    assert plain("\u202e" * 1_235, 15, lines=True) == "⟨U+202E⟩" + remark
    # nothing of 1,234 sequences is seen, but no more than 4 · 5 characters are looked at
    assert plain("\x1b[m" * 10**6, 5, lines=True).endswith("more characters are not shown)")


def test_megabytes_take_no_time():
    for text in ("a" * 10**7, "\u202e" * 10**7, "\x1b[0" * 10**6, "\x1b]" * 10**6, "\r\n" * 10**6):
        assert len(plain(text, 2000)) <= 2000
        assert len(plain(text, 2000, lines=True)) < 2100


# --- names ----------------------------------------------------------------------------------------


@given(st.lists(TEXT | st.text("a\\ x20'\"…", max_size=9), unique=True, max_size=4))
def test_names_that_differ_never_look_alike(names):
    shown = [named(name) for name in names]
    assert len(set(shown)) == len(names)
    assert len({named(name, 3) for name in names}) == len(names)
    for one in shown:  # what keeps lines plain drops nothing of it
        assert plain(one, len(one)) == one and is_harmless(one)


def test_a_name_shows_what_nobody_sees_in_it():
    odd = ("zoë", "ada ", "a  b", "ada\u202e", "a\nb", "e" + "\u0301" * 5, "\udceb", "a\\b", "O'B")
    assert [named(name) for name in odd] == [
        "zoë",
        r"ada\x20",
        r"a\x20 b",
        r"ada\u202e",
        r"a\nb",
        "e" + "\u0301" * 4 + r"\u0301",
        r"\udceb",
        r"a\\b",
        "O'B",
    ]


def test_a_long_name_is_cut_and_told_by_its_digest():
    one, other = (named("x" * 1_000_000 + end) for end in "ab")
    assert one != other and len(one) == len(other) == 200 + 1 + 16
    assert one.startswith("x" * 200 + "…")
    assert named(one) != one  # somebody else's name may look like a cut one


def test_a_name_in_a_message_has_quotes():
    assert [quoted(name) for name in ("", "ada", "a\x1b")] == ["''", "'ada'", r"'a\x1b'"]
    assert len(quoted("x" * 10**6)) == 2 + 80 + 1 + 16


# --- numbers --------------------------------------------------------------------------------------

NUMBERS = [
    (3.0, "3", "3"),
    (2.5, "2.5", "2.5"),
    (1 / 3, "0.333333", "0.33"),
    (0.1 + 0.2 - 0.5, "-0.2", "-0.2"),  # -0.19999999999999996
    (100, "100", "100"),
    (0, "0", "0"),
    (-1e-9, "0", "0"),
    (1e6, "1000000", "1000000"),
]


@pytest.mark.parametrize(("value", "six", "two"), NUMBERS)
def test_a_number_has_no_empty_decimals(value, six, two):
    assert number(value) == six
    assert number(value, 2) == two
