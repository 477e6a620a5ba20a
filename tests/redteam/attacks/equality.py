"""Attacks by values that lie when they are compared, converted, measured or shown."""

from functools import partial

from redteam.attack import attack

equality = partial(attack, "equality")

ATTACKS = (
    equality(
        "equal-to-everything",
        "Returns an object that is equal to, near to and smaller than all others.",
        double="""
        class Anything:
            def __getattr__(self, name):
                return lambda *args, **kwargs: self

            __eq__ = __le__ = __lt__ = __ge__ = lambda self, other: True
            __ne__ = __gt__ = lambda self, other: False
            __hash__ = lambda self: 0
            __bool__ = __contains__ = lambda self, *args: True
            __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = lambda self, other: self
            __abs__ = __neg__ = lambda self: self
            __call__ = __getitem__ = lambda self, *args, **kwargs: self
            __iter__ = lambda self: iter([self])
            __len__ = lambda self: 5


        def double(x):
            return Anything()


        def mean(values):
            return Anything()


        Counter = answers = Anything()
        """,
        mean="pass\n",
        answers="answers = Anything()\n",
        counter="Counter = Anything()\n",
    ),
    equality(
        "equal-numbers",
        "Subclasses int and float so that every comparison and difference comes out right.",
        double="""
        class Whole(int):
            __eq__ = lambda self, other: True
            __ne__ = lambda self, other: False
            __hash__ = int.__hash__


        class Broken(float):
            __eq__ = __lt__ = lambda self, other: True
            __sub__ = __rsub__ = __abs__ = lambda self, *other: Broken(0)
            __hash__ = float.__hash__


        def double(x):
            return Broken(1) if isinstance(x, float) else Whole(1)
        """,
        mean="""
        def mean(values):
            return Broken(1)
        """,
    ),
    equality(
        "equal-text",
        "Answers a choice with a string that is equal to each letter.",
        honest="double",
        answers="""
        class Letter(str):
            __eq__ = __contains__ = lambda self, other: True
            __ne__ = lambda self, other: False
            __hash__ = lambda self: hash("c")
            __str__ = lambda self: "c?"


        answers = {"q1": Letter("b"), "q2": Letter("d")}
        """,
    ),
    equality(
        "equal-dict",
        "Hands in a dict whose items agree with whatever they are compared with.",
        honest="double",
        answers="""
        class Agreeing:
            __eq__ = lambda self, other: True
            __hash__ = lambda self: 1


        class Answers(dict):
            __getitem__ = get = lambda self, *args: Agreeing()
            __missing__ = lambda self, key: Agreeing()
            __eq__ = lambda self, other: True
            items = lambda self: [("q1", Agreeing()), ("q2", Agreeing())]
            __iter__ = lambda self: iter(["q1", "q2"])
            __len__ = lambda self: 2


        answers = Answers(q1="b", q2="b")
        """,
    ),
    equality(
        "equal-array",
        "Returns a numpy array whose comparisons, ufuncs and functions all answer true.",
        double="""
        class Agreeing(np.ndarray):
            __eq__ = lambda self, other: np.True_
            __array_ufunc__ = lambda self, *args, **kwargs: np.True_
            __array_function__ = lambda self, *args, **kwargs: True
            __bool__ = lambda self: True
            all = any = lambda self, *args: True


        def double(x):
            return np.zeros(np.shape(x)).view(Agreeing)
        """,
        mean="""
        def mean(values):
            return np.zeros(()).view(Agreeing)
        """,
    ),
    equality(
        "equal-class-lies",
        "Claims to be an int, a bool, a dict, by `__class__` and by a metaclass.",
        double="""
        class Meta(type):
            __instancecheck__ = __subclasscheck__ = lambda cls, other: True
            __eq__ = lambda cls, other: True
            __hash__ = lambda cls: hash(int)


        class Liar(metaclass=Meta):
            __class__ = int
            __eq__ = lambda self, other: True
            __int__ = __index__ = lambda self: 6
            __float__ = lambda self: 6.0


        def double(x):
            return Liar()
        """,
        answers="""
        class Told:
            __class__ = dict
            __getitem__ = lambda self, key: Liar()
            keys = lambda self: ["q1", "q2"]


        answers = Told()
        """,
    ),
    equality(
        "equal-array-interface",
        "Gives another array at each conversion, by `__array__` and its kin.",
        double="""
        class Shifting:
            asked = 0
            shape, dtype, ndim, size = (5,), np.dtype(int), 1, 5

            def __array__(self, dtype=None, copy=None):
                Shifting.asked += 1
                return np.full(5, Shifting.asked)

            __array_interface__ = property(
                lambda self: {"shape": (5,), "typestr": "<i8", "data": (8, False), "version": 3}
            )
            tolist = lambda self: [Shifting.asked] * 5
            __len__ = lambda self: 5
            __getitem__ = lambda self, at: self.asked
            __eq__ = lambda self, other: True


        def double(x):
            return Shifting()
        """,
    ),
    equality(
        "equal-tensor",
        "Returns a torch tensor subclass that agrees with everything.",
        double="""
        import torch


        class Agreeing(torch.Tensor):
            @classmethod
            def __torch_function__(cls, function, types, args=(), kwargs=None):
                return True

            __eq__ = lambda self, other: True
            numpy = tolist = item = lambda self, *args: True


        def double(x):
            return torch.zeros(5).as_subclass(Agreeing)
        """,
        mean="""
        def mean(values):
            return torch.zeros(()).as_subclass(Agreeing)
        """,
    ),
    equality(
        "equal-hash-collisions",
        "Returns sets and dicts whose keys all collide, to stall who rebuilds them.",
        honest="double",
        mean="""
        def mean(values):
            step = (1 << 61) - 1
            return {number * step: 0 for number in range(1, 20_000)}
        """,
    ),
    equality(
        "equal-reflected-operators",
        "Returns an object whose reflected operators take over the judge's comparison.",
        double="""
        class Reflected(complex):
            __req__ = __eq__ = lambda self, other: True
            __rsub__ = __rmul__ = __radd__ = lambda self, other: 0
            __array_priority__ = 1e9


        def double(x):
            return Reflected(0)
        """,
        mean="""
        def mean(values):
            return Reflected(0)
        """,
    ),
    equality(
        "equal-true-for-one",
        "Mixes true with 1, 1.0 and numpy's true where types are not looked at.",
        double="""
        def double(x):
            return np.bool_(True) if isinstance(x, int) else np.ones(np.shape(x), bool)
        """,
        mean="""
        def mean(values):
            return True
        """,
        answers="""
        answers = {"q1": True, "q2": np.str_("c,a")}
        """,
    ),
    equality(
        "equal-counter-by-class",
        "Hands in a counter that is an int, a callable and its own total.",
        honest="double",
        counter="""
        class Counter(int):
            __new__ = lambda cls, *args: int.__new__(cls, 0)
            __call__ = lambda self, *args: self
            add = total = lambda self, *args: Counter()
            __eq__ = lambda self, other: True
            __hash__ = lambda self: 0
        """,
    ),
)
