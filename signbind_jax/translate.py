"""Translator: a trained system as one object, from clips to streams to sentences."""

import argparse
import functools
import json
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np

from signbind_jax import artefact, hosts
from signbind_jax.config import from_mapping
from signbind_jax.data.batch import reads_lips
from signbind_jax.data.clip import Clip, check_bounds
from signbind_jax.data.clip_list import ClipList
from signbind_jax.data.dataset import ClipDataset
from signbind_jax.data.sentences import Sentences
from signbind_jax.data.stream_cache import SplitStreams
from signbind_jax.errors import SignBindError
from signbind_jax.read_streams import ExpertReader, open_experts_of, read_split
from signbind_jax.stages.expert import modality_lengths
from signbind_jax.stages.fusion import read_fused
from signbind_jax.stages.translation import (
    TranslationOptions,
    make_prompt_parts,
    write_translations,
)


@dataclass(frozen=True)
class Token:
    """One decoded token: its text, start and end in seconds, confidence 0..1."""

    token: str
    start: float
    end: float
    confidence: float


class Translator:
    """Opens an alignment or translation run and the experts it stands on.

    Raises:
      SignBindError: another kind of run; a parent that is missing or was retrained since.
    """

    def __init__(self, checkpoint: Path | str, beam_size: int | None = None):
        self.artefact = artefact.open_artefact(checkpoint)
        if self.artefact.model["kind"] != "signbind":
            raise SignBindError(f"{checkpoint}: stage: found {self.artefact.stage}, wanted "
                                "alignment or translation")  # fmt: skip
        self.options = from_mapping(TranslationOptions, self.artefact.config.options,
                                    "config.options")  # fmt: skip
        self.beam_size = beam_size or self.options.beam_size
        self.prompt_parts = make_prompt_parts(
            self.artefact.vocabularies["senses"], self.artefact.tokenizer, self.options.fused_text
        )
        self.experts = open_experts_of(self.artefact)
        self.streams = self.artefact.config.streams

    @functools.cached_property
    def _loaded(self):
        return self.artefact.load_params()

    @functools.cached_property
    def _readers(self) -> dict[str, ExpertReader]:
        return {name: ExpertReader(expert) for name, expert in self.experts.items()}

    @property
    def cache(self) -> Path:
        """Where the streams of whole splits are kept."""
        configured = self.artefact.config.data.stream_cache
        return Path(configured or next(iter(self.experts.values())).workdir.parent / "streams")

    def read(self, clips: ClipDataset | ClipList) -> SplitStreams:
        """The streams of a split (cached on disk) or of loose clips."""
        if isinstance(clips, ClipDataset):
            return read_split(self._readers, clips, self.cache, self.streams)
        read = {name: reader.read(clips, modality_lengths(clips, reader.frontend))
                for name, reader in self._readers.items()}  # fmt: skip
        return SplitStreams({name: read.get(name) for name in self.streams})

    @property
    def lip_size(self) -> int | None:
        """Side in pixels of the mouth crops that an expert reads; None where none reads them."""
        configs = [expert.model["config"] for expert in self.experts.values()]
        sizes = (c["lip_size"] for c in configs if reads_lips(c["frontend"]))
        return next(sizes, None)

    def without_input(self, clips: ClipDataset | ClipList) -> dict[str, frozenset[int]]:
        """Stream -> the clips that lack what its expert reads; without streams that none lacks."""
        lengths = {name: modality_lengths(clips, reader.frontend)
                   for name, reader in self._readers.items()}  # fmt: skip
        return {name: frozenset(np.flatnonzero(n == 0).tolist())
                for name, n in lengths.items() if 0 in n}  # fmt: skip

    def sentences(self, streams: SplitStreams) -> Sentences:
        """Streams with their prompts, ready to be written from."""
        return Sentences.unlabelled(streams, self.artefact.tokenizer.tail)

    def write(self, streams: SplitStreams, keep: Collection[str] | None = None) -> list[str]:
        """The sentence of each clip with the streams named in `keep` present; None: all."""
        graphdef, params = self._loaded
        keep = self.streams if keep is None else keep
        return write_translations(graphdef, params, self.sentences(streams),
                                  self.artefact.tokenizer, self.prompt_parts, keep, self.beam_size,
                                  self.options.max_new_tokens)  # fmt: skip

    def fused(self, streams: SplitStreams) -> list[list[str]]:
        """What fusion made of the streams: sense lemmas and letters, clip by clip."""
        graphdef, params = self._loaded
        senses = self.artefact.vocabularies["senses"]
        return read_fused(graphdef, params, self.sentences(streams), senses)

    def tokens(self, streams: SplitStreams, clip: int) -> dict[str, list[Token]]:
        """The streams of one clip as readable tokens, by stream name."""
        out = {}
        for name, expert in streams.experts.items():
            if expert is None:
                continue
            vocabulary = next(iter(self.experts[name].vocabularies.values()))
            own = expert.of(clip)
            columns = (expert.ids[own], expert.start[own], expert.end[own], expert.confidence[own])
            out[name] = [Token(vocabulary.tokens[i], round(float(s), 3), round(float(e), 3),
                               round(float(c), 3)) for i, s, e, c in zip(*columns)]  # fmt: skip
        return out


