"""Clips of the synthetic corpus by split and index, before they are made."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Place:
    """A clip of the corpus: its split and its index in it."""

    split: str
    index: int

    @property
    def id(self) -> str:
        """The clip's id."""
        return f"{self.split}-{self.index:06d}"


@dataclass(frozen=True)
class Places(Sequence):
    """The places of a split, in order; takes no memory."""

    split: str
    indices: range

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, i):
        if isinstance(i, slice):
            return Places(self.split, self.indices[i])
        return Place(self.split, self.indices[i])
