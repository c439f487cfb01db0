"""Where long recordings are cut, what is written of them, and the memory it takes.

python -m benchmarks.long_recordings --data=DIR [--minutes=3] [--seeds=3] [--segmenter=RUN]
    [--checkpoint=RUN] [--hours=1]

Joins the sentences of DIR (`.pose` or `.npz`, each cut to its signing) in random order, with pauses
of 0.7 to 2 s in between, to recordings of so many minutes, and cuts them again. A sentence is
brought to one place and size by its shoulders; its frames are else what was recorded. The pauses
are not recorded. Three kinds are made, and scored apart:

- lowered: the hands go to the lap, rest there and come back, on smooth paths of at most 0.35 s.
  Where they rest and how the tracker shakes there is recorded: it is that of a hand of DIR that
  rests beside one that signs, its mirror image for the other hand. Head and body move evenly from
  the last frame of a sentence to the first of the next.
- held: the hands stay where the last sign left them, with the same shaking, and go to where the
  next sentence begins in the last 0.3 s, or third, of the pause.
- none: there is no pause; all points go evenly, in 0.2 s, to where the next sentence begins.

Scored are the starts and ends of sentences: the share that have a found one of their kind within
0.5 s, and the share of the found ones that have a true one. With `--segmenter`, a run of stage
segmentation, recordings are cut once more with it.

With `--checkpoint`, a system that reads such landmarks, each first recording is translated by
`signbind translate --segment`; its subtitles have to be legal and in order, and each text that of
the same frames in a file of their own. With `--hours` too, recordings of 10 minutes and of so many
hours are translated, as directories of parts: their peak memory (Linux).

The last line is all of it as JSON.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.harness import ROOT, make_parser
from signbind_jax import keypoints
from signbind_jax.data_pipelines.readers.long_recording import open_recording
from signbind_jax.data_pipelines.readers.poses import SURE
from signbind_jax.use.boundaries import BoundaryReader, open_segmenter
from signbind_jax.use.recording import cut_recording
from signbind_jax.use.segments import Segment
from signbind_jax.use.translator import LONGEST_S

NEAR_S = 0.5
PAUSES_S, WITHOUT_S = (0.7, 2.0), 0.2
LOWERING_S, REACHING_S = 0.35, 0.3
WIDTH, CENTRE = 200.0, (640.0, 360.0)  # pixels of the shoulders, and where their middle is
PART_S = 100.0
SHORT_MINUTES = 10  # what an hour's memory is compared with
HANDS = (keypoints.LEFT_HAND_SLICE, keypoints.RIGHT_HAND_SLICE)
WRISTS = (keypoints.NAMES.index("left_wrist"), keypoints.NAMES.index("right_wrist"))


@dataclass(frozen=True)
class Sentences:
    """Recorded sentences of one scheme and frame rate.

    Attributes:
      clips: float32 (t, n, 3) x, y in shoulder widths about the mid-shoulder point, confidence.
      hands: of each side the points of the hand and its wrist on the body, by index.
      resting: (t, 22, 3) a left hand at rest, likewise.
    """

    scheme: str
    fps: float
    clips: list[np.ndarray]
    hands: tuple[list[int], list[int]]
    resting: np.ndarray


def read_sentences(directory: Path) -> Sentences:
    """The sentences of a directory; those of another scheme or rate than most are left out."""
    found: dict[tuple[str, float], list[np.ndarray]] = {}
    for path in sorted(p for p in directory.iterdir() if p.suffix in (".pose", ".npz")):
        recording = open_recording(path)
        (window,) = recording.windows([(0, recording.n_frames)])
        scheme = str(window["scheme"])
        points_tnc = np.concatenate([window["keypoints"], window["scores"][..., None]], -1)
        points_tnc = np.nan_to_num(points_tnc.astype(np.float32))
        placed_tnc = placed(points_tnc, keypoints.to_canonical(points_tnc, scheme))
        found.setdefault((scheme, recording.fps), []).append(placed_tnc)
    (scheme, fps), clips = max(found.items(), key=lambda item: len(item[1]))
    print(
        f"{len(clips)} of {sum(map(len, found.values()))} sentences: {scheme} at {fps:g} a second"
    )
    source = keypoints.SCHEMES[scheme].source_k
    left, right = (
        [*source[hand], source[wrist]] for hand, wrist in zip(HANDS, WRISTS, strict=True)
    )
    return Sentences(scheme, fps, clips, (left, right), _resting(clips, left, right))


def placed(points_tnc: np.ndarray, canonical_tkc: np.ndarray) -> np.ndarray:
    """The points in shoulder widths, by the medians that `readers.poses` takes."""
    pair = [keypoints.LEFT_SHOULDER, keypoints.RIGHT_SHOULDER]
    shoulders_tpc = canonical_tkc[(canonical_tkc[:, pair, 2] > SURE).all(1)][:, pair, :2]
    width = np.median(np.linalg.norm(shoulders_tpc[:, 0] - shoulders_tpc[:, 1], axis=-1))
    xy_tnc = (points_tnc[..., :2] - np.median(shoulders_tpc.mean(1), axis=0)) / width
    seen_tn1 = points_tnc[..., 2:] > 0
    return np.concatenate([xy_tnc * seen_tn1, points_tnc[..., 2:]], -1).astype(np.float32)


def _resting(clips: Sequence[np.ndarray], left: list[int], right: list[int]) -> np.ndarray:
    """The stillest hand that is down in a whole sentence, as a left one."""
    mirror = np.float32([-1, 1, 1])
    hands = [clip[:, side] * sign for clip in clips for side, sign in ((left, 1), (right, mirror))]
    down = [
        x for x in hands if (x[..., 2] > 0).all() and (x[..., 1].mean(1) > keypoints.LOWERED).all()
    ]
    if not down:
        raise SystemExit("benchmark: found no hand that rests through a sentence, wanted one")
    return min(down, key=lambda x: np.abs(np.diff(x[..., :2], axis=0)).mean())


def join(
    sentences: Sentences, seconds: float, kind: str, random: np.random.Generator
) -> tuple[np.ndarray, list[tuple[float, float]]]:
    """A recording (t, n, 3) that begins and ends in a pause, and its sentences' starts and ends."""
    fps, pieces, truth, order = sentences.fps, [], [], []
    n_frames, last = 0, None
    while n_frames < seconds * fps:
        order = order or list(random.permutation(len(sentences.clips)))
        clip = sentences.clips[order.pop()]
        n_pause = round((WITHOUT_S if kind == "none" else random.uniform(*PAUSES_S)) * fps)
        before = clip[0] if last is None else last
        pieces += [pause(sentences, before, clip[0], n_pause, kind, random), clip]
        start = n_frames + n_pause
        n_frames, last = start + len(clip), clip[-1]
        truth.append((start / fps, n_frames / fps))
    pieces.append(pause(sentences, last, last, round(PAUSES_S[1] * fps), kind, random))
    return np.concatenate(pieces), truth


