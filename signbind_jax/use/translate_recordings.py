"""`signbind translate --segment`: recordings of any length, as lines, subtitles or annotations."""

import argparse
import contextlib
import functools
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated

import jax

from signbind_jax import files
from signbind_jax.data_pipelines.clip_inputs import clip_ids
from signbind_jax.data_pipelines.extraction.extract import Workers, extract_clips
from signbind_jax.data_pipelines.extraction.parts import parts_of_video
from signbind_jax.data_pipelines.extraction.report import failures_name, lines_of
from signbind_jax.data_pipelines.readers.clip_file import Kind, kind_of
from signbind_jax.data_pipelines.readers.clip_paths import list_clips
from signbind_jax.data_pipelines.readers.extracted import file_of
from signbind_jax.data_pipelines.readers.long_recording import open_recording, parts_of
from signbind_jax.data_pipelines.writing.build_report import some_of
from signbind_jax.errors import SignBindError, printable
from signbind_jax.ranges import Range, argument
from signbind_jax.use.boundaries import BoundaryReader, open_segmenter
from signbind_jax.use.recording import Told, translate_recording
from signbind_jax.use.segments import SHORTEST_S
from signbind_jax.use.subtitles import TimedSentence, plain, timestamp, to_elan, to_srt, to_webvtt
from signbind_jax.use.translation import json_line
from signbind_jax.use.translator import LONGEST_S, Translator

