"""Reads the datasets that `signbind data build` writes, without TensorFlow."""

import contextlib
import dataclasses
import hashlib
import io
import json
import os
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from signbind_jax import files, keypoints
from signbind_jax.data import record
from signbind_jax.data.clip import MOST_FRAMES, Clip
from signbind_jax.data.dataset_description import MEND, check_description, index_file
from signbind_jax.data.lips import decode_mosaic
from signbind_jax.data.previous_clips import previous_clips
from signbind_jax.data.sign_order import SignOrder
from signbind_jax.data.spellings import Spellings
from signbind_jax.errors import SignBindError

DATASET_FILE = "dataset.json"
FORMAT_VERSION = 1


def file_digest(path: Path) -> str:
    """SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_of_json(value) -> str:
    """SHA-256 of a JSON-ready value, whatever the order of its keys."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def open_dataset(directory: str | Path) -> "DatasetInfo":
    """Opens a dataset directory.

    Raises:
      SignBindError: no dataset there; another format or keypoint layout; a damaged description;
        one that names files elsewhere.
    """
    path = Path(directory) / DATASET_FILE
    if not path.exists():
        raise SignBindError(
            f"{path}: not found: {directory} is no dataset; build one with `signbind data build`"
        )
    description = files.read_json(path)
    version = files.field(description, "format", int, str(path))
    if version != FORMAT_VERSION:
        raise SignBindError(
            f"{path}: format: found {version}, wanted {FORMAT_VERSION}: "
            "build the dataset again with this version"
        )
    layout = files.field(description, "keypoint_layout", str, str(path))
    if layout != keypoints.LAYOUT_VERSION:
        raise SignBindError(
            f"{path}: keypoint_layout: found {layout[:40]!r}, wanted "
            f"{keypoints.LAYOUT_VERSION!r}: build the dataset again"
        )
    digest = files.field(description, "digest", str, str(path))
    del description["digest"]
    found = digest_of_json(description)
    if found != digest:
        raise SignBindError(
            f"{path}: digest: found {found[:16]}..., wanted {digest[:16]!r}...: "
            "the description was changed after the build"
        )
    check_description(description, str(path))
    return DatasetInfo(Path(directory), description, digest)


@dataclasses.dataclass(frozen=True)
class DatasetInfo:
    """What a dataset directory holds; `split` opens one of its splits.

    Attributes:
      directory: where it lies.
      description: contents of `dataset.json` (source, build report, splits, files).
      digest: SHA-256 over everything in the dataset, and over what was found in it.
      found: option that names the files, `spellings` or `sign_order` -> digest of a split -> what
        was found in it.
    """

    directory: Path
    description: dict
    digest: str
    found: Mapping[str, Mapping[str, Spellings | SignOrder]] = dataclasses.field(
        default_factory=dict
    )
    _opened: dict = dataclasses.field(default_factory=dict, repr=False, compare=False)

    @cached_property
    def labelled(self) -> frozenset[str]:
        """Kinds of labels the corpus has in any of its splits; see `labels.targets`."""
        from signbind_jax.data.labels import labelled

        return labelled(clip for name in self.splits for clip in self.split(name).read_labels())

    def with_found(self, option: str, found: Iterable[Spellings | SignOrder]) -> "DatasetInfo":
        """The same dataset with what was found in splits of it; what was found in others is left
        aside. `option`: see `found`."""
        digests = [self.split(name).digest for name in self.splits]
        own = {one.split: one for one in found if one.split in digests}
        if not own:
            return self
        digest = digest_of_json([self.digest, *(own[split].digest for split in sorted(own))])
        return DatasetInfo(self.directory, self.description, digest, {**self.found, option: own})

    def withheld(self, split: str) -> frozenset[str]:
        """Kinds of labels that the clips of a split are not told, so that they are derived."""
        return frozenset(self.description["source"].get("withheld", {}).get(split, ()))

    @property
    def splits(self) -> dict[str, int]:
        """Clips in each split."""
        return {name: split["clips"] for name, split in self.description["splits"].items()}

    def split(self, name: str) -> "ClipDataset":
        """Opens a split; asked again, gives the one that is open.

        Raises:
          SignBindError: no such split; a file is missing or of another size than was written.
        """
        if name not in self.splits:
            raise SignBindError(
                f"{self.directory}: split: found {name!r}, wanted one of {', '.join(self.splits)}"
            )
        if name not in self._opened:
            for file in (*self.description["splits"][name]["shards"], index_file(name)):
                self.check_size(file)
            self._opened[name] = ClipDataset(self, name)
        return self._opened[name]

    def verify(self) -> int:
        """Compares every file with the digest taken when it was written.

        Returns:
          How many files were read.

        Raises:
          SignBindError: the first file that differs, by name.
        """
        for name in self.description["files"]:
            self.check_digest(name)
        return len(self.description["files"])

    def check_digest(self, name: str) -> None:
        """Compares one file with the digest taken when it was written.

        Raises:
          SignBindError: it is missing or differs.
        """
        self.check_size(name)
        wanted = self.description["files"][name]["sha256"]
        found = file_digest(self.directory / name)
        if found != wanted:
            raise SignBindError(
                f"{self.directory / name}: sha256: found {found[:16]}..., wanted "
                f"{wanted[:16]}...: the file is damaged; {MEND}"
            )

    def check_size(self, name: str) -> None:
        """Compares one file's size with what was written.

        Raises:
          SignBindError: it is missing or of another size.
        """
        found, wanted = self._size(name), self.description["files"][name]["bytes"]
        if found != wanted:
            raise SignBindError(
                f"{self.directory / name}: found {found} bytes, wanted {wanted}: "
                f"the file is truncated or changed; {MEND}"
            )

    def check_kind(self, name: str) -> None:
        """Whether a file, if it is there, is an ordinary one that lies in the directory.

        Raises:
          SignBindError: opening it might wait for ever, or read a file of somebody else.
        """
        if (self.directory / name).exists():
            self._size(name)

    def _size(self, name: str) -> int:
        path = self.directory / name
        home, place = map(os.path.realpath, (self.directory, path))
        if path.is_symlink() and not Path(place).is_relative_to(home):
            raise SignBindError(f"{path}: found a link out of the dataset, wanted the file itself")
        return files.check_regular(path)


