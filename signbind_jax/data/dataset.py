"""Reads the datasets that `signbind data build` writes, without TensorFlow."""

import contextlib
import dataclasses
import hashlib
import io
import json
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from signbind_jax import keypoints
from signbind_jax.data.clip import Clip
from signbind_jax.data.lips import decode_mosaic
from signbind_jax.errors import SignBindError

DATASET_FILE = "dataset.json"
FORMAT_VERSION = 1
_MEND = "copy or build the dataset again"

_TEXTS = ("id", "text", "text_language", "signed_language", "signer")
_TEXT_TUPLES = ("gloss", "spelled", "phonemes", "senses", "contrasts", "homonym_pairs")
_NUMBERS = ("pose_fps", "n_lip_frames", "lip_fps")


def index_file(split: str) -> str:
    """The file that holds lengths and labels of a split."""
    return f"index-{split}.npz"


def file_digest(path: Path) -> str:
    """SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_of_json(value) -> str:
    """SHA-256 of a JSON-ready value, whatever the order of its keys."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def labels_to_json(clip: Clip) -> str:
    """All of a clip but its arrays, as one line of JSON."""
    names = (*_TEXTS, *_NUMBERS, *_TEXT_TUPLES)
    return json.dumps({name: getattr(clip, name) for name in names}, ensure_ascii=False)


def _labels_from_json(line: str) -> Clip:
    record = json.loads(line)
    return Clip(**{name: tuple(x) if name in _TEXT_TUPLES else x for name, x in record.items()})


def open_dataset(directory: str | Path) -> "DatasetInfo":
    """Opens a dataset directory.

    Raises:
      SignBindError: no dataset there; another format or keypoint layout; a damaged description.
    """
    path = Path(directory) / DATASET_FILE
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
        digest = description.pop("digest")
        version, layout = description["format"], description["keypoint_layout"]
    except FileNotFoundError:
        raise SignBindError(f"{path}: not found: {directory} is no dataset; build one with "
                            "`signbind data build`") from None  # fmt: skip
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise SignBindError(f"{path}: cannot be read ({error!r}): build it again") from error
    if version != FORMAT_VERSION:
        raise SignBindError(f"{path}: format: found {version}, wanted {FORMAT_VERSION}: "
                            "build the dataset again with this version")  # fmt: skip
    if layout != keypoints.LAYOUT_VERSION:
        raise SignBindError(f"{path}: keypoint_layout: found {layout}, wanted "
                            f"{keypoints.LAYOUT_VERSION}: build the dataset again")  # fmt: skip
    found = digest_of_json(description)
    if found != digest:
        raise SignBindError(f"{path}: digest: found {found[:16]}..., wanted {str(digest)[:16]}...: "
                            "the description was changed after the build")  # fmt: skip
    return DatasetInfo(Path(directory), description, digest)


@dataclasses.dataclass(frozen=True)
class DatasetInfo:
    """What a dataset directory holds; `split` opens one of its splits.

    Attributes:
      directory: where it lies.
      description: contents of `dataset.json` (source, build report, splits, files).
      digest: SHA-256 over everything in the dataset.
    """

    directory: Path
    description: dict
    digest: str
    _opened: dict = dataclasses.field(default_factory=dict, repr=False, compare=False)

    @cached_property
    def labelled(self) -> frozenset[str]:
        """Kinds of labels the corpus has in any of its splits; see `labels.targets`."""
        from signbind_jax.data.labels import labelled

        return labelled(clip for name in self.splits for clip in self.split(name).read_labels())

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
            raise SignBindError(f"{self.directory}: split: found {name!r}, "
                                f"wanted one of {', '.join(self.splits)}")  # fmt: skip
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
            raise SignBindError(f"{self.directory / name}: sha256: found {found[:16]}..., wanted "
                                f"{wanted[:16]}...: the file is damaged; {_MEND}")  # fmt: skip

    def check_size(self, name: str) -> None:
        """Compares one file's size with what was written.

        Raises:
          SignBindError: it is missing or of another size.
        """
        path, wanted = self.directory / name, self.description["files"][name]["bytes"]
        try:
            found = path.stat().st_size
        except OSError as error:
            raise SignBindError(f"{path}: {error.strerror}: {_MEND}") from error
        if found != wanted:
            raise SignBindError(f"{path}: found {found} bytes, wanted {wanted}: the file is "
                                f"truncated or changed; {_MEND}")  # fmt: skip


