"""A feedback page says what it should, to everybody, and nothing in it is anybody else's markup."""

import base64
import hashlib
import os
import re
import stat
import unicodedata
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from w2s_lab.errors import W2SError
from w2s_lab.teach.grading import feedback as module
from w2s_lab.teach.grading.feedback import feedback, moment, page_name, write_feedback
from w2s_lab.teach.grading.standing import MISSING, Entry, Standing
from w2s_lab.teach.grading.verdict import GRADED, NEEDS_A_PERSON, REJECTED, Case, Column

VOID = {"meta", "img", "br", "link", "input", "hr", "base"}
SEEN = Column("curve-check", 2, task="curve", title="The deferral curve")
HIDDEN = Column("curve-hidden", 3, task="curve", title="The deferral curve", hidden=True)
ESSAY = Column("desk-essay", 4, manual=True, task="desk", title="At the desk", rubric="RUBRIC")


class Page(HTMLParser):
    """A page taken apart: its tags with their attributes, headings, and words."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.open, self.words, self.style = [], [], [], ""
        self.feed(html)
        self.close()
        assert self.open == []  # all is closed, in order
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, tuple(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" in self.open:
            self.style += data
        else:
            self.words.append(data)

    def handle_comment(self, data):
        raise AssertionError(f"a comment: {data}")

    def levels(self):
        return [int(tag[1]) for tag, _ in self.tags if re.fullmatch("h[1-6]", tag)]


def standing(**changes):
    entries = (
        Entry(
            SEEN,
            1.5,
            cases=(Case("Four queries", 1, 1), Case("Ties", 0.5, 1, "It is 2; 3 was expected.")),
        ),
        Entry(HIDDEN, 0, cases=(Case("Other costs", 0, 3, "You let one model pay only."),)),
        Entry(ESSAY, 3, comment="Name the owner, too."),
    )
    told = Standing(
        student="ada",
        assignment="05_cascading",
        status=GRADED,
        entries=entries,
        received="2025-03-02T23:59:12+01:00",
        raw=4.5,
        score=4.5,
        max_score=9,
        answers={"desk-essay": "I would ask for an owner."},
    )
    return replace(told, **changes)


def words(told):
    return Page(feedback(told)).text


# --- what is said ---------------------------------------------------------------------------------


def test_a_page_names_student_assignment_points_and_every_case():
    said = words(standing())
    assert "Feedback on 05_cascading for ada" in said
    assert "4.5 of 9 points" in said
    assert "Your work has been graded." in said
    assert "2 March 2025, 22:59 UTC , in time." in said  # 23:59 at +01:00
    # 1.5 + 0 of 2 + 3
    assert "The deferral curve 1.5 5" in said
    assert "✓ holds Four queries (1 of 1)" in said
    assert "✗ holds in part Ties (0.5 of 1) It is 2; 3 was expected." in said
    assert "Hidden cases 0 of 3 points. ✗ does not hold Other costs (0 of 3)" in said
    assert "You let one model pay only." in said
    assert "Your answer: I would ask for an owner. Comment: Name the owner, too." in said


def test_lateness_and_its_penalty_are_told():
    late = standing(days_late=2, penalty=0.9, score=3.6)
    said = words(late)
    assert "3.6 of 9 points" in said
    assert "Late: 2 days after your due date; a day that has begun counts." in said
    assert "0.9 of 4.5 points are taken off" in said
    assert "in time" not in said
    assert "Late: 1 day after" in words(replace(late, days_late=1, penalty=0))
    assert "No points are taken off" in words(replace(late, penalty=0))


@pytest.mark.parametrize(
    ("status", "points", "why"),
    [
        (REJECTED, "0 of 9 points", "could not be graded"),
        (MISSING, "0 of 9 points", "Nothing was handed in."),
        (NEEDS_A_PERSON, "No points yet", "A person will look"),
        ("odd", "0 of 9 points", "Status: odd."),
    ],
)
def test_who_has_no_grade_reads_why_and_no_list_of_failures(status, points, why):
    entries = tuple(replace(e, score=0.0, comment="") for e in standing().entries)
    none = standing(status=status, score=0, raw=0, entries=entries, notes=("It is a picture.",))
    said = words(none)
    assert points in said and why in said and "Please note It is a picture." in said
    assert "Four queries" not in said
    # a person may give points or a comment all the same
    assert "Four queries" in words(replace(none, entries=standing().entries))


def test_what_waits_is_bonus_or_dropped_is_marked():
    waits = Entry(ESSAY, None)
    entries = (
        Entry(SEEN, 1, bonus=True),
        Entry(HIDDEN, 2, dropped=True),
        waits,
        Entry(replace(ESSAY, grade_id="x", task="x", title="Dropped"), None, dropped=True),
    )
    said = words(standing(entries=entries, answers={}))
    assert "4.5 of 9 points so far Part of your work still waits for a person" in said
    # neither bonus nor dropped points are asked for; what is dropped does not count
    assert "The deferral curve 1 0 At the desk 0 so far 4 Dropped 0 0" in said
    assert "1 of 2 points. Bonus: counts on top" in said
    assert said.count("Dropped: counts for nobody.") == 2
    assert "Waits for a person; up to 4 points. There is no answer of yours here." in said


def test_a_task_without_title_goes_by_its_name():
    said = words(
        standing(entries=(Entry(Column("cell-7", 1), 1), Entry(Column("b", 0, "", "T"), 0)))
    )
    assert "cell-7 1 1" in said
    assert "Brings no points." in said


def test_a_message_is_shown_only_where_no_case_says_anything():
    entry = replace(standing().entries[0], message="Ties: It is 2; 3 was expected.")
    assert words(standing(entries=(entry,))).count("It is 2") == 1  # in the case
    assert words(standing(entries=(replace(entry, cases=()),))).count("It is 2") == 1
    holds = replace(entry, cases=(Case("Four queries", 0, 1),), message="MESSAGE")
    assert "MESSAGE" in words(standing(entries=(holds,)))  # why the test stopped after a good case


@pytest.mark.parametrize("column", [SEEN, HIDDEN])
@pytest.mark.parametrize("cases", [(), (Case("Other costs", 3, 3),)])
def test_why_a_test_could_not_be_run_is_told_of_hidden_ones_as_well(column, cases):
    told = "Your code could not be tested: it did not answer within 10 seconds."
    entry = Entry(column, 0, message=told, cases=cases)
    assert told in words(standing(entries=(entry,)))


def test_an_essay_that_waits_is_told_once_and_a_blank_one_shows_no_words_of_the_stub():
    waits = Entry(ESSAY, None, message="A person will grade it.")
    said = words(standing(entries=(waits,)))
    assert "Waits for a person; up to 4 points. Your answer: I would ask" in said
    assert "A person will grade it" not in said
    blank = Entry(ESSAY, 0, message="Nothing is written here yet.")
    said = words(standing(entries=(blank,), answers={"desk-essay": "YOUR ANSWER HERE"}))
    assert "0 of 4 points. Nothing is written here yet." in said
    assert "YOUR ANSWER" not in said and "There is no answer" not in said


def test_hidden_cases_are_explained_where_there_are_any():
    explained = "hidden cases were tried when it was graded"
    assert explained in words(standing())
    assert explained not in words(standing(entries=standing().entries[:1]))


@pytest.mark.parametrize(
    ("received", "shown"),
    [
        ("2026-11-22T14:05:59+00:00", "22 November 2026, 14:05 UTC"),
        ("2026-01-01T00:30:00+05:30", "31 December 2025, 19:00 UTC"),  # 5:30 earlier
        ("2026-03-02T09:05Z", "2 March 2026, 09:05 UTC"),
        ("2026-11-22T14:05:59", "2026-11-22T14:05:59"),  # nobody knows where
        ("yes\u202eterday\x1b[31m", "yesterday"),
        ("", ""),
    ],
)
def test_a_time_is_shown_as_people_write_it_and_as_it_came_without_a_zone(received, shown):
    assert moment(received) == shown


# --- what is not said -----------------------------------------------------------------------------


def test_hidden_tests_and_rubrics_are_not_shown_even_if_they_are_handed_over():
    hidden = replace(HIDDEN, rubric="RUBRIC")
    listing = "Traceback:\n  assert SOURCE"
    entries = (
        replace(standing().entries[1], column=hidden, message="SOURCE"),
        Entry(replace(hidden, grade_id="b", task="b"), 0, message=listing),
        Entry(replace(hidden, grade_id="c", task="c"), 0, message="It took too long."),
        Entry(ESSAY, None),
    )
    code = {"curve": "MY CODE", "curve-hidden": "SOURCE", "desk-essay": "Mine."}
    said = words(standing(entries=entries, answers=code))
    assert not {"RUBRIC", "SOURCE", "MY CODE"} & set(re.findall("RUBRIC|SOURCE|MY CODE", said))
    assert "You let one model pay only." in said and "It took too long." in said


# --- form -----------------------------------------------------------------------------------------


def test_a_page_needs_nothing_else_and_lets_nothing_run():
    html = feedback(standing())
    page = Page(html)
    assert html.lstrip().startswith("<!DOCTYPE html>")
    tags = {tag for tag, _ in page.tags}
    assert not tags & {"script", "link", "iframe", "object", "img", "form", "a", "base", "svg"}
    names = {name for _, attrs in page.tags for name, _ in attrs}
    assert names <= {"lang", "charset", "http-equiv", "content", "name", "class", "scope", "dir"}
    assert "url(" not in page.style and "@import" not in page.style
    policy = next(dict(a)["content"] for t, a in page.tags if ("http-equiv" in dict(a)))
    digest = base64.b64encode(hashlib.sha256(page.style.encode()).digest()).decode()
    assert policy == (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src 'none'; base-uri 'none'; "
        "form-action 'none'"
    )


def test_headings_are_in_order_and_cells_have_headers():
    page = Page(feedback(standing(notes=("A note.",))))
    levels = page.levels()
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(b <= a + 1 for a, b in zip(levels, levels[1:], strict=False))
    assert ("html", (("lang", "en"),)) in page.tags
    headers = [dict(attrs).get("scope") for tag, attrs in page.tags if tag == "th"]
    assert headers == ["col"] * 3 + ["row"] * 2


def luminance(colour):
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    r, g, b = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def test_letters_stand_out_in_light_in_dark_and_on_paper():
    style = Page(feedback(standing())).style
    palettes = [
        dict(re.findall(r"--(\w+): (#\w{6})", block))
        for block in re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    ]
    assert len(palettes) == 3
    assert "prefers-color-scheme: dark" in style and "@media print" in style
    for colours in palettes:
        for letters in ("text", "quiet", "good", "bad"):
            for behind in ("back", "panel"):
                a, b = sorted(luminance(colours[name]) for name in (letters, behind))
                assert (b + 0.05) / (a + 0.05) >= 4.5, (letters, behind)  # WCAG 2.2, 1.4.3


# --- hostile text ---------------------------------------------------------------------------------

ATTACKS = [
    "<script>alert(1)</script>",
    "</style><img src=x onerror=alert(1)>",
    "</title></head><body onload=alert(1)>",
    '" onmouseover="alert(1)',
    "' style='position:fixed",
    "<!-- ",
    "--><b>",
    "&lt;script&gt;&#60;i&#62;",
    "{{ 7*7 }}{% raw %}",
    "<![CDATA[<b>",
    "\x1b[31mred\x1b[0m\x1b]8;;http://x\x07",
    "\u202etxt.exe\u2066\u200b\ufeff",
    "\ud800\udfff",
    "\0\x08\x0c\x85\u2028\x9b31m",
    "=HYPERLINK(1)",
    "a" + "\u0301" * 50,
]
hostile = st.lists(st.sampled_from(ATTACKS) | st.text(max_size=8), max_size=4).map("".join)


def filled(text):
    """A standing whose every text is made by `text()`, of one shape whatever it gives."""
    case = Case("t" + text(), 0, 1, "s" + text())
    column = Column("g" + text(), 1, task="one", title="t" + text())
    entries = (
        Entry(column, 1, message="m" + text(), comment="c" + text()),
        Entry(replace(column, hidden=True), 1, cases=(case,)),
        Entry(replace(column, manual=True, rubric=text()), None),
    )
    return Standing(
        student="i" + text(),
        assignment="a" + text(),
        status=GRADED,
        entries=entries,
        received="r" + text(),
        notes=("n" + text(), "n" + text()),
        answers={column.grade_id: "a" + text()},
    )


@given(st.data())
def test_no_text_adds_a_tag_or_an_attribute_or_anything_unseen(data):
    html = feedback(filled(lambda: data.draw(hostile)))
    html.encode()  # no lone surrogate is left
    assert Page(html).tags == Page(feedback(filled(lambda: ""))).tags
    kinds = {unicodedata.category(char) for char in html if char not in "\n\t\u200c\u200d"}
    assert not kinds & {"Cc", "Cf", "Cs", "Cn", "Zl", "Zp"}


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_in_every_field_is_only_text(attack):
    html = feedback(filled(lambda: attack))
    assert Page(html).tags == Page(feedback(filled(lambda: ""))).tags
    assert attack not in html or attack == "=HYPERLINK(1)" or "{{" in attack


def test_a_page_stays_small_when_texts_are_huge():
    html = feedback(filled(lambda: "<\u202e" * 500_000))
    assert len(html) < 2_000_000
    assert "more characters are not shown" in html
    many = standing(notes=("n",) * 5_000)
    assert "Notes that are not shown: 4900." in words(many)
    cases = tuple(Case(f"c{n}", 0, 0) for n in range(150))
    assert "Cases that are not shown: 50." in words(
        standing(entries=(Entry(SEEN, 0, cases=cases),))
    )


def test_a_template_that_forgets_to_disarm_a_text_is_disarmed_all_the_same():
    template = module._pages().from_string("{{ text }}")
    assert template.render(text="<b>\ud800\u202e\0") == "&lt;b&gt;⟨U+D800⟩⟨U+202E⟩⟨U+0000⟩"


# --- files ----------------------------------------------------------------------------------------


def test_each_student_gets_a_file_that_only_the_owner_reads(tmp_path):
    folder = tmp_path / "new" / "feedback"
    paths = write_feedback([standing(), standing(student="ben")], folder)
    assert paths == [folder / "ada.html", folder / "ben.html"]
    assert sorted(folder.iterdir()) == paths
    assert paths[1].read_text("utf-8") == feedback(standing(student="ben"))
    assert stat.S_IMODE(paths[0].stat().st_mode) == 0o600


def test_a_link_that_lies_there_is_replaced_and_not_followed(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    folder = tmp_path / "feedback"
    folder.mkdir()
    (folder / "ada.html").symlink_to(victim)
    (path,) = write_feedback([standing()], folder)
    assert victim.read_text() == "precious"
    assert not path.is_symlink() and "for <bdi>ada" in path.read_text("utf-8")


def test_a_page_that_cannot_be_put_in_place_leaves_the_old_one(tmp_path, monkeypatch):
    (path,) = write_feedback([standing()], tmp_path)
    old = path.read_text("utf-8")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(W2SError, match=r"ada\.html: cannot be written \(No space left on device\)"):
        write_feedback([standing(score=1)], tmp_path)
    assert path.read_text("utf-8") == old
    assert list(tmp_path.iterdir()) == [path]


def test_a_place_that_is_no_folder_is_refused_in_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(W2SError, match="cannot be written"):
        write_feedback([standing()], tmp_path / "file")
    (tmp_path / "ada.html").mkdir()
    with pytest.raises(W2SError, match="cannot be written"):
        write_feedback([standing()], tmp_path)


def test_a_student_who_comes_twice_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(W2SError, match=r"two standings for one page, ada\.html"):
        write_feedback([standing(), standing(student="ben"), standing()], tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("student", ["ada", "007", "a.b-c_d@uni.example", "a" * 64])
def test_plain_ids_name_their_file(student):
    assert page_name(student) == f"{student}.html"


@pytest.mark.parametrize(
    ("student", "begins"),
    [
        ("Ada", "Ada+"),
        ("con", "con+"),
        ("nul.txt", "nul-txt+"),
        ("../../etc/passwd", "etc-passwd+"),
        ("a/b\\c:d", "a-b-c-d+"),
        ("", "student+"),
        ("...", "student+"),
        ("\ud800\0", "student+"),
        ("x" * 1_000_000, "x" * 32 + "+"),
        ("-rf", "rf+"),
    ],
)
def test_other_ids_keep_a_readable_beginning(student, begins):
    name = page_name(student)
    assert name.startswith(begins)
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9-]*\+[0-9a-f]{16}\.html", name)


names = st.text(alphabet="aA.+-/é\ud800", max_size=4) | st.text(max_size=70)


@given(names, names)
def test_no_two_ids_share_a_file_even_where_case_does_not_count(one, other):
    assert (page_name(one).lower() == page_name(other).lower()) == (one == other)
    assert len(page_name(one)) <= 69  # 64 and ".html"
