"""The promises that the project makes about itself: what it needs, what it holds, what it costs.

It does not test what the package computes. Ranges are compared as PEP 440 specifiers.
"""

import ast
import copy
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
# Where conda-forge calls a package otherwise. matplotlib-base is matplotlib without a window
# toolkit of some 100 MB; conda's dask brings distributed.
CONDA_NAMES = {
    "torch": "pytorch",
    "matplotlib": "matplotlib-base",
    "huggingface-hub": "huggingface_hub",
    "jupyter-client": "jupyter_client",
}
# Where a module is called otherwise than the package that holds it.
PACKAGES = {"distributed": "dask", "sklearn": "scikit-learn", "yaml": "pyyaml"}


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def environment() -> dict:
    return yaml.safe_load((ROOT / "environment.yml").read_text("utf-8"))


def pins() -> dict[str, str]:
    return read_pins((ROOT / "constraints.txt").read_text("utf-8"))


def needs(pyproject: dict) -> dict[str, SpecifierSet]:
    """Range of each direct dependency, of all extras too, by canonical name."""
    table = pyproject["project"]
    extras = table["optional-dependencies"].values()
    requirements = map(Requirement, sum(extras, table["dependencies"]))
    return {canonicalize_name(r.name): r.specifier for r in requirements}


# --- conda agrees with pip ------------------------------------------------------------------------


def conda_disagreements(pyproject: dict, conda: dict) -> list[str]:
    """A line for each way in which an environment.yml departs from a pyproject.toml."""
    lines = [line for line in conda["dependencies"] if isinstance(line, str)]
    have = {}
    for line in lines:
        name, _, specifier = line.partition(" ")
        have[name] = SpecifierSet(specifier)
    want = {"python": SpecifierSet(pyproject["project"]["requires-python"])}
    want |= {CONDA_NAMES.get(name, name): range_ for name, range_ in needs(pyproject).items()}
    want["pip"] = SpecifierSet()
    found = [f"missing: {name}" for name in want if name not in have]
    found += [f"not in pyproject.toml: {name}" for name in have if name not in want]
    found += [
        f"{name}: {have[name]} in environment.yml, {want[name]} in pyproject.toml"
        for name in want
        if name in have and have[name] != want[name]
    ]
    pip = [
        line for entry in conda["dependencies"] if isinstance(entry, dict) for line in entry["pip"]
    ]
    if pip != ["-e ."]:
        found.append(f"pip installs {pip}, not only this package")
    if len(lines) != len(have):
        found.append("a package is listed twice")
    if not conda["channels"] or conda["channels"][0] != "conda-forge":
        found.append("the first channel is not conda-forge")
    return found


def test_the_conda_environment_has_the_packages_and_ranges_of_pyproject():
    assert conda_disagreements(project(), environment()) == []


def edit(change):
    """A copy of environment.yml, changed."""
    conda = copy.deepcopy(environment())
    change(conda, conda["dependencies"])
    return conda


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda c, d: d.remove("numpy >=2.0"), "missing: numpy"),
        (lambda c, d: d.remove("python >=3.11"), "missing: python"),
        (lambda c, d: d.append("keras >=3"), "not in pyproject.toml: keras"),
        (lambda c, d: d.append("numpy >=2.0"), "listed twice"),
        (lambda c, d: d.__setitem__(d.index("numpy >=2.0"), "numpy >=2.1"), "numpy: >=2.1"),
        (lambda c, d: d.__setitem__(d.index("numpy >=2.0"), "numpy"), "numpy:  in environment"),
        (lambda c, d: d[-1]["pip"].append("rich"), "rich"),
        (lambda c, d: d.pop(), "pip installs []"),
        (lambda c, d: c["channels"].reverse(), "conda-forge"),
    ],
)
def test_a_conda_environment_that_departs_from_pyproject_is_named(change, complaint):
    (found,) = conda_disagreements(project(), edit(change))
    assert complaint in found


