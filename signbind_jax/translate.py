"""Translator: a trained system as one object, from clips to streams to sentences."""

import argparse
import functools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import jax

from signbind_jax import artefact
from signbind_jax.config import STREAMS, from_mapping
from signbind_jax.data.clip import Clip
from signbind_jax.data.clip_list import ClipList
from signbind_jax.data.dataset import ClipDataset
from signbind_jax.data.sentences import Sentences
from signbind_jax.data.stream_cache import SplitStreams
from signbind_jax.errors import SignBindError
from signbind_jax.read_streams import ExpertReader, open_experts_of, read_split
from signbind_jax.stages.expert import modality_lengths
from signbind_jax.stages.fusion import read_fused
from signbind_jax.stages.translation import (
    ALL_STREAMS,
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
            return read_split(self._readers, clips, self.cache)
        streams = []
        for name in STREAMS:
            reader = self._readers.get(name)
            streams.append(reader and reader.read(clips, modality_lengths(clips, reader.frontend)))
        return SplitStreams(tuple(streams))

    def sentences(self, streams: SplitStreams) -> Sentences:
        """Streams with their prompts, ready to be written from."""
        return Sentences.unlabelled(streams, self.artefact.tokenizer.tail)

    def write(self, streams: SplitStreams, keep: Sequence[bool] = ALL_STREAMS) -> list[str]:
        """The sentence of each clip with the streams of `keep` present."""
        graphdef, params = self._loaded
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
        for name, expert in zip(STREAMS, streams.experts, strict=True):
            if expert is None:
                continue
            vocabulary = next(iter(self.experts[name].vocabularies.values()))
            own = expert.of(clip)
            columns = (expert.ids[own], expert.start[own], expert.end[own], expert.confidence[own])
            out[name] = [Token(vocabulary.tokens[i], round(float(s), 3), round(float(e), 3),
                               round(float(c), 3)) for i, s, e, c in zip(*columns)]  # fmt: skip
        return out


def read_clip_file(path: Path) -> Clip:
    """One `.pose` or `.npz` file as a clip without labels.

    Raises:
      SignBindError: another kind of file, or one that cannot be read.
    """
    from data_pipelines.readers.poses import read_pose_file

    if path.suffix not in (".pose", ".npz"):
        raise SignBindError(f"{path}: found a '{path.suffix}' file, wanted .pose or .npz; video "
                            "needs its landmarks extracted first")  # fmt: skip
    pose = read_pose_file(path)
    return Clip(id=path.stem, text="", pose=pose.points, pose_fps=pose.fps)


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
    """`signbind translate`: one line a clip, `name<TAB>sentence`."""
    translator = Translator(arguments.checkpoint, arguments.beam_size)
    clips = ClipList([read_clip_file(path) for path in arguments.clips])
    streams = translator.read(clips)
    sentences = translator.write(streams)
    fused = translator.fused(streams) if arguments.json else None
    for i, (path, sentence) in enumerate(zip(arguments.clips, sentences, strict=True)):
        if not arguments.json:
            print(f"{path.name}\t{sentence}")
            continue
        tokens = translator.tokens(streams, i)
        rows = {name: [vars(t) for t in row] for name, row in tokens.items()}
        record = {"clip": str(path), "sentence": sentence, "fused": fused[i], "streams": rows}
        print(json.dumps(record, ensure_ascii=False))
    jax.clear_caches()
    return 0