class ClipDataset(Sequence):
    """Random access to the clips of one split; safe to read from several threads.

    Attributes:
      info: the dataset it belongs to.
      name: of the split.
      times: None: an epoch draws every clip once (see `mixture.MixedSplit`).
    """

    times = None

    def __init__(self, info: DatasetInfo, name: str):
        self.info, self.name = info, name
        index, shards = index_file(name), info.description["splits"][name]["shards"]
        for file in (index, *shards):
            info.check_kind(file)
        arrays = files.read_arrays(info.directory / index, record.LENGTHS.values())
        self._lengths = {
            modality: self._checked_lengths(arrays, field)
            for modality, field in record.LENGTHS.items()
        }
        self._records = record.open_records(
            {info.directory / file: n for file, n in shards.items()}
        )

    def lengths(self, modality: str) -> np.ndarray:
        """int32 (clips,) frames of a modality, 0 where it is absent."""
        return self._lengths[modality]

    def _checked_lengths(self, arrays: dict[str, np.ndarray], field: str) -> np.ndarray:
        n, path = self.info.splits[self.name], self.info.directory / index_file(self.name)
        if field not in arrays:
            raise SignBindError(
                f"{path}: {field}: found nothing, wanted the frames of {n} clips: {MEND}"
            )
        lengths = arrays[field]
        if lengths.shape != (n,) or lengths.dtype != np.int32:
            raise SignBindError(
                f"{path}: {field}: found {lengths.dtype} {lengths.shape}, wanted "
                f"int32 {(n,)}: {MEND}"
            )
        if lengths.min() < 0 or lengths.max() > MOST_FRAMES:
            raise SignBindError(
                f"{path}: {field}: found {lengths.min()} to {lengths.max()}, "
                f"wanted 0 to {MOST_FRAMES:,}: {MEND}"
            )
        return lengths

    def __len__(self) -> int:
        return self.info.splits[self.name]

    def __iter__(self) -> Iterator[Clip]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, i: int) -> Clip:
        """Clip i with all its modalities (mouth crops still encoded) and streams.

        Raises:
          SignBindError: the shard that holds it is damaged.
        """
        i = range(len(self))[int(i)]
        try:
            clip = record.clip_of(self._records[i])
        except Exception as error:  # array_record has no exception class of its own
            raise self._damaged(i, _one_line(error)) from error
        if any(clip.n_frames(name) != n[i] for name, n in self._lengths.items()):
            raise self._damaged(i, "its lengths differ from the index")
        if self.streams:
            labels = self.labels[i]
            clip = dataclasses.replace(clip, streams=labels.streams, seconds=labels.seconds)
        return self._told(clip)

    def _told(self, clip: Clip) -> Clip:
        """A clip with the spelled words that were found in it, unless the corpus says some."""
        if self.spellings is None or clip.spelled:
            return clip
        return dataclasses.replace(clip, spelled=self.spellings.words(clip.id))

    @property
    def spellings(self) -> Spellings | None:
        """What was found to be spelled in the split; None: nobody looked, or the run does not."""
        return self.info.found.get("spellings", {}).get(self.digest)

    @cached_property
    def unclear(self) -> np.ndarray:
        """Bool (clips,), where something is spelled of which nobody knows what."""
        ids = self.spellings.unclear if self.spellings else ()
        return np.array([clip.id in ids and not clip.spelled for clip in self.labels], bool)

    @cached_property
    def previous(self) -> np.ndarray:
        """The place of the clip before each in its recording, see `previous_clips`."""
        return previous_clips(self.labels)

    @property
    def streams(self) -> tuple[str, ...]:
        """The streams that came with clips of the dataset, by name."""
        return tuple(self.info.description.get(record.STREAMS, ()))

    @cached_property
    def labels(self) -> tuple[Clip, ...]:
        """Every clip, its modalities without data, read from the index."""
        return tuple(self.read_labels())

    def read_labels(self) -> Iterator[Clip]:
        """The clips of `labels` one after the other, none of them kept.

        Raises:
          SignBindError: the index is damaged.
        """
        with (
            self._reading_index() as path,
            zipfile.ZipFile(path) as index,
            index.open("labels.npy") as file,
        ):
            np.lib.format.read_magic(file)
            np.lib.format.read_array_header_1_0(file)
            lines = io.TextIOWrapper(file, encoding="utf-8", newline="\n")
            for i in range(len(self) + 1):  # reading to the end checks the file's CRC
                line = lines.readline(record.LABEL_CHARACTERS)
                if bool(line) != (i < len(self)):
                    n = "more" if line else i
                    raise ValueError(f"it has the labels of {n} clips, wanted {len(self)}")
                if line:
                    yield self._labels_of(i, line)

    def _labels_of(self, i: int, line: str) -> Clip:
        try:
            return self._told(record.labels_from_json(line, int(self._lengths["pose"][i])))
        except (ValueError, RecursionError, SignBindError) as error:
            raise ValueError(f"labels of clip {i}: {_one_line(error)}") from error

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """Ids in the order of the split."""
        return tuple(clip.id for clip in self.labels)

    @cached_property
    def targets(self) -> list[dict[str, tuple[str, ...]]]:
        """Target sequences of every clip, see `labels.targets`."""
        from signbind_jax.data.labels import targets

        labelled = self.info.labelled - self.info.withheld(self.name)
        order = self.info.found.get("sign_order", {}).get(self.digest)
        if order and self.spellings:
            order = order.with_spelled(self.spellings)
        return [targets(clip, labelled, order) for clip in self.labels]

    @cached_property
    def lip_size(self) -> tuple[int, int] | None:
        """Height and width of the mouth crops in pixels; None where no clip has any."""
        with_lips = np.flatnonzero(self._lengths["lips"])
        if not with_lips.size:
            return None
        lips = self[with_lips[0]].modalities["lips"]
        try:
            return decode_mosaic(lips.data, lips.n).shape[1:]
        except SignBindError as error:
            raise self._damaged(int(with_lips[0]), _one_line(error)) from error

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the split's shards and index."""
        files = self.info.description["files"]
        names = (*self.info.description["splits"][self.name]["shards"], index_file(self.name))
        return digest_of_json([[name, files[name]["sha256"]] for name in names])

    @contextlib.contextmanager
    def _reading_index(self) -> Iterator[Path]:
        """The path of the index; what goes wrong in reading it becomes one line."""
        path = self.info.directory / index_file(self.name)
        try:
            yield path
        except (
            OSError,
            ValueError,
            KeyError,
            EOFError,
            SyntaxError,
            NotImplementedError,
            RuntimeError,
            zipfile.BadZipFile,
            zlib.error,
        ) as error:
            raise SignBindError(f"{path}: cannot be read ({_one_line(error)}): {MEND}") from error

    def _damaged(self, i: int, why: str) -> SignBindError:
        shard = self._shard_of(i)
        return SignBindError(
            f"{self.info.directory / shard}: clip {i} of split {self.name} "
            f"cannot be read ({why}): {MEND}"
        )

    def _shard_of(self, i: int) -> str:
        for name, n_clips in self.info.description["splits"][self.name]["shards"].items():
            if i < n_clips:
                return name
            i -= n_clips
        raise IndexError(i)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