def test_an_upper_bound_that_conda_lacks_is_named():
    pyproject = copy.deepcopy(project())
    dependencies = pyproject["project"]["dependencies"]
    dependencies[dependencies.index("torch>=2.6")] = "torch>=2.6,<3"
    (found,) = conda_disagreements(pyproject, environment())
    assert found.startswith("pytorch: ")


# --- pins satisfy the ranges ----------------------------------------------------------------------


def read_pins(text: str) -> dict[str, str]:
    """Version by canonical name; raises ValueError for a line that is no plain `name==version`."""
    found = {}
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue
        pin = re.fullmatch(r"([A-Za-z0-9._-]+)==([0-9][A-Za-z0-9.]*)", line)
        if not pin:
            raise ValueError(f"not a plain pin: {line}")
        name = canonicalize_name(pin[1])
        if name in found:
            raise ValueError(f"pinned twice: {name}")
        found[name] = pin[2]
    return found


def unmet(pyproject: dict, pinned: dict[str, str]) -> list[str]:
    """A line for each direct dependency whose pin is missing or out of range."""
    return [
        f"{name}{range_}: pinned to {pinned.get(name)}"
        for name, range_ in needs(pyproject).items()
        if name not in pinned or pinned[name] not in range_
    ]


def test_every_direct_dependency_is_pinned_within_its_range():
    assert unmet(project(), pins()) == []


@pytest.mark.parametrize(
    ("name", "version"), [("numpy", "1.26.4"), ("transformers", "6.0.0"), ("pytest", None)]
)
def test_a_pin_out_of_range_or_missing_is_named(name, version):
    pinned = pins() | {name: version}
    if version is None:
        del pinned[name]
    (found,) = unmet(project(), pinned)
    assert found.startswith(name)


@pytest.mark.parametrize(
    "line", ["torch==2.13.0+cpu", "-e .", "torch>=2", "torch @ file:///x.whl", "a==1\nA==2"]
)
def test_a_constraint_that_is_no_plain_pin_is_refused(line):
    with pytest.raises(ValueError, match=r"plain pin|twice"):
        read_pins(line)


def test_what_this_environment_installed_is_within_the_ranges():
    from importlib.metadata import PackageNotFoundError, version

    for name, range_ in needs(project()).items():
        try:
            installed = version(name)
        except PackageNotFoundError:
            continue  # an extra that was not asked for
        assert range_.contains(installed, prereleases=True), f"{name} {installed}, wanted {range_}"


