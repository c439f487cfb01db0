"""`signbind translate --stream`: recordings read as if their frames came one after the other."""

import argparse
import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax

from signbind_jax.data_pipelines.readers.long_recording import open_recording
from signbind_jax.errors import SignBindError, printable
from signbind_jax.ranges import argument, hints_of
from signbind_jax.use.streaming import StreamingTranslator, StreamSettings
from signbind_jax.use.translate_recordings import sources
from signbind_jax.use.translator import Translator

_HELP = {
    "look_ahead": "a token is final once it ended so many seconds before the newest frame",
    "chunk": "seconds of new frames after which all are read again",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of recordings that are read as they come."""
    group = parser.add_argument_group("as it is signed")
    group.add_argument(
        "--stream",
        action="store_true",
        help="reads each recording, of one sentence, as if its frames came one after the other: a "
        "line of JSON whenever some were read",
    )
    for name, what in _HELP.items():
        group.add_argument(
            f"--{name}",
            type=argument(hints_of(StreamSettings)[f"{name}_s"]),
            metavar="SECONDS",
            help=f"{what} (default: {getattr(StreamSettings, f'{name}_s'):g})",
        )


def check_unused(arguments: argparse.Namespace) -> None:
    """Whether what only recordings that are read as they come have was left alone.

    Raises:
      SignBindError: it was not.
    """
    for name in _HELP:
        if (given := getattr(arguments, name)) is not None:
            raise SignBindError(f"--{name}={given:g}: found whole clips, wanted --stream")


def run(arguments: argparse.Namespace, translator: Translator) -> int:
    """Reads recordings one after the other.

    What cannot be read is named on standard error and costs no other recording; the exit code is
    then 1.

    Raises:
      SignBindError: several processes; another format than JSON.
      Interrupted: a signal ended the extraction.
    """
    if jax.process_count() > 1:
        raise SignBindError(f"--stream: found {jax.process_count()} processes, wanted one")
    with contextlib.ExitStack() as stack:
        faults: list[str] = []
        for path, landmarks in sources(arguments, stack, faults).items():
            try:
                for line in _updates(arguments, translator, landmarks):
                    print(json.dumps({"clip": printable(str(path))} | line, ensure_ascii=False))
                    sys.stdout.flush()
            except SignBindError as error:
                # Not under the name of what was extracted.
                faults.append(str(error).replace(str(landmarks), str(path), 1))
    for fault in faults:
        print(f"signbind: error: {printable(fault)}", file=sys.stderr)
    return 1 if faults else 0


def _updates(
    arguments: argparse.Namespace, translator: Translator, landmarks: Path
) -> Iterator[dict[str, Any]]:
    """The updates of one recording, JSON-ready.

    Raises:
      SignBindError: it cannot be read, or lasts longer than a sentence.
    """
    recording = open_recording(landmarks)
    stated = recording.parts[0].fields
    of = {n: x.item() for n, x in stated.items() if n in ("scheme", "width", "height")}
    given = {f"{name}_s": getattr(arguments, name) for name in _HELP}
    of |= {name: seconds for name, seconds in given.items() if seconds is not None}
    settings = StreamSettings(recording.fps, **of)
    stream = StreamingTranslator(translator, settings)
    if recording.seconds > stream.longest_s:
        raise SignBindError(
            f"{landmarks}: found {recording.seconds:.1f} s, wanted a sentence of at most "
            f"{stream.longest_s:g}: --segment cuts recordings"
        )
    chunk = max(1, round(settings.chunk_s * settings.fps))
    spans = [(a, min(a + chunk, recording.n_frames)) for a in range(0, recording.n_frames, chunk)]
    windows = recording.windows(spans, crops=translator.reader.lip_size is not None)
    frames = (
        {"landmarks": w["keypoints"], "scores": w.get("scores"), "crops": w.get("lips")}
        for w in windows
    )
    for update in stream.run(frames):
        yield update.to_json()
