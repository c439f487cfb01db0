"""What landmarks and mouth crops of the real recordings are like, beside the synthetic corpus's.

    python -m benchmarks.real.recordings --data=RECORDED --workdir=DIR [--grid=EXTRACTED]

`--data` is the directory with `dgs`, `fingerspelling_ase` and `letters_by_recorder`; `--grid` what
`signbind extract` made of talking faces, with mouth crops. Distances are in shoulder widths; where
a clip shows no shoulders, as its hand or face is scaled (docs/use/translate_your_recordings.md).
"""

import itertools
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from benchmarks.real import letters
from benchmarks.real.work import Work, make_parser, run_benchmark
from signbind_jax import keypoints
from signbind_jax.data import lips
from signbind_jax.data.clip import Clip
from signbind_jax.data_pipelines import folder, joined_letters
from signbind_jax.data_pipelines.corpus import Corpus, read_clips
from signbind_jax.data_pipelines.readers.clip_file import Kind, read_clip_file
from signbind_jax.data_pipelines.synthetic.corpus import SyntheticConfig
from signbind_jax.data_pipelines.synthetic.corpus import open_corpus as open_synthetic
from signbind_jax.data_pipelines.synthetic.hard import corpus as hard
from signbind_jax.data_pipelines.writing.build_report import BuildReport

CLIPS = 200  # at most, of a set
LIP_SIZE = 96
HANDS = {"left": keypoints.LEFT_HAND_SLICE, "right": keypoints.RIGHT_HAND_SLICE}
SLOW = 0.5  # shoulder widths a second: what shakes below it is the tracker
UPPER, LOWER = (keypoints.NAMES.index(f"inner_lip_{i}") for i in (2, 6))
# Median residual of three frames in a row, of normal noise of standard deviation 1 in x and in y.
_OF_NOISE = 1.5**0.5 * 1.177


class Measured:
    """Numbers of the clips of a set, by what was measured."""

    def __init__(self, clips: Iterable[Clip]):
        self._found: dict[str, list[np.ndarray]] = {}
        self.n_clips = self.n_frames = 0
        for clip in clips:
            self.n_clips += 1
            self._add("frames a second", [frames.fps for frames in clip.modalities.values()][:1])
            if "pose" in clip.modalities:
                pose = clip.modalities["pose"]
                self.n_frames += pose.n
                self._pose(pose.data.astype(np.float64), pose.fps)
            if len("".join(clip.spelled)) == 1:
                held = joined_letters.held_part(clip)
                self._add("seconds of a letter", [len(held) / clip.modalities["pose"].fps])
            if "lips" in clip.modalities:
                crops = clip.modalities["lips"]
                self._crops(lips.decode_mosaic(crops.data, crops.n).astype(np.float64), crops.fps)

    def _add(self, what: str, values) -> None:
        self._found.setdefault(what, []).append(np.asarray(values, np.float64).ravel())

    def _pose(self, x_tkc: np.ndarray, fps: float) -> None:
        seen_tk = x_tkc[..., 2] > 0
        self._add("frames without any landmark, %", 100 * ~seen_tk.any(axis=1))
        face = slice(keypoints.FACE_SLICE.start, keypoints.MOUTH_SLICE.stop)
        parts = {"body": keypoints.BODY_SLICE, "face": face, **HANDS}
        for name, part in parts.items():
            kind = "hand" if name in HANDS else name
            part_tkc, part_tk = x_tkc[:, part], seen_tk[:, part]
            if not part_tk.any():
                continue
            self._add(f"confidence, {kind}", part_tkc[part_tk][:, 2])
            seen_t = part_tk.any(axis=1)
            if kind == "hand":
                self._add("a hand missing, % of frames", 100 * ~seen_t)
                self._add("frames in a row without it", _runs_inside(seen_t))
                self._add("hand speed, a second", _speed(part_tkc[:, :1], fps))
                fingers = part_tkc - part_tkc[:, :1] * (1, 1, 0)
                self._add("jitter, fingers about the wrist", _jitter(fingers, fps))
                self._add("jitter, wrist", _jitter(part_tkc[:, :1], fps))
            else:
                self._add(f"jitter, {kind}", _jitter(part_tkc, fps))
        self._mouth(x_tkc, fps)

    def _mouth(self, x_tkc: np.ndarray, fps: float) -> None:
        corners_tk = x_tkc[:, list(keypoints.MOUTH_CORNERS)]
        inner_tk = x_tkc[:, [UPPER, LOWER]]
        seen_t = (corners_tk[..., 2] > 0).all(axis=1) & (inner_tk[..., 2] > 0).all(axis=1)
        if seen_t.sum() < 3:
            return
        width_t, open_t = (
            np.linalg.norm(x_tk[:, 0, :2] - x_tk[:, 1, :2], axis=-1)
            for x_tk in (corners_tk, inner_tk)
        )
        open_t = open_t / np.median(width_t[seen_t])
        self._add("mouth opening, of its width", open_t[seen_t])
        steps = np.abs(np.diff(open_t))[seen_t[1:] & seen_t[:-1]]
        self._add("mouth opening speed, a second", steps * fps)

    def _crops(self, x_fhw: np.ndarray, fps: float) -> None:
        self._add("crops: grey, 0 to 1", x_fhw.mean(axis=(1, 2)) / 255)
        self._add("crops: contrast (standard deviation)", x_fhw.std(axis=(1, 2)) / 255)
        change = np.abs(np.diff(x_fhw, axis=0)).mean(axis=(1, 2))
        self._add("crops: change, a second", change * fps / 255)

    def of(self, what: str) -> str:
        """Median and 95th percentile, or the mean of a share."""
        found = self._found.get(what)
        if not found:
            return "-"
        values = np.concatenate(found)
        if "%" in what:
            return f"{values.mean():.2f}"
        if not len(values):
            return "none"
        return f"{np.median(values):.3g} / {np.percentile(values, 95):.3g}"

    @property
    def names(self) -> list[str]:
        """What was measured."""
        return list(self._found)


