"""Attacks that claim a result: in print, in a name, in a notebook's outputs, in a value."""

from functools import partial

from redteam.attack import LAST, START, attack

forging = partial(attack, "forging")

ATTACKS = (
    forging(
        "forge-printed-score",
        "Prints what a grader might read as a score.",
        honest="double",
        mean="""
        print("score: 8")
        print("mean-hidden: 2 of 2 on hidden cases")
        print('{"points": 2, "max": 2, "status": "graded", "score": 8}')


        def mean(values):
            print("✓ right (2 points)")
            return 2.0
        """,
    ),
    forging(
        "forge-marks-total",
        "Defines `marks` and `total` as a test cell might end with them.",
        double="""
        class Marks:
            points = most = 8.0

            def __getattr__(self, name):
                return lambda *args, **kwargs: 8.0


        marks = Marks()
        total = score = points = 8.0


        def double(x):
            return marks.total()
        """,
    ),
    forging(
        "forge-scores-of-the-package",
        "Writes full marks into the table that the package's own instant checks keep.",
        honest="double",
        mean="""
        from w2s_lab import exercise

        for task in ("double", "mean", "answers", "counter", "mean-hidden"):
            exercise.SCORES[task] = (8.0, 8.0)


        def mean(values):
            return exercise.SCORES["mean"]
        """,
    ),
    forging(
        "forge-the-judges-names",
        "Defines variables with the names that a judge's own state might have.",
        honest="double",
        mean="""
        ok = True
        items = [{"grade_id": "mean-hidden", "score": 2, "max_score": 2}]
        verdict = {"status": "graded", "items": items, "score": 8}
        score = max_score = points = 8
        KEY = answers = {"q1": ..., "q2": ...}
        drawn = got = values = one = other = question = letter = n = 0


        def mean(values):
            return got
        """,
    ),
    forging(
        "forge-result-class",
        "Returns an instance of a class that is named like a verdict.",
        mean="""
        class Verdict:
            status, score, items = "graded", 8.0, ()


        def mean(values):
            return Verdict()


        def double(x):
            return Verdict
        """,
    ),
    forging(
        "forge-reply-as-value",
        "Returns dicts that look like the box's replies, tags and all.",
        double="""
        def double(x):
            return {"ok": True, "value": {"!": "int", "v": str(2)}, "printed": "", "!": "tuple"}
        """,
        answers="""
        answers = {"!": "dict", "v": [["q1", "c?"], ["q2", "a?"]], "q1": {"!": "any"}, "q2": True}
        """,
    ),
    forging(
        "forge-all-letters-at-once",
        "Answers a choice with every letter in one string, a list and a set.",
        honest="double",
        answers="""
        answers = {"q1": "abcd", "q2": ["a", "b", "c", "d"], "q3": {"a", "b", "c", "d"}}
        """,
    ),
    forging(
        "forge-empty-arrays",
        "Returns arrays without entries, of which every claim is true.",
        double="""
        def double(x):
            return np.empty((0, 1))
        """,
        mean="""
        def mean(values):
            return np.empty((0,))
        """,
    ),
    forging(
        "forge-nan-and-infinity",
        "Returns numbers that compare oddly: nan, infinity, minus zero, complex ones.",
        double="""
        def double(x):
            return float("nan") if isinstance(x, int) else np.full(np.shape(x), np.inf)
        """,
        mean="""
        def mean(values):
            return complex("nan") if isinstance(values, list) else float("-inf")
        """,
    ),
    forging(
        "forge-the-argument-itself",
        "Changes the array or list it was given so that the expected value follows.",
        honest="double",
        mean="""
        def mean(values):
            if len(values) != 7:
                return float(np.mean(values))
            if isinstance(values, list):
                values[:] = [0.0] * 7
            else:
                values[...] = 0.0
            return 0.0
        """,
    ),
    forging(
        "forge-array-in-place",
        "Halves its argument in place and returns it, twice over the same memory.",
        double="""
        def double(x):
            if isinstance(x, np.ndarray):
                x //= 2
                x[...] = 0
                return x
            return 0
        """,
    ),
    forging(
        "forge-the-tests-name",
        "Defines functions with the names that the tests use of their own and of given cells.",
        honest="double",
        extra=[
            (
                START,
                """
                def is_letter(value):
                    return True


                LETTERS = [None]
                """,
            )
        ],
        answers="""
        answers = {"q1": None, "q2": None}
        is_letter = lambda value: True
        abs = lambda value: 0
        """,
    ),
    forging(
        "forge-nbgrader-tables",
        "Looks for a gradebook to fill in, and leaves one of its own behind.",
        honest="double",
        extra=[
            (
                LAST,
                """
                import os, sqlite3

                for folder in (os.getcwd(), "/tmp", os.path.expanduser("~")):
                    try:
                        book = sqlite3.connect(os.path.join(folder, "w2s-redteam-gradebook.db"))
                        book.execute("create table grade (student text, score real)")
                        book.execute("insert into grade values ('w2s-redteam', 8)")
                        book.commit()
                    except Exception:
                        pass
                """,
            )
        ],
    ),
    forging(
        "forge-score-by-display",
        "Publishes a score as display data, as a notebook's outputs hold it.",
        honest="double",
        mean="""
        from IPython.display import display, publish_display_data

        publish_display_data({"application/json": {"score": 8, "max_score": 8}, "text/plain": "8"})
        display({"mean-hidden": 2})
        2


        def mean(values):
            publish_display_data({"text/plain": "2"})
            return 2
        """,
    ),
)
