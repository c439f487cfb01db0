"""Versions of what decides the bits of a run: kept with it, compared between hosts and starts."""

import platform
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path

from signbind_jax.distributed import hosts
from signbind_jax.errors import SignBindError

PYTHON = "python"
PACKAGES = (
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "orbax-checkpoint",
    "grain",
    "numpy",
    "tokenizers",
)
OPTION = "--other_versions"
HELP = (
    "goes on also with a run that other versions of jax, numpy and the like have made; its bits "
    "may then be others"
)
_CONSTRAINTS = "constraints.txt of a checkout holds the versions that were tested together"


def installed(packages: Iterable[str] = PACKAGES) -> dict[str, str]:
    """Version by package, Python's first; empty where one is not installed."""
    return {PYTHON: platform.python_version()} | {name: _version(name) for name in packages}


def check_hosts(here: Mapping[str, str]) -> None:
    """Compares versions across all processes; every process has to call it.

    Raises:
      SignBindError: on every process, the first package that differs and where.
    """
    found = hosts.all_gather("comparing versions", dict(here))
    for name in here:
        for i, there in enumerate(found):
            if _deciding(name, there[name]) != _deciding(name, found[0][name]):
                raise SignBindError(
                    f"versions: {name}: found {_told(there[name])} on process {i} and "
                    f"{_told(found[0][name])} on process 0, wanted the same on all: install the "
                    f"same on every host; {_CONSTRAINTS}"
                )


def check_resumed(
    saved: Mapping[str, Sequence[str]], here: Mapping[str, str], directory: Path
) -> None:
    """Refuses to go on with a run under other versions than its newest step was made with.

    Args:
      saved: as `Manifest.versions`; empty where a run was begun before they were kept.

    Raises:
      SignBindError: names what differs.
    """
    other = [
        f"{name} {_told(version)} (the run: {saved[name][-1]})"
        for name, version in here.items()
        if saved.get(name) and _deciding(name, saved[name][-1]) != _deciding(name, version)
    ]
    if other:
        raise SignBindError(
            f"{directory}: versions: found {', '.join(other)}, wanted those of the run, as others "
            f"may compute other bits: install them, or give {OPTION} to go on with these"
        )


def joined(saved: Mapping[str, Sequence[str]], here: Mapping[str, str]) -> dict[str, list[str]]:
    """For `Manifest.versions`: all that a run was made with, in order, those from here on last."""
    return {
        name: [*(v for v in saved.get(name, ()) if v != version), version]
        for name, version in here.items()
    }


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _deciding(name: str, version: str) -> str:
    """The part of a version that may change results: not Python's patch level."""
    return ".".join(version.split(".")[:2]) if name == PYTHON else version


def _told(version: str) -> str:
    return version or "none"
