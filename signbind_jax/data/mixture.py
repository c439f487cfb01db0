"""Several datasets as one: a run over a mixture of corpora."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from signbind_jax.data.clip import Clip
from signbind_jax.data.data_config import DataConfig
from signbind_jax.data.dataset import ClipDataset, DatasetInfo, digest_of_json, open_dataset
from signbind_jax.data.sign_order import SignOrder, read_sign_order
from signbind_jax.data.spellings import Spellings, read_spellings
from signbind_jax.errors import SignBindError

# Options of the data that name files of what was found in splits -> what reads such a file, what it
# holds, the command that writes it.
FOUND = {
    "spellings": (read_spellings, "spelled words", "spellings"),
    "sign_order": (read_sign_order, "signs", "order"),
}


def open_data(data: DataConfig) -> "DatasetInfo | Mixture":
    """The dataset of a config, or the mixture of those that `data.directory` names, with what files
    of `data.spellings` and `data.sign_order` say of their clips.

    Raises:
      SignBindError: see `open_dataset`, `read_spellings` and `read_sign_order`; a file of another
        dataset.
    """
    datasets = [open_dataset(directory) for directory in data.directories]
    for option, (read, what, command) in FOUND.items():
        found = {path: read(path) for path in data.files_of(option)}
        if not found:  # nor are splits opened for it
            continue
        datasets = [dataset.with_found(option, found.values()) for dataset in datasets]
        used = {split for dataset in datasets for split in dataset.found.get(option, ())}
        for path, one in found.items():
            if one.split not in used:
                raise SignBindError(
                    f"config.data.{option}: {path}: found the {what} of a split {one.split[:12]}, "
                    f"wanted one of {data.directory}: find them in the dataset as it is now, with "
                    f"signbind data {command}"
                )
    if len(datasets) == 1:
        return datasets[0]
    return Mixture(tuple(datasets), data.weights or (1.0,) * len(datasets))


@dataclass(frozen=True)
class Mixture:
    """Datasets side by side; offers what the stages ask of a `DatasetInfo`.

    Attributes:
      datasets: the corpora.
      weights: how often an epoch draws each clip of each, on average.
    """

    datasets: tuple[DatasetInfo, ...]
    weights: tuple[float, ...]
    _opened: dict = field(default_factory=dict, repr=False, compare=False)

    @property
    def splits(self) -> dict[str, int]:
        """Clips in each split that any of the datasets has."""
        total: dict[str, int] = {}
        for dataset in self.datasets:
            for name, n in dataset.splits.items():
                total[name] = total.get(name, 0) + n
        return total

    @property
    def found(self) -> dict[str, dict[str, Spellings | SignOrder]]:
        """See `DatasetInfo.found`; of the splits of all of them."""
        return {
            option: {n: one for d in self.datasets for n, one in d.found.get(option, {}).items()}
            for option in FOUND
        }

    @cached_property
    def digest(self) -> str:
        """SHA-256 over everything in the datasets."""
        return digest_of_json([dataset.digest for dataset in self.datasets])

    def split(self, name: str) -> "MixedSplit":
        """The split of all datasets that have one of that name.

        Raises:
          SignBindError: none of them has.
        """
        if name not in self.splits:
            where = ", ".join(str(dataset.directory) for dataset in self.datasets)
            raise SignBindError(
                f"{where}: split: found {name!r}, wanted one of {', '.join(self.splits)}"
            )
        if name not in self._opened:
            having = [
                (dataset.split(name), weight)
                for dataset, weight in zip(self.datasets, self.weights, strict=True)
                if name in dataset.splits
            ]
            self._opened[name] = MixedSplit(name, *map(tuple, zip(*having, strict=True)))
        return self._opened[name]


@dataclass(frozen=True)
class MixedSplit(Sequence):
    """One split of several datasets, end to end; offers what a `ClipDataset` does.

    An id is preceded by the name of its dataset's directory, as two corpora may share one.
    """

    name: str
    parts: tuple[ClipDataset, ...]
    weights: tuple[float, ...]

    def __len__(self) -> int:
        return int(self._first[-1])

    def __iter__(self) -> Iterator[Clip]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, i: int) -> Clip:
        i = range(len(self))[int(i)]
        part = int(np.searchsorted(self._first, i, side="right")) - 1
        return self._named(part, self.parts[part][i - int(self._first[part])])

    def _named(self, part: int, clip: Clip) -> Clip:
        return replace(clip, id=f"{self.parts[part].info.directory.name}:{clip.id}")

    @cached_property
    def _first(self) -> np.ndarray:
        return np.cumsum([0, *(len(part) for part in self.parts)])

    @cached_property
    def times(self) -> np.ndarray | None:
        """How often an epoch draws each clip on average; None: each once."""
        if set(self.weights) == {1.0}:
            return None
        return np.repeat(self.weights, [len(part) for part in self.parts])

    def lengths(self, modality: str) -> np.ndarray:
        """int32 (clips,) frames of a modality, 0 where it is absent."""
        return np.concatenate([part.lengths(modality) for part in self.parts])

    @property
    def streams(self) -> tuple[str, ...]:
        """The streams that came with clips of any of the datasets, by name."""
        return tuple(sorted({name for part in self.parts for name in part.streams}))

    @cached_property
    def labels(self) -> tuple[Clip, ...]:
        """Every clip without its arrays."""
        return tuple(
            self._named(i, clip) for i, part in enumerate(self.parts) for clip in part.labels
        )

    def read_labels(self) -> Iterator[Clip]:
        """The clips of `labels` one after the other, none of them kept."""
        for i, part in enumerate(self.parts):
            yield from (self._named(i, clip) for clip in part.read_labels())

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """Ids in order."""
        return tuple(clip.id for clip in self.labels)

    @cached_property
    def targets(self) -> list[dict[str, tuple[str, ...]]]:
        """Target sequences of every clip; what a corpus labels is its own matter."""
        return [target for part in self.parts for target in part.targets]

    @cached_property
    def unclear(self) -> np.ndarray:
        """Bool (clips,), where something is spelled of which nobody knows what."""
        return np.concatenate([part.unclear for part in self.parts])

    @cached_property
    def previous(self) -> np.ndarray:
        """The place of the clip before each in its recording; those of two datasets are never
        one."""
        found = zip(self._first, self.parts, strict=False)
        return np.concatenate(
            [np.where(p.previous < 0, p.previous, p.previous + n) for n, p in found]
        )

    @cached_property
    def lip_size(self) -> tuple[int, int] | None:
        """Height and width of the mouth crops in pixels; None where no clip has any.

        Raises:
          SignBindError: the datasets differ in it.
        """
        sizes = {part.info.directory: part.lip_size for part in self.parts if part.lip_size}
        if len(set(sizes.values())) > 1:
            found = ", ".join(f"{h}x{w} in {where}" for where, (h, w) in sizes.items())
            raise SignBindError(
                f"lips: found crops of {found}, wanted one size in a mixture: "
                "build the datasets with one --lip_size"
            )
        return next(iter(sizes.values()), None)

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the parts."""
        return digest_of_json([part.digest for part in self.parts])
