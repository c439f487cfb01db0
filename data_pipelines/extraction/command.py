"""`signbind extract`: landmarks and mouth crops from videos, with MediaPipe Holistic."""

import argparse
import sys
import time
from pathlib import Path

from signbind_jax.data_pipelines.clips import clip_list_of, read_clip_list
from signbind_jax.data_pipelines.corpus import Recording
from signbind_jax.data_pipelines.extraction.contact_sheet import write_contact_sheet
from signbind_jax.data_pipelines.extraction.extract import (
    Workers,
    add_worker_arguments,
    extract_clips,
)
from signbind_jax.data_pipelines.extraction.report import failures_name, lines_of
from signbind_jax.data_pipelines.readers.extracted import file_of
from signbind_jax.errors import SignBindError
from signbind_jax.ranges import Positive, argument


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `signbind extract`."""
    parser.add_argument(
        "videos",
        metavar="VIDEO",
        type=Path,
        nargs="*",
        help="a video, or a directory of pictures in the order of their names; its "
        "clip is named like it",
    )
    parser.add_argument(
        "--list",
        type=Path,
        metavar="FILE",
        help="the clips instead: id, video, start_s, end_s, fps, tab-separated "
        "with a header, as signbind data clips writes them",
    )
    parser.add_argument(
        "--part",
        type=part,
        metavar="I/N",
        default=(0, 1),
        help="every N-th clip only, from the I-th on (0 <= I < N): N hosts that "
        "share --out, or tasks of an array job, divide a corpus so",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        required=True,
        help="where each clip becomes <id>.npz; clips that are there already are "
        "not extracted again",
    )
    parser.add_argument(
        "--fps",
        type=argument(Positive),
        default=0.0,
        metavar="N",
        help="frames a second of directories of pictures",
    )
    add_worker_arguments(parser)
    parser.add_argument(
        "--contact_sheet",
        type=Path,
        metavar="FILE.png",
        help="draw mouth crops of up to 40 clips, to be looked at",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="extract clips again that are there"
    )


def part(text: str) -> tuple[int, int]:
    """`"I/N"` as (I, N), 0 <= I < N."""
    i, _, n = text.partition("/")
    if not (i.isascii() and i.isdigit() and n.isascii() and n.isdigit() and int(i) < int(n)):
        raise argparse.ArgumentTypeError(f"found {text}, wanted I/N with 0 <= I < N, such as 0/8")
    return int(i), int(n)


def run(arguments: argparse.Namespace) -> int:
    """Extracts landmarks and mouth crops from videos, one .npz a clip.

    MediaPipe Holistic finds 543 landmarks a frame; from those of the face a grey mouth crop of
    96x96 pixels is cut that stays still while the head moves. MediaPipe runs in a virtual
    environment of its own, which the first call makes.

    A command that was interrupted goes on when it is given again. A clip that fails is listed at
    the end and in failures.tsv, and the exit code is then 1; the other clips are there.
    """
    first, every = arguments.part
    recordings = dict(list(_recordings(arguments).items())[first::every])
    if not recordings:
        print(f"no clip falls to part {first} of {every}")
        return 0
    failures_file = arguments.out / failures_name(first, every)
    start = time.monotonic()
    done = extract_clips(
        recordings,
        arguments.out,
        Workers.of(arguments),
        overwrite=arguments.overwrite,
        failures_file=failures_file,
    )
    seconds = time.monotonic() - start
    if done.interrupted:
        print(f"interrupted ({done.interrupted}): the same command goes on", file=sys.stderr)
    for line in lines_of(done.results, done.failures):
        print(line)
    n_new = len(done.results) - done.n_there
    print(
        f"{len(done.results)} of {len(recordings)} clips in {arguments.out}: {n_new} now "
        f"({done.n_frames} frames in {seconds:.0f} s), {done.n_there} before"
    )
    if done.failures:
        print(f"{len(done.failures)} failed: {failures_file}")
    if arguments.contact_sheet and done.results:
        paths = {clip_id: file_of(arguments.out, clip_id) for clip_id in done.results}
        write_contact_sheet(arguments.contact_sheet, paths)
        print(f"mouth crops drawn in {arguments.contact_sheet}")
    if done.interrupted:
        return 128 + done.interrupted.number
    return int(bool(done.failures))


def _recordings(arguments: argparse.Namespace) -> dict[str, Recording]:
    if bool(arguments.videos) == bool(arguments.list):
        raise SignBindError(
            "found both videos and a --list, wanted one of them"
            if arguments.list
            else "found no video, wanted some, or --list=FILE"
        )
    if arguments.list:
        return read_clip_list(arguments.list)
    return clip_list_of(arguments.videos, arguments.fps)