def _runs_inside(seen_t: np.ndarray) -> list[int]:
    """Lengths of the runs of frames that are missing between two that are there."""
    at = np.flatnonzero(seen_t)
    return [int(gap) - 1 for gap in np.diff(at) if gap > 1]


def _speed(x_tkc: np.ndarray, fps: float) -> np.ndarray:
    """Speeds of points where this frame and the one before show them."""
    seen_tk = (x_tkc[1:, :, 2] > 0) & (x_tkc[:-1, :, 2] > 0)
    return (np.linalg.norm(np.diff(x_tkc[..., :2], axis=0), axis=-1) * fps)[seen_tk]


def _jitter(x_tkc: np.ndarray, fps: float) -> np.ndarray:
    """How far slow points are from the middle of their neighbours in time, as the standard
    deviation of noise in x and in y of which that would be the median."""
    if len(x_tkc) < 3:
        return np.zeros(0)
    seen_tk = x_tkc[..., 2] > 0
    seen_tk = seen_tk[1:-1] & seen_tk[2:] & seen_tk[:-2]
    xy_tkc = x_tkc[..., :2]
    slow_tk = np.linalg.norm(xy_tkc[2:] - xy_tkc[:-2], axis=-1) * fps / 2 < SLOW
    residual_tk = np.linalg.norm(xy_tkc[1:-1] - (xy_tkc[2:] + xy_tkc[:-2]) / 2, axis=-1)
    return residual_tk[seen_tk & slow_tk] / _OF_NOISE


def some_of(corpus: Corpus, split: str | None = None) -> Iterator[Clip]:
    """Up to `CLIPS` clips of a corpus, spread over it."""
    rows = [row for name, of in corpus.splits.items() if split in (None, name) for row in of]
    return read_clips(rows[:: max(len(rows) // CLIPS, 1)][:CLIPS], corpus.read, BuildReport())


def sets(arguments) -> Iterator[tuple[str, Callable[[], Iterable[Clip]]]]:
    """Name of each set, and what gives its clips."""
    for name in ("dgs", "fingerspelling_ase"):
        yield name, lambda name=name: some_of(folder.open_corpus(arguments.data / name))
    people = letters.recorders(arguments.data / "letters_by_recorder", arguments.workdir)
    for one in people:
        one.write_corpus()
    yield (
        "letters_by_recorder",
        lambda: itertools.chain.from_iterable(
            itertools.islice(some_of(folder.open_corpus(one.corpus)), CLIPS // len(people))
            for one in people
        ),
    )
    if arguments.grid:
        paths = sorted(arguments.grid.glob("*.npz"))[:CLIPS]
        yield "grid", lambda: (read_clip_file(p, Kind.LANDMARKS, LIP_SIZE).clip for p in paths)
    yield "synthetic", lambda: some_of(open_synthetic(SyntheticConfig(train=CLIPS)), "train")
    yield "hard", lambda: some_of(hard.open_corpus(hard.HardConfig(train=CLIPS)), "train")


def main() -> None:
    parser = make_parser(__doc__, seeds=1)
    parser.add_argument("--grid", type=Path, metavar="DIR", help="extracted poses and mouth crops")
    arguments = parser.parse_args()
    work = Work(arguments.workdir)
    measured = {name: Measured(clips()) for name, clips in sets(arguments)}
    rows = dict.fromkeys(what for one in measured.values() for what in one.names)
    print("| median / 95th percentile | " + " | ".join(measured) + " |")
    print("|---" * (len(measured) + 1) + "|")
    print(
        "| clips, frames | "
        + " | ".join(f"{m.n_clips}, {m.n_frames}" for m in measured.values())
        + " |"
    )
    for what in rows:
        print(f"| {what} | " + " | ".join(one.of(what) for one in measured.values()) + " |")
    work.finish({name: {what: one.of(what) for what in rows} for name, one in measured.items()})


if __name__ == "__main__":
    run_benchmark(main)