# Format -> ending of its files; the first two are written as sentences come.
ENDINGS = {"text": ".txt", "json": ".jsonl", "vtt": ".vtt", "srt": ".srt", "elan": ".eaf"}
LINES = ("text", "json")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of recordings that are cut."""
    group = parser.add_argument_group("long recordings")
    group.add_argument(
        "--segment",
        action="store_true",
        help="cuts each recording into sentences at the pauses in which no hand signs",
    )
    group.add_argument(
        "--segmenter",
        type=Path,
        metavar="DIR",
        help="run directory of a segmentation stage: recordings are also cut where it finds that a "
        "sentence ends without a pause (default: what came with a bundle, if anything)",
    )
    group.add_argument(
        "--longest",
        type=argument(Annotated[float, Range(2 * SHORTEST_S, 600)]),
        metavar="SECONDS",
        help="sentences without a pause are cut at this length (default: that of the longest clip "
        f"the system was trained on, or {LONGEST_S:g} where its run does not say)",
    )
    group.add_argument(
        "--out", type=Path, metavar="DIR", help="a file a recording, in place of standard output"
    )


def check_unused(arguments: argparse.Namespace) -> None:
    """Whether what only recordings that are cut have was left alone.

    Raises:
      SignBindError: it was not.
    """
    if arguments.format not in LINES:
        raise SignBindError(
            f"--format={arguments.format}: found whole clips, wanted --segment, which gives the "
            "times of sentences"
        )
    for option in ("out", "segmenter"):
        if getattr(arguments, option) is not None:
            raise SignBindError(f"--{option}: found whole clips, wanted --segment")


def run(arguments: argparse.Namespace, translator: Translator) -> int:
    """Translates recordings one after the other.

    What cannot be read is named on standard error and costs no other recording; the exit code is
    then 1.

    Raises:
      SignBindError: several processes; several recordings in one format of files without `--out`;
        no segmenter in the directory that is to hold one.
      Interrupted: a signal ended the extraction.
    """
    if jax.process_count() > 1:
        raise SignBindError(f"--segment: found {jax.process_count()} processes, wanted one")
    segmenter = translator.segmenter
    if arguments.segmenter:
        segmenter = BoundaryReader.of(open_segmenter(arguments.segmenter))
    with contextlib.ExitStack() as stack:
        faults: list[str] = []
        found = sources(arguments, stack, faults)
        outputs = _outputs(arguments, found, faults)
        for fault in faults:
            _tell(f"error: {fault}")
        n_failed, n_of = len(faults), Counter(path.name for path in outputs)
        for path, out in outputs.items():
            name = path.name if n_of[path.name] == 1 else str(path)
            source = path, found[path]
            written = _translate(arguments, translator, segmenter, name, source, out)
            n_failed += not written
    return 1 if n_failed else 0


def _translate(
    arguments: argparse.Namespace,
    translator: Translator,
    segmenter: BoundaryReader | None,
    name: str,
    source: tuple[Path, Path],
    out: Path | None,
) -> bool:
    """Writes what is said in one recording; False where it cannot be read.

    Args:
      name: what it is called.
      source: the recording as it was named, and its landmarks.
    """
    told, (path, landmarks) = Told(), source
    try:
        recording = open_recording(landmarks)
        sentences = translate_recording(translator, recording, arguments.longest, told, segmenter)
        media = path if path != landmarks else None
        _write(arguments.format, name, sentences, out, media, translator)
    except SignBindError as error:
        # Not under the name of what was extracted.
        _tell(f"error: {str(error).replace(str(landmarks), str(path), 1)}")
        return False
    for line in told.lines():
        _tell(f"{name}: {line}")
    return True


def sources(
    arguments: argparse.Namespace, stack: contextlib.ExitStack, faults: list[str]
) -> dict[Path, Path]:
    """Recording as it was named -> its landmarks, those of videos extracted."""
    named: dict[Path, Path | None] = {}  # None: a video
    for path in _named(arguments.clips, faults):
        try:
            kind = Kind.LANDMARKS if parts_of(path) else kind_of(path, arguments.crops)
            if kind not in (Kind.LANDMARKS, Kind.VIDEO):
                raise SignBindError(f"{path}: found {kind}, wanted a video or its landmarks")
            named[path] = path if kind == Kind.LANDMARKS else None
        except SignBindError as error:
            faults.append(str(error))
        except OSError as error:
            faults.append(f"{path}: cannot be read: {error.strerror or error}")
    videos = [path for path, landmarks in named.items() if landmarks is None]
    extracted = _extract(arguments, videos, stack, faults) if videos else {}
    landmarks = {path: extracted.get(path, own) for path, own in named.items()}
    return {path: own for path, own in landmarks.items() if own is not None}


def _named(arguments: Sequence[str], faults: list[str]) -> list[Path]:
    """The recordings that arguments name, directories of parts in place of their files."""
    found = list_clips(arguments)
    faults += found.faults
    for what, paths in (
        ("named twice, read once", found.twice),
        ("skipped, of no known kind", found.skipped),
    ):
        if paths:
            _tell(f"{what}: {len(paths)} files ({some_of([str(path) for path in paths])})")
    whole = functools.cache(parts_of)
    single = {Path(argument) for argument in arguments}
    joined = (
        path.parent if path not in single and path in whole(path.parent) else path
        for path in found.paths
    )
    return list(dict.fromkeys(joined))


def _extract(
    arguments: argparse.Namespace,
    videos: list[Path],
    stack: contextlib.ExitStack,
    faults: list[str],
) -> dict[Path, Path]:
    """Video -> file or directory of what was extracted from it."""
    out = arguments.extracted or Path(
        stack.enter_context(tempfile.TemporaryDirectory(prefix="signbind"))
    )
    parts = {}
    for clip_id, video in clip_ids(videos, faults).items():
        try:
            parts[clip_id] = video, parts_of_video(clip_id, video)
        except SignBindError as error:
            faults.append(str(error))
    recordings = {part: of for _, own in parts.values() for part, of in own.items()}
    tell = functools.partial(print, file=sys.stderr)
    failures_file = out / failures_name(0, 1)
    workers = Workers.of(arguments)
    done = extract_clips(recordings, out, workers, failures_file=failures_file, tell=tell)
    if done.interrupted:
        raise done.interrupted
    for line in lines_of(done.results, {}):
        _tell(line)
    extracted = {}
    for clip_id, (video, own) in parts.items():
        failed = next((part for part in own if part in done.failures), None)
        if failed is None:
            extracted[video] = file_of(out, clip_id) if len(own) == 1 else out / clip_id
        else:
            at = f"from {own[failed].start_s:g} s: " if len(own) > 1 else ""
            faults.append(f"{video}: {at}{done.failures[failed].reason}")
    return extracted


def _outputs(
    arguments: argparse.Namespace, sources: dict[Path, Path], faults: list[str]
) -> dict[Path, Path | None]:
    """Recording -> file to write; None: standard output."""
    ending = ENDINGS[arguments.format]
    if arguments.out is None:
        if len(sources) > 1 and arguments.format not in LINES:
            raise SignBindError(
                f"--format={arguments.format}: found {len(sources)} recordings, wanted "
                "--out=DIR for a file each"
            )
        return dict.fromkeys(sources)
    arguments.out.mkdir(parents=True, exist_ok=True)
    outputs: dict[Path, Path | None] = {}
    for path in sources:
        out = arguments.out / f"{path.stem}{ending}"
        if out in outputs.values():
            faults.append(f"{path}: {out} is another recording's: rename one of them")
        else:
            outputs[path] = out
    return outputs


def _write(
    kind: str,
    name: str,
    sentences: Iterable[TimedSentence],
    out: Path | None,
    media: Path | None,
    translator: Translator,
) -> None:
    """Writes sentences in a format; media: the video they are of."""
    if kind in LINES:
        line = _text_line if kind == "text" else functools.partial(_json_line, translator)
        chunks: Iterator[str] = (line(name, sentence) for sentence in sentences)
    elif kind == "elan":
        chunks = iter([to_elan(sentences, media)])
    else:
        write: Callable = to_webvtt if kind == "vtt" else to_srt
        chunks = iter([write(sentences)])
    if out is None:
        for chunk in chunks:
            print(chunk, end="", flush=True)
        return
    with files.replacing(out) as file:
        for chunk in chunks:
            file.write(chunk.encode())


def _text_line(name: str, sentence: TimedSentence) -> str:
    times = timestamp(sentence.start_s), timestamp(sentence.end_s)
    return "\t".join((printable(name), *times, plain(sentence.translation.text))) + "\n"


def _json_line(translator: Translator, name: str, sentence: TimedSentence) -> str:
    start, end = round(sentence.start_s, 3), round(sentence.end_s, 3)
    where = {"recording": printable(name), "start": start, "end": end}
    return json_line(sentence.translation, translator.generation, **where) + "\n"


def _tell(line: str) -> None:
    print(f"signbind: {printable(line)}", file=sys.stderr)
