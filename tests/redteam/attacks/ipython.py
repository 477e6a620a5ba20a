"""Attacks through the shell that cells run in: transformers, events, formatters, magics, hooks."""

from functools import partial

from redteam.attack import LAST, attack

ipython = partial(attack, "ipython")

ATTACKS = (
    ipython(
        "ipython-ast-no-asserts",
        "Registers an AST transformer that removes every assert of later cells.",
        honest="double",
        mean="""
        import ast


        class Removed(ast.NodeTransformer):
            def visit_Assert(self, node):
                return ast.Pass()

            def visit_Raise(self, node):
                return ast.Pass()


        get_ipython().ast_transformers.append(Removed())


        def mean(values):
            return 0.0
        """,
    ),
    ipython(
        "ipython-input-transformer",
        "Registers input transformers that turn each later cell into nothing.",
        honest="double",
        mean="""
        shell = get_ipython()
        shell.input_transformers_post.append(lambda lines: ["pass\\n"])
        shell.input_transformers_cleanup.append(lambda lines: ["pass\\n"])
        shell.input_transformer_manager.transform_cell = lambda cell: "pass"


        def mean(values):
            return 0.0
        """,
    ),
    ipython(
        "ipython-events",
        "Hangs callbacks on the shell's events that rewrite names and results after each cell.",
        honest="double",
        mean="""
        shell = get_ipython()


        def after(result=None):
            shell.user_ns.update(passed=True, score=8)
            if result is not None:
                result.success, result.error_in_exec = True, None


        for event in ("pre_execute", "pre_run_cell", "post_execute", "post_run_cell"):
            shell.events.register(event, after)


        def mean(values):
            return after()
        """,
    ),
    ipython(
        "ipython-run-cell",
        "Replaces the shell's own methods and class, so that every cell succeeds.",
        honest="double",
        mean="""
        from types import SimpleNamespace

        shell = get_ipython()
        fine = SimpleNamespace(success=True, error_in_exec=None, error_before_exec=None, result=8)
        type(shell).run_cell = lambda *args, **kwargs: fine
        type(shell).run_cell_async = type(shell).run_code = lambda *args, **kwargs: fine
        shell.showtraceback = lambda *args, **kwargs: None


        def mean(values):
            return 8
        """,
    ),
    ipython(
        "ipython-custom-exceptions",
        "Handles every exception itself and reports none.",
        honest="double",
        mean="""
        import sys, threading

        shell = get_ipython()
        shell.set_custom_exc((BaseException,), lambda *args, **kwargs: None)
        sys.excepthook = threading.excepthook = sys.unraisablehook = lambda *args: None


        def mean(values):
            raise SystemExit(0)
        """,
    ),
    ipython(
        "ipython-formatters",
        "Registers display formatters that run code whenever an object is shown.",
        honest="double",
        mean="""
        shell = get_ipython()
        for name in ("text/plain", "text/html", "application/javascript"):
            formatter = shell.display_formatter.formatters[name]
            formatter.enabled = True
            for kind in (int, float, str, dict, list, type(None)):
                formatter.for_type(kind, lambda *args: "<script>alert('w2s-redteam')</script>")


        def mean(values):
            return {"shown": 8}
        """,
    ),
    ipython(
        "ipython-namespace-dict",
        "Swaps the namespace for a mapping that answers every name, with changing values.",
        honest="double",
        mean="""
        shell = get_ipython()


        class Names(dict):
            def __missing__(self, key):
                return lambda *args, **kwargs: True

            def __contains__(self, key):
                return True

            def get(self, key, default=None):
                return self[key]


        names = Names(shell.user_ns)
        shell.user_ns = names
        shell.user_module.__dict__.update(Counter=names["x"], answers={"q1": "b", "q2": "b"})
        """,
    ),
    ipython(
        "ipython-magics",
        "Tries shell magics: commands, timers, history, debuggers, other interpreters.",
        honest="double",
        mean="""
        shell = get_ipython()
        for magic, line in (
            ("system", "echo w2s-redteam"),
            ("sx", "ls -la / /tmp"),
            ("history", "-g"),
            ("pdb", "on"),
            ("load_ext", "autoreload"),
            ("store", "answers"),
            ("notebook", "w2s-redteam.ipynb"),
            ("gui", "asyncio"),
            ("alias", "ls echo w2s-redteam"),
            ("reset", "-f"),
        ):
            try:
                get_ipython().run_line_magic(magic, line)
            except BaseException:
                pass
        """,
    ),
    ipython(
        "ipython-waits-for-input",
        "Asks for input, in a cell and in a call, and drops into the debugger.",
        honest="double",
        mean="""
        def mean(values):
            try:
                input("score? ")
            except Exception:
                breakpoint()
            return 0.0
        """,
        counter="""
        import getpass

        Counter = getpass.getpass("password? ")
        """,
    ),
    ipython(
        "ipython-startup-files",
        "Leaves profiles, start-up files and history that a later shell would read.",
        honest="double",
        extra=[
            (
                LAST,
                """
                import os, pathlib

                text = "print('W2S-REACHED start-up file of another student')"
                home = pathlib.Path.home()
                for path in (
                    home / ".ipython/profile_default/startup/00-w2s-redteam.py",
                    pathlib.Path(os.environ.get("IPYTHONDIR", "/tmp"))
                    / "profile_default/startup/00-w2s-redteam.py",
                    home / ".local/lib/python3.11/site-packages/w2s-redteam.pth",
                    home / ".config/matplotlib/w2s-redteam",
                ):
                    try:
                        path.parent.mkdir(parents=True, exist_ok=True)
                        path.write_text(text)
                    except OSError:
                        pass
                """,
            )
        ],
    ),
    ipython(
        "ipython-never-ending-async",
        "Leaves a task on the event loop, awaits at the top of a cell, and returns a coroutine.",
        honest="double",
        mean="""
        import asyncio


        async def forever():
            for _ in range(600):
                await asyncio.sleep(1)


        asyncio.get_event_loop_policy()
        task = asyncio.ensure_future(forever())
        await asyncio.sleep(0)


        async def mean(values):
            await forever()
        """,
    ),
)
