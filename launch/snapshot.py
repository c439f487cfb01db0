"""A git checkout as it stands, uncommitted changes included, in one file."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from signbind_jax.errors import SignBindError


@dataclass(frozen=True)
class Snapshot:
    """What git tracks in a checkout, at one moment.

    Attributes:
      tree: git's digest of the files; equal for equal files.
      note: what it is, in a line.
    """

    checkout: Path
    tree: str
    note: str

    @classmethod
    def of(cls, checkout: Path) -> "Snapshot":
        """The checkout as it stands; changes nothing in it.

        Raises:
          SignBindError: the directory is no git checkout.
        """
        head = _git(checkout, "rev-parse", "--short", "HEAD")
        # A commit of the working tree that no branch names; empty where nothing has changed.
        changed = _git(checkout, "stash", "create")
        tree = _git(checkout, "rev-parse", f"{changed or 'HEAD'}^{{tree}}")
        untracked = _git(checkout, "ls-files", "--others", "--exclude-standard").splitlines()
        with_changes = " with uncommitted changes" if changed else ""
        return cls(checkout, tree, f"source {head}{with_changes}; {len(untracked)} untracked "
                                   "files are not copied")  # fmt: skip

    def pack(self, archive: Path) -> None:
        """Writes it as a .tar.gz that pip installs; leaves one that is there."""
        if archive.exists():
            return
        archive.parent.mkdir(parents=True, exist_ok=True)
        partial = archive.with_name(f"partial-{archive.name}")
        _git(self.checkout, "archive", "--format=tar.gz", "--prefix=signbind-jax/",
             f"--output={partial.resolve()}", self.tree)  # fmt: skip
        partial.replace(archive)


def _git(checkout: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(checkout), *arguments], capture_output=True,
                          text=True, env={**os.environ, "LC_ALL": "C"})  # fmt: skip
    if done.returncode:
        line = (done.stderr.strip().splitlines() or ["git failed"])[-1]
        raise SignBindError(f"--source={checkout}: {line}; wanted a git checkout, or what pip "
                            "installs")  # fmt: skip
    return done.stdout.strip()
