"""Attacks on who unpickles: results and files that run code where they are loaded."""

from functools import partial

from redteam.attack import LAST, attack

pickles = partial(attack, "pickles")

# What a pickle here runs, wherever it is loaded: it makes an empty file of a new name, no more.
BOMB = """
import os


class Bomb:
    def __reduce__(self):
        return os.mkdir, ("/tmp/w2s-redteam-unpickled",)
"""

ATTACKS = (
    pickles(
        "pickle-reduce-returned",
        "Returns objects that run code where they are unpickled.",
        honest="double",
        needs=[BOMB],
        mean="""
        def mean(values):
            return [Bomb(), {"x": Bomb()}, (Bomb(),)]
        """,
        answers="""
        answers = {"q1": Bomb(), "q2": Bomb()}
        """,
    ),
    pickles(
        "pickle-object-arrays",
        "Returns numpy arrays that hold objects, alone and as a structure's field.",
        honest="double",
        needs=[BOMB],
        mean="""
        def mean(values):
            if isinstance(values, list):
                return np.array([Bomb(), None, Bomb()], dtype=object)
            return np.array([(1, Bomb())], dtype=[("a", int), ("b", object)])
        """,
    ),
    pickles(
        "pickle-bytes-returned",
        "Returns a pickle as bytes and as text, for somebody to try.",
        double="""
        import base64, pickle

        packed = pickle.dumps(int)


        def double(x):
            return packed
        """,
        mean="""
        def mean(values):
            return base64.b64encode(packed).decode()
        """,
    ),
    pickles(
        "pickle-torch-objects",
        "Returns modules, storages and tensors that keep objects of their own.",
        honest="double",
        needs=[BOMB],
        mean="""
        import torch


        class Net(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.layer, self.bomb = torch.nn.Linear(2, 2), Bomb()
                self.register_forward_hook(lambda *args: 0.0)

            def __reduce__(self):
                return Bomb().__reduce__()


        def mean(values):
            net = Net()
            return {"net": net, "state": net.state_dict(), "raw": torch.ones(2).untyped_storage()}
        """,
    ),
    pickles(
        "pickle-files-left",
        "Leaves files that a collector might load: pickles, checkpoints, arrays, coverage.",
        honest="double",
        needs=[BOMB],
        extra=[
            (
                LAST,
                """
                import pickle

                names = ("model.pt", "result.pkl", "marks.npy", "results.json", ".coverage")
                for folder in (".", "/tmp", os.path.expanduser("~")):
                    for name in names:
                        try:
                            with open(os.path.join(folder, "w2s-redteam-" + name), "wb") as file:
                                pickle.dump(Bomb(), file)
                        except OSError:
                            pass
                """,
            )
        ],
    ),
    pickles(
        "pickle-dtype-lies",
        "Returns arrays of odd types: void, text, dates, half floats, other byte orders, masks.",
        double="""
        kinds = ["V8", "S3", "U3", "M8[s]", "m8[D]", "f2", ">f8", "<c16", "?", "g"]
        calls = []


        def double(x):
            calls.append(0)
            return np.zeros(np.shape(x) or (1,), kinds[len(calls) % len(kinds)])
        """,
        mean="""
        def mean(values):
            return np.ma.masked_all(3) if isinstance(values, list) else np.matrix([[0.0]])
        """,
    ),
    pickles(
        "pickle-tensor-kinds",
        "Returns tensors that are sparse, quantized, on no device, or of odd types.",
        double="""
        import torch

        kinds = [
            lambda: torch.ones(3, 3).to_sparse(),
            lambda: torch.empty(10**9, 10**9, device="meta"),
            lambda: torch.ones(3, dtype=torch.bfloat16),
            lambda: torch.ones(3, dtype=torch.complex64),
            lambda: torch.ones(1).expand(10**9),
            lambda: torch.ones(3, requires_grad=True),
            lambda: torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8),
            lambda: torch.nn.Parameter(torch.ones(3)),
        ]
        calls = []


        def double(x):
            calls.append(0)
            return kinds[len(calls) % len(kinds)]()
        """,
        mean="""
        def mean(values):
            return kinds[len(calls) % len(kinds)]()
        """,
    ),
    pickles(
        "pickle-array-views",
        "Returns views of memory with strides that lie, and arrays of no size and many axes.",
        double="""
        from numpy.lib.stride_tricks import as_strided


        def double(x):
            return as_strided(np.zeros(1), shape=(1 << 30,), strides=(0,))
        """,
        mean="""
        def mean(values):
            if isinstance(values, list):
                return np.zeros((0,) + (1 << 10,) * 5)
            return np.zeros((1,) * 32)
        """,
    ),
)
