"""A git checkout as it stands, uncommitted changes included, in one file."""

import os
import posixpath
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from signbind_jax import files
from signbind_jax.errors import SignBindError

_MOST_BYTES = 2**29  # of all files together: it is copied to every worker
_SECRET_FILE = re.compile(
    r"\.env(\.(?!example$|sample$|template$).*)?|.*\.(pem|key|p12|pfx)|id_(rsa|dsa|ecdsa|ed25519)"
    r"|\.netrc|\.pypirc|\.git-credentials|.*(credentials|service[-_]account).*\.json",
    re.IGNORECASE | re.DOTALL,
)


@dataclass(frozen=True)
class Snapshot:
    """What git tracks in a checkout, at one moment, without files that hold secrets by their name.

    Attributes:
      tree: git's digest of the files; equal for equal files.
      left_out: tracked files whose names say that they hold secrets.
      note: what it is, in a line.
    """

    checkout: Path
    tree: str
    left_out: tuple[str, ...]
    note: str

    @classmethod
    def of(cls, checkout: Path, dry_run: bool = False) -> "Snapshot":
        """The checkout as it stands; changes no file and no branch of it.

        Args:
          dry_run: writes nothing at all: `tree` and what is left out are those of the last commit.

        Raises:
          SignBindError: the directory is no git checkout; more than `_MOST_BYTES`; a link that
            leads out of it.
        """
        head = _git(checkout, "rev-parse", "--short", "HEAD")
        if dry_run:
            changed, commit = _git(checkout, "diff-index", "--name-only", "HEAD", "--"), "HEAD"
        else:
            # A commit of the working tree that no branch names; empty where nothing has changed.
            changed = _git(checkout, "stash", "create")
            commit = changed or "HEAD"
        tree = _git(checkout, "rev-parse", f"{commit}^{{tree}}")
        left_out, n_files, size = _look_at(checkout, tree)
        untracked = _git(checkout, "ls-files", "--others", "--exclude-standard", "-z").count("\0")
        with_changes = " with uncommitted changes" if changed else ""
        without = f", without {', '.join(map(ascii, left_out))} (secrets)" if left_out else ""
        note = (
            f"source {head}{with_changes}; {n_files} tracked files, {size / 1e6:.1f} MB{without}; "
            f"{untracked} untracked files are not copied"
        )
        return cls(checkout, tree, left_out, note)

    def pack(self, archive: Path) -> None:
        """Writes it as a .tar.gz that pip installs; leaves one that is there."""
        if archive.exists():
            return
        archive.parent.mkdir(parents=True, exist_ok=True)
        without = (f":(exclude,literal){name}" for name in self.left_out)
        command = ("archive", "--format=tar.gz", "--prefix=signbind-jax/", self.tree, "--", ".")
        files.write(archive, _git_bytes(self.checkout, *command, *without))


def _look_at(checkout: Path, tree: str) -> tuple[tuple[str, ...], int, int]:
    """The files to leave out, and how many the others are, and their bytes.

    Raises:
      SignBindError: too large; a link that leads out.
    """
    left_out, n_files, size = [], 0, 0
    for entry in filter(None, _git(checkout, "ls-tree", "-r", "-l", "-z", tree).split("\0")):
        about, _, name = entry.partition("\t")
        mode, _, digest, length = about.split()
        if _SECRET_FILE.fullmatch(posixpath.basename(name)):
            left_out.append(name)
            continue
        n_files, size = n_files + 1, size + (int(length) if length.isdecimal() else 0)
        if mode == "120000":
            target = _git(checkout, "cat-file", "blob", digest)
            to = posixpath.normpath(posixpath.join(posixpath.dirname(name), target))
            if target.startswith("/") or to.split("/")[0] == "..":
                raise SignBindError(
                    f"--source={checkout}: {ascii(name)}: found a link to {ascii(target[:100])}, "
                    "wanted none that leads out of the checkout"
                )
    if size > _MOST_BYTES:
        raise SignBindError(
            f"--source={checkout}: found {size:,} bytes of tracked files, wanted at most "
            f"{_MOST_BYTES:,}: they go to every worker; keep data out of the repository"
        )
    return tuple(left_out), n_files, size


def _git(checkout: Path, *arguments: str) -> str:
    return os.fsdecode(_git_bytes(checkout, *arguments)).strip()


def _git_bytes(checkout: Path, *arguments: str) -> bytes:
    # Without the lock no index is refreshed: looking at a checkout writes nothing.
    environment = {**os.environ, "LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0"}
    done = subprocess.run(
        ["git", "-C", str(checkout), *arguments], capture_output=True, env=environment
    )
    if done.returncode:
        line = (done.stderr.decode(errors="replace").strip().splitlines() or ["git failed"])[-1]
        raise SignBindError(
            f"--source={checkout}: {line}; wanted a git checkout, or what pip installs"
        )
    return done.stdout
