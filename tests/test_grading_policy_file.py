"""A file of rules is read as it was meant, and each mistake in it is told where it stands."""

from datetime import UTC, datetime, timedelta

import pytest
from test_grading_gradebook import refused

from w2s_lab.teach.grading.policy import Policy
from w2s_lab.teach.grading.policy_file import read_policy

WHOLE = """\
due: 2025-11-21 23:59
zone: Europe/Berlin
late: {grace_minutes: 15, per_day: 0.1, most_days: 3, floor: 0.5}
extensions:
  007: 2025-11-24T23:59
  no: 2025-11-24T23:59-05:00
bonus: [more, bonus-check]
dropped: []
"""


def saved(folder, content):
    path = folder / "policy.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_a_file_gives_its_rules_in_utc_and_takes_no_name_for_a_number(tmp_path):
    assert read_policy(saved(tmp_path, WHOLE)) == Policy(
        due=datetime(2025, 11, 21, 22, 59, tzinfo=UTC),  # Berlin is 1 hour ahead in November
        grace=timedelta(minutes=15),
        per_day=0.1,
        most_days=3,
        floor=0.5,
        extensions={
            "007": datetime(2025, 11, 24, 22, 59, tzinfo=UTC),
            "no": datetime(2025, 11, 25, 4, 59, tzinfo=UTC),
        },
        bonus=("more", "bonus-check"),
    )
    assert read_policy(saved(tmp_path, "\ufeff# nothing\n")) == Policy()


def test_an_hour_that_is_there_twice_or_not_at_all_is_read_in_the_students_favour(tmp_path):
    def due(time):
        return read_policy(saved(tmp_path, f"zone: Europe/Berlin\ndue: {time}\n")).due

    assert due("2025-10-26 02:30") == datetime(2025, 10, 26, 1, 30, tzinfo=UTC)  # 0:30 or 1:30
    assert due("2025-03-30 02:30") == datetime(2025, 3, 30, 1, 30, tzinfo=UTC)  # 0:30 or 1:30


D = "due: 2025-11-21T23:59+01:00\n"
MISTAKES = {
    "no time zone": ("due: 2025-11-21 23:59", ":1: `due` is '2025-11-21 23:59', which has no time"),
    "no time of day": ("\ndue: 2025-11-21", ":2: `due` is '2025-11-21', which has no time of day"),
    "no time": ("due: soon", ":1: `due` is 'soon', which is no time; write it as 2025-"),
    "empty": ("due:", ":1: `due` is not a time; write a time, or remove the line"),
    "unknown key": ("deu: x", ":1: has no key 'deu'; use: due, zone"),
    "unknown rule": (D + "late: {perday: 0.1}", ":2: `late` has no key 'perday'; use: grace"),
    "a list of keys": ("- due", ":1: holds no `key: value` lines"),
    "a zone": (D + "zone: Mars/Base", ":2: `zone` is 'Mars/Base', which is no time zone"),
    "a zone's folder": (D + "zone: Europe", ":2: `zone` is 'Europe', which is no time zone"),
    "a path as a zone": (D + "zone: ../../etc/passwd", ":2: `zone` is '../../etc/passwd'"),
    "per cent": (D + "late: {per_day: 10}", ":2: `late.per_day` is '10'; write a number, 0 or"),
    "words": (D + "late: {per_day: ten}", ":2: `late.per_day` is 'ten'"),
    "nan": (D + "late: {per_day: nan}", ":2: `late.per_day` is 'nan'"),
    "infinite days": (D + "late: {most_days: inf}", ":2: `late.most_days` is 'inf'"),
    "half a day": (D + "late: {most_days: 2.5}", ":2: `late.most_days` is '2.5'; write a whole"),
    "negative": (D + "late: {grace_minutes: -5}", ":2: `late.grace_minutes` is '-5'"),
    "a floor alone": (D + "late: {floor: 0.5}", ":2: `late.floor` has nothing to limit"),
    "late without due": ("late: {per_day: 0.1}", ":1: `late` needs a due date; add `due:"),
    "twice": (D + "extensions:\n  ada: 2025-11-22T23:59Z\n  ada: 2025-11-23T23:59Z", ":4: "),
    "shorter": (D + "extensions: {ada: 2025-11-20T23:59Z}", ":2: `extensions.ada` ends before"),
    "no list": ("bonus: more", ":1: `bonus` is no list; write `[one, another]`"),
    "a list in a list": ("bonus: [[more]]", ":1: `bonus` is not a name"),
    "both": ("bonus: [a]\ndropped: [a]", ":2: `dropped` has 'a', and so has `bonus`"),
    "no YAML": ("due: [\n", ": is no YAML"),
    "too deep": ("[" * 400, " is no YAML"),
    "not UTF-8": (b"due: \xff\n", ": is not UTF-8; save it as UTF-8"),
}  # fmt: skip


@pytest.mark.parametrize(("content", "told"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_told_with_key_file_and_line(tmp_path, content, told):
    path = saved(tmp_path, content)
    said = refused(read_policy, path)
    assert said.startswith(f"{path}:")
    assert told in said
    assert ";" in said  # how to mend it


def test_a_file_that_is_not_there_is_named(tmp_path):
    assert "no such file; name the policy's file" in refused(read_policy, tmp_path / "none.yaml")
    assert "cannot be read" in refused(read_policy, tmp_path)
