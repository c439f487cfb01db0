"""Translator: a trained system as one object, from clips to streams to sentences."""

import argparse
import dataclasses
import functools
import json
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from signbind_jax.checkpoint import artefact
from signbind_jax.data.batch import reads_lips
from signbind_jax.data.clip_list import ClipList
from signbind_jax.data.dataset import ClipDataset
from signbind_jax.data.sentences import Sentences
from signbind_jax.data.stream_cache import SplitStreams
from signbind_jax.distributed import hosts
from signbind_jax.errors import SignBindError, printable
from signbind_jax.generation import config as generation_config
from signbind_jax.generation.config import read_options
from signbind_jax.stages.expert import modality_lengths
from signbind_jax.stages.fusion import read_fused
from signbind_jax.stages.read_streams import ExpertReader, open_experts_of, read_split
from signbind_jax.stages.translation import (
    TranslationOptions,
    make_prompt_parts,
    write_translations,
)

if TYPE_CHECKING:
    from signbind_jax.data_pipelines.clip_inputs import ClipInputs


@dataclass(frozen=True)
class Token:
    """One decoded token: its text, start and end in seconds, confidence 0..1."""

    token: str
    start: float
    end: float
    confidence: float


class Translator:
    """Opens an alignment or translation run and the experts it stands on.

    step: which checkpoint of the run, see `artefact.open_artefact`.

    Raises:
      SignBindError: another kind of run; a parent that is missing or was retrained since;
        settings out of range or that do not go together.

    Attributes:
      generation: how it writes sentences: as the run's config says, but for `settings`, which
        are fields of GenerationConfig by name.
    """

    def __init__(
        self,
        checkpoint: Path | str,
        settings: Mapping[str, Any] | None = None,
        *,
        step: int | str = artefact.NEWEST,
    ):
        self.artefact = artefact.open_artefact(checkpoint, step)
        if self.artefact.model["kind"] != "signbind":
            raise SignBindError(
                f"{checkpoint}: stage: found {self.artefact.stage}, wanted alignment or translation"
            )
        self.options = read_options(TranslationOptions, self.artefact.config.options)
        self.generation = generation_config.overridden(self.options.generation, settings or {})
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
        """Reads the streams of a split (cached on disk) or of loose clips."""
        if isinstance(clips, ClipDataset):
            return read_split(self._readers, clips, self.cache, self.streams)
        read = {
            name: reader.read(clips, modality_lengths(clips, reader.frontend))
            for name, reader in self._readers.items()
        }
        return SplitStreams({name: read.get(name) for name in self.streams})

    @property
    def lip_size(self) -> int | None:
        """Side in pixels of the mouth crops that an expert reads; None where none reads them."""
        configs = [expert.model["config"] for expert in self.experts.values()]
        sizes = (c["lip_size"] for c in configs if reads_lips(c["frontend"]))
        return next(sizes, None)

    def without_input(self, clips: ClipDataset | ClipList) -> dict[str, frozenset[int]]:
        """Maps stream -> the clips that lack what its expert reads; only streams that some lack."""
        lengths = {
            name: modality_lengths(clips, reader.frontend) for name, reader in self._readers.items()
        }
        return {
            name: frozenset(np.flatnonzero(n == 0).tolist())
            for name, n in lengths.items()
            if 0 in n
        }

    def sentences(self, streams: SplitStreams) -> Sentences:
        """Streams with their prompts, ready to be written from."""
        return Sentences.unlabelled(streams, self.artefact.tokenizer.tail)

    def write(self, streams: SplitStreams, keep: Collection[str] | None = None) -> list[str]:
        """Writes the sentence of each clip with the streams named in `keep` present; None: all."""
        graphdef, params = self._loaded
        return write_translations(
            graphdef,
            params,
            self.sentences(streams),
            self.artefact.tokenizer,
            self.prompt_parts,
            self.streams if keep is None else keep,
            self.generation,
        )

    def fused(self, streams: SplitStreams) -> list[list[str]]:
        """Reads what fusion made of the streams: sense lemmas and letters, clip by clip."""
        graphdef, params = self._loaded
        senses = self.artefact.vocabularies["senses"]
        return read_fused(graphdef, params, self.sentences(streams), senses)

    def tokens(self, streams: SplitStreams, clip: int) -> dict[str, list[Token]]:
        """Makes readable tokens of the streams of one clip, by stream name."""
        out = {}
        for name, expert in streams.experts.items():
            if expert is None:
                continue
            vocabulary = next(iter(self.experts[name].vocabularies.values()))
            own = expert.of(clip)
            columns = (expert.ids[own], expert.start[own], expert.end[own], expert.confidence[own])
            out[name] = [
                Token(
                    vocabulary.tokens[i], round(float(s), 3), round(float(e), 3), round(float(c), 3)
                )
                for i, s, e, c in zip(*columns)
            ]
        return out


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `signbind translate`."""
    from signbind_jax.data_pipelines import clip_inputs

    clip_inputs.add_arguments(parser)
    parser.add_argument(
        "--checkpoint",
        required=True,
        type=Path,
        metavar="DIR",
        help="run directory of a translation (or alignment) stage",
    )
    artefact.add_step_argument(parser)
    parser.add_argument(
        "--json", action="store_true", help="one JSON object a clip, with streams and fused tokens"
    )
    generation_config.add_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """`signbind translate`: one line a clip in the order given, `name<TAB>sentence`.

    Of a video, landmarks and mouth crops are extracted first, as `signbind extract` does it.
    Files that cannot be read and streams that get no input are named on standard error. Exit
    code 1 where a file could not be read, though the others are translated.
    """
    from signbind_jax.data_pipelines.clip_inputs import read_inputs
    from signbind_jax.data_pipelines.extraction.pool import Interrupted
    from signbind_jax.data_pipelines.writing.build_report import some_of

    settings = generation_config.given(arguments)
    translator = Translator(arguments.checkpoint, settings, step=arguments.step)
    try:
        read = read_inputs(arguments, translator.lip_size)
    except Interrupted as signal:
        print(f"signbind: interrupted ({signal})", file=sys.stderr)
        return 128 + signal.number
    clips = ClipList(read.clips)
    without = translator.without_input(clips) if read.clips else {}
    told = [*read.notes, *(f"error: {fault}" for fault in read.faults)]
    for stream, missing in without.items():
        names = some_of([read.names[i] for i in sorted(missing)])
        told.append(f"{stream}: no input in {len(missing)} of {len(clips)} clips ({names})")
    if hosts.is_primary():
        for line in told:
            print(f"signbind: {printable(line)}", file=sys.stderr)
    if read.clips:
        _translate(translator, read, clips, without, arguments.json)
    jax.clear_caches()
    return 1 if read.faults else 0


def _translate(
    translator: Translator,
    read: "ClipInputs",
    clips: ClipList,
    without: Mapping[str, frozenset[int]],
    as_json: bool,
) -> None:
    """Prints the sentence of each clip."""
    streams = translator.read(clips)
    sentences = translator.write(streams)
    fused = translator.fused(streams) if as_json else None
    for i, sentence in enumerate(sentences):
        if not as_json:
            print(f"{printable(read.names[i])}\t{sentence}")
            continue
        tokens = translator.tokens(streams, i)
        record = {
            "clip": printable(str(read.paths[i])),
            "sentence": sentence,
            "generation": dataclasses.asdict(translator.generation),
            "fused": fused[i],
            "streams": {name: [vars(t) for t in row] for name, row in tokens.items()},
            "no_input": [name for name, missing in without.items() if i in missing],
        }
        print(json.dumps(record, ensure_ascii=False))