def read_clip_file(path: Path, lip_size: int | None = None) -> Clip:
    """One `.pose` file, or `.npz` file with what `signbind extract` wrote, as a clip without
    labels.

    Args:
      lip_size: side of the mouth crops in pixels; None: crops are not read.

    Raises:
      SignBindError: another kind of file, or one that cannot be read.
    """
    from data_pipelines.readers.extracted import SUFFIXES, read_extracted

    if path.suffix not in SUFFIXES:
        raise SignBindError(f"{path}: found a '{path.suffix}' file, wanted .pose or .npz; video "
                            "needs its landmarks extracted first")  # fmt: skip
    fields, _ = read_extracted(path, lip_size)
    clip = Clip(id=path.stem, text="", **fields)
    try:
        check_bounds(clip)
    except SignBindError as error:
        raise SignBindError(f"{path}: {error}") from error
    return clip


def _read_files(
    paths: Sequence[Path], lip_size: int | None
) -> tuple[list[tuple[Path, Clip]], list[str]]:
    """The files that every process can read, with their clips, and why others cannot be read."""
    clips, faults = {}, {}
    for i, path in enumerate(paths):
        try:
            clips[i] = read_clip_file(path, lip_size)
        except SignBindError as error:
            faults[str(i)] = str(error)
    everywhere: dict[str, str] = {}
    for found in hosts.exchange("reading clips", faults):
        everywhere = found | everywhere
    kept = [(paths[i], clip) for i, clip in clips.items() if str(i) not in everywhere]
    return kept, [everywhere[i] for i in sorted(everywhere, key=int)]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `signbind translate`."""
    parser.add_argument("--checkpoint", required=True, type=Path, metavar="DIR",
                        help="run directory of a translation (or alignment) stage")  # fmt: skip
    parser.add_argument("clips", nargs="+", type=Path, metavar="CLIP", help=".pose or .npz files")
    parser.add_argument("--beam_size", type=int, default=None, help="1 is greedy")
    parser.add_argument(
        "--json", action="store_true", help="one JSON object a clip, with streams and fused tokens"
    )


def run(arguments: argparse.Namespace) -> int:
    """`signbind translate`: one line a clip, `name<TAB>sentence`.

    Files that cannot be read and streams that get no input are named on standard error. Exit
    code 1 where a file could not be read, though the others are translated.
    """
    translator = Translator(arguments.checkpoint, arguments.beam_size)
    from data_pipelines.writing.build_report import some_of

    read, faults = _read_files(arguments.clips, translator.lip_size)
    paths, clips = [path for path, _ in read], ClipList([clip for _, clip in read])
    without = translator.without_input(clips) if paths else {}
    told = [f"error: {fault}" for fault in faults]
    for stream, missing in without.items():
        names = some_of([paths[i].name for i in sorted(missing)])
        told.append(f"{stream}: no input in {len(missing)} of {len(paths)} clips ({names})")
    if hosts.first():
        for line in told:
            print(f"signbind: {line}", file=sys.stderr)
    if paths:
        _translate(translator, paths, clips, without, arguments.json)
    jax.clear_caches()
    return 1 if faults else 0


def _translate(translator: Translator, paths: Sequence[Path], clips: ClipList,
               without: Mapping[str, frozenset[int]], as_json: bool) -> None:  # fmt: skip
    """Prints the sentence of each clip."""
    streams = translator.read(clips)
    sentences = translator.write(streams)
    fused = translator.fused(streams) if as_json else None
    for i, (path, sentence) in enumerate(zip(paths, sentences, strict=True)):
        if not as_json:
            print(f"{path.name}\t{sentence}")
            continue
        tokens = translator.tokens(streams, i)
        record = {
            "clip": str(path),
            "sentence": sentence,
            "fused": fused[i],
            "streams": {name: [vars(t) for t in row] for name, row in tokens.items()},
            "no_input": [name for name, missing in without.items() if i in missing],
        }
        print(json.dumps(record, ensure_ascii=False))
