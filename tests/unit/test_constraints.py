"""constraints.txt pins whatever setup.py asks for, and what that asks for in turn."""

import ast
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]
UNTESTED = ("gpu", "bench", "wandb")  # extras of setup.py whose packages the suite does not install


def pinned() -> dict[str, Version]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = (line.split("==") for line in lines if not line.startswith("#"))
    return {canonicalize_name(name): Version(version) for name, version in pins}


def keywords() -> dict[str, ast.expr]:
    """What setup.py gives to setup()."""
    calls = [
        node
        for node in ast.walk(ast.parse((ROOT / "setup.py").read_text()))
        if isinstance(node, ast.Call)
    ]
    (call,) = (node for node in calls if getattr(node.func, "id", "") == "setup")
    return {k.arg: k.value for k in call.keywords}


def extras() -> dict[str, list[str]]:
    return ast.literal_eval(keywords()["extras_require"])


def asked_for() -> list[Requirement]:
    texts = ast.literal_eval(keywords()["install_requires"])
    for extra, more in extras().items():
        texts += [] if extra in UNTESTED else more
    asked = [Requirement(text) for text in texts]
    return [requirement for requirement in asked if requirement.name != "signbind-jax"]


def test_all_that_setup_py_asks_for_is_pinned_as_it_allows():
    pins, asked = pinned(), asked_for()
    assert len(asked) > 30
    wrong = [str(r) for r in asked if pins.get(canonicalize_name(r.name)) not in r.specifier]
    assert not wrong


def test_what_those_need_is_pinned_too():
    pins, waiting, seen = pinned(), asked_for(), set()
    while waiting:
        requirement = waiting.pop()
        key = canonicalize_name(requirement.name), frozenset(requirement.extras)
        if key in seen:
            continue
        seen.add(key)
        assert key[0] in pins, f"{key[0]}: not in constraints.txt; run make constraints"
        try:
            needed = metadata.requires(key[0]) or ()
        except metadata.PackageNotFoundError:  # an extra that is not installed here
            continue
        for more in map(Requirement, needed):
            environments = [{"extra": extra} for extra in ("", *requirement.extras)]
            if not more.marker or any(more.marker.evaluate(e) for e in environments):
                waiting.append(more)
    assert len(seen) > 60
