"""`signbind translate`: the sentences of clips."""

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import jax

from signbind_jax.data.clip_list import ClipList
from signbind_jax.distributed import hosts
from signbind_jax.errors import SignBindError, printable
from signbind_jax.generation import config as generation_config
from signbind_jax.use.opening import add_translator_arguments
from signbind_jax.use.translation import Translation, json_line
from signbind_jax.use.translator import Translator

if TYPE_CHECKING:
    from signbind_jax.data_pipelines.clip_inputs import ClipInputs


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `signbind translate`."""
    from signbind_jax.data_pipelines import clip_inputs
    from signbind_jax.use import translate_recordings, translate_streams

    clip_inputs.add_arguments(parser)
    add_translator_arguments(parser)
    parser.add_argument(
        "--format",
        choices=translate_recordings.ENDINGS,
        default="text",
        help="text: a line a sentence; json: an object a sentence, with streams and fused tokens; "
        "with --segment also subtitles (vtt, srt) and ELAN annotations (default: %(default)s)",
    )
    parser.add_argument(
        "--one_recording",
        action="store_true",
        help="the clips, in the order given, are of one recording: a run with "
        "options.previous_sentence reads what it wrote for the clip before",
    )
    translate_recordings.add_arguments(parser)
    translate_streams.add_arguments(parser)
    generation_config.add_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """`signbind translate`: one line a clip in the order given, `name<TAB>sentence`.

    Of a video, landmarks and mouth crops are extracted first, as `signbind extract` does it.
    `--segment` cuts recordings into sentences first: a line a sentence, with its start and end;
    `--stream` reads them as if they were being signed: a line of JSON an update.
    Files that cannot be read and streams that get no input are named on standard error. Exit
    code 1 where a file could not be read, though the others are translated.
    """
    from signbind_jax.data_pipelines.clip_inputs import read_inputs
    from signbind_jax.data_pipelines.extraction.pool import Interrupted
    from signbind_jax.data_pipelines.writing.build_report import some_of
    from signbind_jax.use import translate_recordings, translate_streams

    if arguments.segment and arguments.stream:
        raise SignBindError("--stream: found --segment too, wanted one of them")
    if not arguments.segment:
        translate_recordings.check_unused(arguments)
    if not arguments.stream:
        translate_streams.check_unused(arguments)
    settings = generation_config.given(arguments)
    translator = Translator(arguments.checkpoint, settings, step=arguments.step)
    try:
        if arguments.segment or arguments.stream:
            recordings = translate_recordings if arguments.segment else translate_streams
            code = recordings.run(arguments, translator)
            jax.clear_caches()
            return code
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
        found = translator.translate_clips(read.clips, arguments.one_recording)
        _print(translator, read, found, arguments.format == "json")
    jax.clear_caches()
    return 1 if read.faults else 0


def _print(
    translator: Translator,
    read: "ClipInputs",
    translations: Sequence[Translation],
    as_json: bool,
) -> None:
    """Prints the sentence of each clip."""
    for name, path, found in zip(read.names, read.paths, translations, strict=True):
        if not as_json:
            print(f"{printable(name)}\t{found.text}")
            continue
        print(json_line(found, translator.generation, clip=printable(str(path))))