def pause(
    sentences: Sentences,
    last: np.ndarray,
    first: np.ndarray,
    n: int,
    kind: str,
    random: np.random.Generator,
) -> np.ndarray:
    """The n frames between the last of a sentence and the first of the next; see the module."""
    share_t = np.arange(1, n + 1) / (n + 1)
    ends = [np.where(end[:, 2:] > 0, end, other) for end, other in ((last, first), (first, last))]
    frames_tnc = ends[0] + (ends[1] - ends[0]) * share_t[:, None, None]
    if kind == "none":
        return frames_tnc.astype(np.float32)
    n_moves = max(1, min(round((LOWERING_S if kind == "lowered" else REACHING_S) * sentences.fps),
                         n // 3))  # fmt: skip
    rise_m = _smooth(np.arange(1, n_moves + 1) / (n_moves + 1))
    for side, sign in zip(sentences.hands, (1, -1), strict=True):
        rest_tnc = _looped(sentences.resting, n, random) * np.float32([sign, 1, 1])
        from_nc, to_nc = (np.where(e[side, 2:] > 0, e[side], rest_tnc[0]) for e in ends)
        rests_t = np.zeros(n)
        rests_t[-n_moves:] = rise_m[::-1]
        if kind == "lowered":
            rests_t[:n_moves], rests_t[n_moves : n - n_moves] = rise_m, 1
            is_first_t11 = (share_t < 0.5)[:, None, None]
            start_tnc = np.where(is_first_t11, from_nc, to_nc)
            hand_tnc = start_tnc + (rest_tnc - start_tnc) * rests_t[:, None, None]
        else:
            rests_t[:-n_moves] = 1
            held_tnc = from_nc + rest_tnc - rest_tnc.mean(0)
            hand_tnc = to_nc + (held_tnc - to_nc) * rests_t[:, None, None]
        hand_tnc[..., 2] = 1
        frames_tnc[:, side] = hand_tnc
    return frames_tnc.astype(np.float32)


def _smooth(share: np.ndarray) -> np.ndarray:
    """From 0 to 1 with the least jerk, as hands move (Flash and Hogan, 1985)."""
    return 10 * share**3 - 15 * share**4 + 6 * share**5


def _looped(x_tnc: np.ndarray, n: int, random: np.random.Generator) -> np.ndarray:
    """n frames of a sequence that is played forwards and backwards from anywhere in it."""
    period = 2 * len(x_tnc) - 2
    return x_tnc[np.abs((np.arange(n) + random.integers(period)) % period - (len(x_tnc) - 1))]


def write(path: Path, sentences: Sentences, points_tnc: np.ndarray, **more) -> Path:
    """An `.npz` file of a recording, in pixels."""
    np.savez(
        path,
        keypoints=(points_tnc[..., :2] * WIDTH + CENTRE).astype(np.float32),
        scores=points_tnc[..., 2],
        fps=sentences.fps,
        scheme=sentences.scheme,
        width=2 * CENTRE[0],
        height=2 * CENTRE[1],
        **more,
    )
    return path


def write_parts(directory: Path, sentences: Sentences, minutes: float, seed: int) -> Path:
    """A recording as `signbind extract` leaves a long video, in consecutive parts."""
    directory.mkdir()
    random = np.random.default_rng(seed)
    n_parts, n = round(minutes * 60 / PART_S), round(PART_S * sentences.fps)
    for i in range(n_parts):
        points_tnc, _ = join(sentences, PART_S, "lowered", random)
        about = {"video": "joined.mp4", "frames": n, "found": {}, "start_s": i * PART_S}
        about["end_s"] = None if i + 1 == n_parts else (i + 1) * PART_S
        part = directory / f"{i:04d}.npz"
        write(part, sentences, points_tnc[:n], about=json.dumps(about))
    return directory


def score(found: Sequence[Segment], truth: Sequence[tuple[float, float]]) -> dict:
    """Shares of boundaries within `NEAR_S` of one of the same kind, true ones and found ones."""

    def near(some: np.ndarray, others: np.ndarray) -> float:
        return float((np.abs(some[:, None] - others[None]).min(1) <= NEAR_S).mean())

    found_sk, truth_sk = np.array(found).reshape(-1, 2), np.array(truth)
    if not len(found_sk):
        return {"sentences": len(truth), "found": 0, "true_near_found": 0.0, "found_near_true": 0.0}
    return {
        "sentences": len(truth),
        "found": len(found_sk),
        "true_near_found": statistics.fmean(near(truth_sk[:, k], found_sk[:, k]) for k in (0, 1)),
        "found_near_true": statistics.fmean(near(found_sk[:, k], truth_sk[:, k]) for k in (0, 1)),
    }


def translated(checkpoint: Path, *arguments: object) -> tuple[str, float]:
    """What `signbind translate` prints, and the peak of its memory in MiB."""
    command = [sys.executable, "-m", "signbind_jax.cli", "translate", f"--checkpoint={checkpoint}"]
    process = subprocess.Popen(
        [*command, *map(str, arguments)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    out = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"benchmark: signbind translate ended with {process.returncode}")
    return out, used.ru_maxrss / 2**10


def check_texts(checkpoint: Path, sentences: Sentences, recording: Path, tree: Path) -> dict:
    """Subtitles of a recording, and each text beside that of the same frames as a clip."""
    import webvtt

    printed, _ = translated(checkpoint, "--segment", "--format=json", recording)
    rows = [json.loads(line) for line in printed.splitlines()]
    (window,) = (r := open_recording(recording)).windows([(0, r.n_frames)])
    clips = tree / f"{recording.stem}-clips"
    clips.mkdir()
    for i, row in enumerate(rows):
        frames = slice(*Segment(row["start"], row["end"]).frames(sentences.fps))
        fields = {k: v[frames] if k in ("keypoints", "scores") else v for k, v in window.items()}
        np.savez(clips / f"{i:04d}.npz", **fields)
    alone, _ = translated(checkpoint, "--format=json", clips)
    texts = [json.loads(line)["sentence"] for line in alone.splitlines()]
    translated(checkpoint, "--segment", "--format=vtt", f"--out={tree}", recording)
    captions = webvtt.read(tree / f"{recording.stem}.vtt").captions
    times = [t for c in captions for t in (c.start_in_seconds, c.end_in_seconds)]
    return {
        "sentences": len(rows),
        "same_text_alone": sum(a["sentence"] == b for a, b in zip(rows, texts, strict=True)),
        "cues": len(captions),
        "cues_in_order": times == sorted(times),
    }


def main() -> None:
    """Prints the figures."""
    parser = make_parser(__doc__)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR")
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--segmenter", type=Path, metavar="RUN")
    parser.add_argument("--checkpoint", type=Path, metavar="RUN")
    parser.add_argument("--hours", type=float, default=0.0)
    arguments = parser.parse_args()
    sentences = read_sentences(arguments.data)
    facts: dict = {"minutes": arguments.minutes, "near_s": NEAR_S}
    with tempfile.TemporaryDirectory() as temporary:
        tree = Path(temporary)
        segmenter = arguments.segmenter and BoundaryReader.of(open_segmenter(arguments.segmenter))
        for kind in ("lowered", "held", "none"):
            scores: dict[str, list] = {"pauses": [], **({"segmenter": []} if segmenter else {})}
            for seed in range(arguments.seeds):
                random = np.random.default_rng(seed)
                points_tnc, truth = join(sentences, arguments.minutes * 60, kind, random)
                path = write(tree / f"{kind}-{seed}.npz", sentences, points_tnc)
                for by, rows in scores.items():
                    reader = segmenter if by == "segmenter" else None
                    found = cut_recording(open_recording(path), LONGEST_S, reader).segments
                    rows.append(score(found, truth))
                    print(kind, seed, by, rows[-1], flush=True)
            facts[kind] = scores
            if arguments.checkpoint:
                recording = tree / f"{kind}-0.npz"
                texts = check_texts(arguments.checkpoint, sentences, recording, tree)
                facts[f"{kind}_texts"] = texts
                print(kind, texts, flush=True)
        if arguments.checkpoint and arguments.hours:
            for name, minutes in (("short", SHORT_MINUTES), ("long", 60 * arguments.hours)):
                parts = write_parts(tree / name, sentences, minutes, seed=0)
                # Lines go out as they are written; subtitles are held to the end.
                how = ("--segment", "--format=json", f"--longest={LONGEST_S:g}")
                printed, peak = translated(arguments.checkpoint, *how, parts)
                facts[f"{name}_recording"] = {
                    "minutes": minutes,
                    "sentences": printed.count("\n"),
                    "peak_mib": round(peak),
                }
                print(name, facts[f"{name}_recording"], flush=True)
    print(json.dumps(facts))


if __name__ == "__main__":
    main()