def imported_packages(source: str) -> set[str]:
    """Top-level names of the absolute imports in Python source, wherever they stand in it."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add(node.module.split(".")[0])
    return names


def test_what_the_package_imports_is_declared():
    files = list((ROOT / "w2s_lab").rglob("*.py"))
    assert files
    known = sys.stdlib_module_names | {"w2s_lab"}
    declared = requirements(project()["project"]["dependencies"])
    extras = project()["project"]["optional-dependencies"]
    optional = requirements(extras["grade"] + extras["cluster"]) | {"sqlalchemy"}  # nbgrader's
    for file in files:
        used = imported_packages(file.read_text("utf-8")) - known
        # whoever exports to nbgrader or works on a cluster has installed it
        wide = "grading" in file.parts or file.stem in ("cluster", "grid", "workers")
        allowed = declared | optional if wide else declared
        assert {canonicalize_name(PACKAGES.get(name, name)) for name in used} <= allowed, file


def requirements(lines):
    """The names of packages in requirements."""
    return {canonicalize_name(Requirement(line).name) for line in lines}


def test_an_import_inside_a_function_counts_as_imported():
    source = "import os.path\ndef f():\n    from sklearn.svm import SVC\n    from . import x\n"
    assert imported_packages(source) == {"os", "sklearn"}


# --- nothing of one machine is left in the files --------------------------------------------------

# A home folder, or a host that serves packages. Each stands so that it does not match itself.
PERSONAL = re.compile(
    r"(?<![\w.~)}-])/(?:home|root|work|Users)/[\w.]"
    r"|\b(?:pypi\.org|pythonhosted\.org|anaconda\.org|download\.pytorch\.org)\b"
)


def personal(text: str) -> list[str]:
    """What in a text only makes sense on one machine, a little of it each."""
    return [match.group() for match in PERSONAL.finditer(text)]


def project_files() -> list[Path]:
    """Files that git tracks or would, so that a slip is found before it is committed."""
    if not shutil.which("git"):
        pytest.skip("git is not installed")
    command = ["git", "-C", str(ROOT), "ls-files", "-z", "-co", "--exclude-standard"]
    listing = subprocess.run(command, capture_output=True, text=True)
    if listing.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listing.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_no_file_names_a_folder_of_one_machine_or_a_package_host():
    files = project_files()
    assert ROOT / "pyproject.toml" in files
    found = {f.name: personal(f.read_text("utf-8", errors="ignore")) for f in files}
    assert {name: what for name, what in found.items() if what} == {}


@pytest.mark.parametrize(
    "text",
    [
        "open('/" + "home/ann/x.csv')",
        "at /" + "root/.cache/w2s-lab",
        '"/' + 'work/main/out"',
        "file:///" + "Users/ann/x",
        "https://" + "pypi" + ".org/simple",
        "files." + "pythonhosted" + ".org",
        "conda." + "anaconda" + ".org",
    ],
)
def test_a_path_or_host_of_one_machine_is_found(text):
    assert personal(text)


@pytest.mark.parametrize("text", ["a/work/b", "~/home/x", "/homework/1", "https://x.org/home/y"])
def test_a_path_that_any_machine_may_have_is_left_alone(text):
    assert personal(text) == []


# --- what `import w2s_lab` costs and offers -------------------------------------------------------


def test_importing_the_package_loads_none_of_the_heavy_libraries():
    heavy = {"torch", "transformers", "datasets", "sklearn", "matplotlib", "pandas", "ipywidgets"}
    code = "import json, sys, w2s_lab; print(json.dumps([w2s_lab.__file__, *sys.modules]))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    file, *modules = json.loads(run.stdout)
    assert file and file.endswith("__init__.py")
    assert heavy & set(modules) == set()


# Calls that people outside this repository make; they must go on being possible.
@pytest.mark.parametrize(
    ("module", "name", "arguments", "options"),
    [
        ("w2s_lab", "load_task", ["indemnity"], ["size"]),
        (
            "w2s_lab",
            "run",
            ["indemnity"],
            ["weak", "strong", "methods", "seeds", "size", "device"],
        ),
        ("w2s_lab.metrics", "performance_gap_recovered", ["weak", "student", "ceiling"], []),
        (
            "w2s_lab.metrics",
            "bootstrap_pgr",
            ["weak", "student", "ceiling"],
            ["confidence", "resamples", "seed"],
        ),
        ("w2s_lab.losses", "distillation_loss", ["student_logits", "weak_probs"], ["temperature"]),
        ("w2s_lab.losses", "confidence_loss", ["student_logits", "weak_probs"], ["alpha", "prior"]),
    ],
)
def test_a_public_function_takes_the_arguments_it_promised(module, name, arguments, options):
    function = getattr(__import__(module, fromlist=[name]), name)
    inspect.signature(function).bind(*arguments, **dict.fromkeys(options))


@pytest.mark.parametrize("own, kept", [({}, "1"), ({"THP_MEM_ALLOC_ENABLE": "0"}, "0")])
def test_large_pages_are_asked_for_unless_you_decide_otherwise(own, kept):
    names = [name for name in os.environ if name != "THP_MEM_ALLOC_ENABLE"]
    code = "import os, w2s_lab; print(os.environ['THP_MEM_ALLOC_ENABLE'])"
    environment = {name: os.environ[name] for name in names} | own
    told = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert told.stdout.strip() == kept
