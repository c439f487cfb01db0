"""Reader: a kind of file that may come from anybody, and who reads it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Reader:
    """A kind of file and who reads it.

    Attributes:
      make: writes a whole input into an empty directory.
      read: reads it, as (tree, where output may go); an exit code or None.
      files: patterns of the files in the tree that get damaged.
      seal: makes the digests in a damaged tree right again, as an attacker would.
      writes: patterns of what a successful `read` changes in the tree itself.
      allowed: audit events that belong to `read`.
      share: of the inputs that others get; less for a reader that takes seconds.
      said: what else its errors may name, beside a file of the tree.
    """

    make: Callable[[Path], None]
    read: Callable[[Path, Path], int | None]
    files: tuple[str, ...]
    seal: Callable[[Path], None] | None = None
    writes: tuple[str, ...] = ()
    allowed: tuple[str, ...] = ()
    said: tuple[str, ...] = ()
    share: float = 1.0


def command(*arguments: object) -> int:
    """The real command; what it raises is left to the caller, as with --debug."""
    from signbind_jax import cli

    return cli.main([*map(str, arguments), "--debug"])
