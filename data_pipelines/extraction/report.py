"""What an extraction found, and what it did not."""

import collections
import csv
import io
from collections.abc import Mapping
from pathlib import Path

from signbind_jax import files
from signbind_jax.data_pipelines.corpus import Recording
from signbind_jax.data_pipelines.extraction.pool import Failure
from signbind_jax.data_pipelines.extraction.result import Result
from signbind_jax.data_pipelines.writing.build_report import some_of
from signbind_jax.errors import SignBindError

SMALL_FACE = 24.0  # pixels between the eyes: its mouth is 13 wide, and a crop magnified threefold


def failures_name(part: int, parts: int) -> str:
    """The file that lists what failed; parts of a corpus have one each."""
    return "failures.tsv" if parts == 1 else f"failures-{part}-of-{parts}.tsv"


def lines_of(results: Mapping[str, Result], failures: Mapping[str, Failure]) -> list[str]:
    """What a user should know of the clips, one line a fact, for the terminal."""
    small = f"face small (under {SMALL_FACE:g} pixels between the eyes), so crops are blurred"
    facts = {
        "no person in any frame": lambda r: not any(r.found.values()),
        "no face in any frame, so no mouth crops": lambda r: not r.found.get("face"),
        "no hand in any frame": lambda r: (
            not (r.found.get("left_hand") or r.found.get("right_hand"))
        ),
        small: lambda r: 0 < r.eye_distance < SMALL_FACE,
    }
    lines = []
    for what, holds in facts.items():
        if ids := [clip_id for clip_id, result in results.items() if holds(result)]:
            lines.append(f"{what}: {len(ids)} clips ({some_of(ids)})")
    counts: dict[str, dict[str, int]] = collections.defaultdict(dict)
    for clip_id, result in results.items():
        if result.interpolated_crops:
            counts["crops placed between neighbours, the face missing for a moment"][clip_id] = (
                result.interpolated_crops
            )
        if result.missing_crops and result.found.get("face"):
            counts["crops that are the clip's mean, the face missing for longer"][clip_id] = (
                result.missing_crops
            )
        for what, n in result.notes.items():
            counts[what][clip_id] = n
    for what, by_clip in counts.items():
        lines.append(
            f"{what}: {sum(by_clip.values())} in {len(by_clip)} clips ({some_of(list(by_clip))})"
        )
    reasons: dict[str, list[str]] = collections.defaultdict(list)
    for clip_id, failure in failures.items():
        reasons[failure.reason].append(clip_id)
    for reason, ids in sorted(reasons.items(), key=lambda item: -len(item[1])):
        lines.append(f"failed: {reason}: {len(ids)} clips ({some_of(ids)})")
    return lines


def write_failures(
    path: Path, failures: Mapping[str, Failure], recordings: Mapping[str, Recording]
) -> None:
    """Writes id, video and reason of each failure; without failures there is no such file.

    Raises:
      SignBindError: it cannot be written or deleted.
    """
    if not failures:
        try:
            return path.unlink(missing_ok=True)
        except OSError as error:
            raise SignBindError(f"{path}: cannot be deleted: {error.strerror or error}") from error
    text = io.StringIO()
    table = csv.writer(text, "excel-tab", lineterminator="\n")
    table.writerow(("id", "video", "reason"))
    for clip_id, failure in failures.items():
        table.writerow((clip_id, recordings[clip_id].path, failure.reason))
    # Names of files need not be UTF-8.
    files.write(path, text.getvalue().encode(errors="surrogateescape"))