class ClipDataset(Sequence):
    """Random access to the clips of one split; safe to read from several threads.

    Attributes:
      info: the dataset it belongs to.
      name: of the split.
      times: None: an epoch draws every clip once (see `mixture.MixedSplit`).
      pose_lengths, lip_lengths: int32 (clips,) frames, 0 where the modality is absent.
    """

    times = None

    def __init__(self, info: DatasetInfo, name: str):
        self.info, self.name = info, name
        with self._reading_index() as path, np.load(path, allow_pickle=False) as index:
            self.pose_lengths, self.lip_lengths = index["pose_lengths"], index["lip_lengths"]
        self._source = _open_source(info.directory, name)

    def __len__(self) -> int:
        return len(self.pose_lengths)

    def __iter__(self) -> Iterator[Clip]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, i: int) -> Clip:
        """Clip i with all its modalities (mouth crops still encoded).

        Raises:
          SignBindError: the shard that holds it is damaged.
        """
        i = range(len(self))[int(i)]
        try:
            clip = _clip(self._source[i])
        except Exception as error:  # array_record has no exception class of its own
            raise self._damaged(i, _one_line(error)) from error
        if clip.n_pose_frames != self.pose_lengths[i] or clip.n_lip_frames != self.lip_lengths[i]:
            raise self._damaged(i, "its lengths differ from the index")
        return clip

    @cached_property
    def labels(self) -> tuple[Clip, ...]:
        """Every clip without its arrays (`pose` None, `lips` empty), read from the index."""
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
            for line in io.TextIOWrapper(file, encoding="utf-8", newline="\n"):
                yield _labels_from_json(line)

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """Ids in the order of the split."""
        return tuple(clip.id for clip in self.labels)

    @cached_property
    def targets(self) -> list[dict[str, tuple[str, ...]]]:
        """Target sequences of every clip: gloss, letters, phonemes, senses, as labels.py has it."""
        from signbind_jax.data.labels import targets

        return [targets(clip, self.info.labelled) for clip in self.labels]

    @cached_property
    def lip_size(self) -> tuple[int, int] | None:
        """Height and width of the mouth crops in pixels; None where no clip has any."""
        with_lips = np.flatnonzero(self.lip_lengths > 0)
        if not with_lips.size:
            return None
        clip = self[with_lips[0]]
        return decode_mosaic(clip.lips, clip.n_lip_frames).shape[1:]

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
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise SignBindError(f"{path}: cannot be read ({_one_line(error)}): {_MEND}") from error

    def _damaged(self, i: int, why: str) -> SignBindError:
        shard = self._shard_of(i)
        return SignBindError(f"{self.info.directory / shard}: clip {i} of split {self.name} "
                             f"cannot be read ({why}): {_MEND}")  # fmt: skip

    def _shard_of(self, i: int) -> str:
        for name, n_clips in self.info.description["splits"][self.name]["shards"].items():
            if i < n_clips:
                return name
            i -= n_clips
        raise IndexError(i)


def _open_source(directory: Path, split: str):
    # Imported here: it takes about a second, which commands that read no data need not wait for.
    import tensorflow_datasets as tfds

    try:
        builder = tfds.builder_from_directory(str(directory))
        return builder.as_data_source(split)
    except Exception as error:  # TFDS raises errors of many kinds
        raise SignBindError(f"{directory}: split {split} cannot be opened "
                            f"({_one_line(error)}): {_MEND}") from error  # fmt: skip


def _clip(record: dict) -> Clip:
    clip = {name: record[name].decode() for name in _TEXTS}
    clip |= {name: tuple(x.decode() for x in record[name]) for name in _TEXT_TUPLES}
    return Clip(
        **clip,
        pose=record["pose"] if len(record["pose"]) else None,
        pose_fps=float(record["pose_fps"]),
        lips=record["lips"],
        n_lip_frames=int(record["n_lip_frames"]),
        lip_fps=float(record["lip_fps"]),
    )


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
