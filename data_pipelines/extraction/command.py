"""`signbind extract`: landmarks and mouth crops from videos, with MediaPipe Holistic."""

import argparse
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from tqdm import tqdm

from data_pipelines.clips import clip_list_of, read_clip_list
from data_pipelines.corpus import Recording
from data_pipelines.extraction.contact_sheet import write_contact_sheet
from data_pipelines.extraction.environment import (
    default_directory,
    ready_environment,
    worker_command,
)
from data_pipelines.extraction.pool import Failure, Interrupted, Task, extract_all
from data_pipelines.extraction.report import failures_name, lines_of, write_failures
from data_pipelines.extraction.result import Result, read_result
from data_pipelines.readers.extracted import file_of
from signbind_jax.errors import SignBindError
from signbind_jax.ranges import Count, Positive, argument
from signbind_jax.side_by_side import usable_cores


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `signbind extract`."""
    parser.add_argument("videos", metavar="VIDEO", type=Path, nargs="*",
                        help="a video, or a directory of pictures in the order of their names; its "
                        "clip is named like it")  # fmt: skip
    parser.add_argument("--list", type=Path, metavar="FILE",
                        help="the clips instead: id, video, start_s, end_s, fps, tab-separated "
                        "with a header, as signbind data clips writes them")  # fmt: skip
    parser.add_argument("--part", type=part, metavar="I/N", default=(0, 1),
                        help="every N-th clip only, from the I-th on (0 <= I < N): N hosts that "
                        "share --out, or tasks of an array job, divide a corpus so")  # fmt: skip
    parser.add_argument("--out", type=Path, metavar="DIR", required=True,
                        help="where each clip becomes <id>.npz; clips that are there already are "
                        "not extracted again")  # fmt: skip
    parser.add_argument("--fps", type=argument(Positive), default=0.0, metavar="N",
                        help="frames a second of directories of pictures")  # fmt: skip
    parser.add_argument("--workers", type=argument(Count), metavar="N", default=len(usable_cores()),
                        help="processes, about 0.4 GB of memory each (default: the cores, here "
                        "%(default)s)")  # fmt: skip
    parser.add_argument("--timeout", type=argument(Positive), default=120.0, metavar="SECONDS",
                        help="a clip without a sign of life for as long has failed (default: "
                        "%(default)g)")  # fmt: skip
    parser.add_argument("--environment", type=Path, metavar="DIR",
                        help="virtual environment with MediaPipe, made here if it is not there "
                        "(default: in the user's cache)")  # fmt: skip
    parser.add_argument("--contact_sheet", type=Path, metavar="FILE.png",
                        help="draw mouth crops of up to 40 clips, to be looked at")  # fmt: skip
    parser.add_argument("--overwrite", action="store_true",
                        help="extract clips again that are there")  # fmt: skip


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
    failures_file = failures_name(first, every)
    tasks = {clip_id: Task(clip_id, recording, file_of(arguments.out, clip_id))
             for clip_id, recording in recordings.items()}  # fmt: skip
    _make_directory(arguments.out)
    results = {} if arguments.overwrite else _results_there(tasks)
    failures: dict[str, Failure] = {}
    waiting = [task for clip_id, task in tasks.items() if clip_id not in results]
    n_there, start = len(results), time.monotonic()
    code = 0
    if waiting:
        environment = ready_environment(arguments.environment or default_directory())
        try:
            _extract(waiting, worker_command(environment), arguments, results, failures)
        except Interrupted as signal:
            print(f"interrupted ({signal}): the same command goes on", file=sys.stderr)
            code = 128 + signal.number
        finally:
            write_failures(arguments.out / failures_file, failures, recordings)
    results = {clip_id: results[clip_id] for clip_id in tasks if clip_id in results}
    n_frames = sum(results[t.id].frames for t in waiting if t.id in results)
    seconds = time.monotonic() - start
    for line in lines_of(results, failures):
        print(line)
    print(f"{len(results)} of {len(tasks)} clips in {arguments.out}: {len(results) - n_there} now "
          f"({n_frames} frames in {seconds:.0f} s), {n_there} before")  # fmt: skip
    if failures:
        print(f"{len(failures)} failed: {arguments.out / failures_file}")
    if arguments.contact_sheet and results:
        write_contact_sheet(arguments.contact_sheet, {i: tasks[i].out for i in results})
        print(f"mouth crops drawn in {arguments.contact_sheet}")
    return code or int(bool(failures))


def _recordings(arguments: argparse.Namespace) -> dict[str, Recording]:
    if bool(arguments.videos) == bool(arguments.list):
        raise SignBindError("found both videos and a --list, wanted one of them" if arguments.list
                            else "found no video, wanted some, or --list=FILE")  # fmt: skip
    if arguments.list:
        return read_clip_list(arguments.list)
    return clip_list_of(arguments.videos, arguments.fps)


def _make_directory(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SignBindError(f"{out}: cannot be made a directory: {error.strerror or error}: name "
                            "another --out") from error  # fmt: skip


def _results_there(tasks: Mapping[str, Task]) -> dict[str, Result]:
    """The summaries of clips that were extracted before; torn files do not count.

    Raises:
      SignBindError: a file is there that comes of another video, or of another part of it.
    """
    results = {}
    for clip_id, task in tasks.items():
        if not task.out.is_file():
            continue
        result = read_result(task.out)
        if result is None:
            continue
        path, start_s, end_s, _ = task.recording
        found, wanted = (result.video, result.start_s, result.end_s), (path.name, start_s, end_s)
        if found != wanted:
            raise SignBindError(f"{task.out}: comes of {_span(*found)}, wanted {_span(*wanted)}: "
                                "choose another --out, or --overwrite")  # fmt: skip
        results[clip_id] = result
    return results


def _span(video: str, start_s: float, end_s: float | None) -> str:
    return f"{video} from {start_s:g} s to " + ("its end" if end_s is None else f"{end_s:g} s")


def _extract(tasks, command, arguments, results: dict, failures: dict) -> None:
    # disable=None: shown on a terminal only
    with tqdm(total=len(tasks), unit="clip", disable=None) as bar:
        frames, start = 0, time.monotonic()

        def finished(task: Task, outcome: Result | Failure) -> None:
            nonlocal frames
            if isinstance(outcome, Failure):
                failures[task.id] = outcome
            else:
                results[task.id] = outcome
                frames += outcome.frames
            rate = frames / (time.monotonic() - start)
            bar.set_postfix_str(f"{rate:.0f} frames/s, {len(failures)} failed", refresh=False)
            bar.update()

        extract_all(tasks, command, finished, workers=arguments.workers,
                    timeout_s=arguments.timeout)  # fmt: skip
