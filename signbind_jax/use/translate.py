"""Translator: a trained system as one object, from clips to streams to sentences."""

import argparse
import dataclasses
import functools
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax

from signbind_jax.checkpoint import artefact
from signbind_jax.data.clip import TimedToken
from signbind_jax.data.clip_list import ClipList
from signbind_jax.data.vocabulary import FUSION_TARGETS
from signbind_jax.distributed import hosts
from signbind_jax.errors import SignBindError, printable
from signbind_jax.generation import config as generation_config
from signbind_jax.generation.config import read_options
from signbind_jax.models.signbind import SignBindConfig
from signbind_jax.stages.read_streams import Clips, given_instead, open_reader_of
from signbind_jax.stages.system import System
from signbind_jax.stages.translation import TranslationOptions, make_prompt_parts

__all__ = ["TimedToken", "Translator"]

if TYPE_CHECKING:
    from signbind_jax.data_pipelines.clip_inputs import ClipInputs


class Translator(System):
    """Opens an alignment or translation run and the experts it stands on.

    Args:
      settings: fields of GenerationConfig by name, in place of what the run's config says.
      step: which checkpoint of the run, see `artefact.open_artefact`.

    Raises:
      SignBindError: another kind of run; a parent that is missing or was retrained since;
        settings out of range or that do not go together.
    """

    def __init__(
        self,
        checkpoint: Path | str,
        settings: Mapping[str, Any] | None = None,
        *,
        step: int | str = artefact.NEWEST,
    ):
        run = artefact.open_artefact(checkpoint, step)
        if not isinstance(run.model_config, SignBindConfig):
            raise SignBindError(
                f"{checkpoint}: stage: found {run.stage}, wanted alignment or translation"
            )
        options = read_options(TranslationOptions, run.config.options)
        fusion_targets, reader = run.vocabularies[FUSION_TARGETS], open_reader_of(run)
        super().__init__(
            reader=reader,
            weights=functools.cache(run.load_params),
            fusion_targets=fusion_targets,
            tokenizer=run.tokenizer,
            prompt_parts=make_prompt_parts(fusion_targets, run.tokenizer, options, reader),
            generation=generation_config.overridden(options.generation, settings or {}),
        )
        self._reads_hidden = run.model_config.fusion.hidden

    def without_hidden(self, clips: Clips) -> str:
        """What a user should know of tokens in place of an expert; empty where there are none."""
        readers = self.reader.readers.values()
        given = [reader.name for reader in readers if given_instead(reader, clips)]
        if not given or not self._reads_hidden:
            return ""
        return (
            f"{', '.join(given)}: tokens from a file have no hidden vectors, which this fusion was "
            "trained with; one trained with --config=fusion:hidden=False needs none"
        )


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
        read = read_inputs(arguments, translator.reader.lip_size)
    except Interrupted as signal:
        print(f"signbind: interrupted ({signal})", file=sys.stderr)
        return 128 + signal.number
    clips = ClipList(read.clips)
    without = translator.reader.without_input(clips) if read.clips else {}
    told = [*read.notes, *(f"error: {fault}" for fault in read.faults)]
    for stream, missing in without.items():
        names = some_of([read.names[i] for i in sorted(missing)])
        told.append(f"{stream}: no input in {len(missing)} of {len(clips)} clips ({names})")
    if note := translator.without_hidden(clips):
        told.append(note)
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
            "id": read.clips[i].id,
            "sentence": sentence,
            "generation": dataclasses.asdict(translator.generation),
            "fused": fused[i],
            "streams": {name: [t._asdict() for t in row] for name, row in tokens.items()},
            "no_input": [name for name, missing in without.items() if i in missing],
        }
        print(json.dumps(record, ensure_ascii=False))
