"""Fingerspelled letters of people whom the expert has never seen.

The set has a file a recorder (`*.npz`): `hands` (frames, 21, 3), x and y as shares of the picture;
`first`, where each take begins, and the end; `letters`, one a take. Without --test each recorder is
read by an expert trained on the others; with it, each of its recorders by one trained on all of
--data. `accuracy` is the letter accuracy over the takes that show a hand, its mean over recorders
and seeds; `words_accuracy` that over words joined from these takes, which nobody spelled.

    python -m benchmarks.real.letters --data=DIR --workdir=DIR [--test=DIR] [--seeds=3]
"""

import os
import string
import time
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from benchmarks.real.work import Work, make_parser, run_benchmark
from signbind_jax import files
from signbind_jax.errors import SignBindError

CONFIG = "fingerspelling:frontend=hand_shape"
FPS = 25.0  # not stated, about 20 to 30
PICTURE = (640, 480)  # nor is this
WORDS = {"train": 200, "test": 100}  # joined, of each recorder
LETTERS = string.ascii_uppercase
UNREAD = len(LETTERS)  # column of takes of which nothing was read
SWAPPED = 0.8  # share of a letter's takes that are another letter to everybody else


class Recorder:
    """One person's takes, and where they lie in the work directory."""

    def __init__(self, path: Path, root: Path, name: str):
        self.path, self.name = path, name
        self.corpus, self.data = root / "takes" / name, root / "data" / name

    @cached_property
    def takes(self) -> list[tuple[str, np.ndarray]]:
        """Letter and (frames, 21, 2) of each; zeros where no hand was found.

        Raises:
          SignBindError: a file of another layout.
        """
        fields = files.read_arrays(self.path, ("hands", "first", "letters"))
        wanted = {"hands": (3, "f"), "first": (1, "iu"), "letters": (1, "U")}
        for name, (ndim, kinds) in wanted.items():
            found = fields.get(name, np.array(None))
            if found.ndim != ndim or found.dtype.kind not in kinds:
                raise SignBindError(
                    f"{self.path}: {name}: found {found.dtype} {found.shape}, wanted "
                    "hands (frames, 21, 3), first (takes + 1), letters (takes)"
                )
        first, letters = fields["first"], fields["letters"]
        if unknown := sorted(set(letters.tolist()) - set(LETTERS)):
            raise SignBindError(f"{self.path}: letters: found {unknown[:5]}, wanted A to Z")
        if len(first) != len(letters) + 1 or not (np.diff(first) > 0).all():
            raise SignBindError(
                f"{self.path}: first: found {len(first)} numbers beside {len(letters)} letters, "
                "wanted one more, ascending"
            )
        hands = np.nan_to_num(fields["hands"][..., :2].astype(np.float32))
        return [
            (letter, hands[a:b]) for letter, a, b in zip(letters, first, first[1:], strict=False)
        ]

    @cached_property
    def shapes(self) -> list[tuple[str, np.ndarray]]:
        """Letter of each take that shows a hand, and the mean of its frames: points about the
        wrist, turned until the middle finger's knuckle is above it, in the hand's own size."""
        found = []
        for letter, hand_tkc in self.takes:
            seen_tkc = hand_tkc[hand_tkc.any(axis=(1, 2))] * np.divide(PICTURE, PICTURE[1])
            if len(seen_tkc):
                z_tk = (seen_tkc - seen_tkc[:, :1]) @ (1, 1j)
                z_tk *= np.conj(z_tk[:, 9:10]) / (np.abs(z_tk[:, 9:10]) + 1e-6)
                z_tk /= np.sqrt(np.square(np.abs(z_tk)).mean(axis=1, keepdims=True)) + 1e-6
                shape = z_tk.mean(axis=0)
                found.append((letter, np.concatenate([shape.real, shape.imag])))
        return found

    @property
    def n_without(self) -> int:
        """Takes without a hand in any frame."""
        return len(self.takes) - len(self.shapes)

    def write_corpus(self) -> None:
        """The takes as a folder corpus."""
        if (self.corpus / "manifest.tsv").exists():
            return
        self.corpus.mkdir(parents=True, exist_ok=True)
        rows = ["id\tsplit\ttext\tpose\tsigner\tspelled"]
        width, height = PICTURE
        for i, (letter, hand_tkc) in enumerate(self.takes):
            take = f"{letter}{i:04d}"
            np.savez(
                self.corpus / f"{take}.npz", keypoints=hand_tkc, fps=FPS, width=width, height=height
            )
            rows.append(f"{take}\ttrain\t{letter}\t{take}.npz\t{self.name}\t{letter}")
        files.write(self.corpus / "manifest.tsv", ("\n".join(rows) + "\n").encode())

    @property
    def build(self) -> list:
        """The command that makes a dataset of it."""
        sizes = [f"--{split}={n}" for split, n in WORDS.items()]
        places = [f"--source={self.corpus}", f"--out={self.data}", "--overwrite"]
        return ["data", "build", "joined_letters", *places, *sizes]


def recorders(directory: Path, root: Path, prefix: str = "") -> list[Recorder]:
    """The recorders of a directory of the set.

    Raises:
      SignBindError: it has none.
    """
    paths = sorted(directory.glob("*.npz"))
    if not paths:
        raise SignBindError(f"{directory}: found no .npz file, wanted one a recorder")
    return [Recorder(path, root, prefix + path.stem) for path in paths]


def trainings(given: Sequence[Recorder], tested: Sequence[Recorder], seeds: int) -> dict[str, list]:
    """Name -> [seed, recorders to train on, recorders to read]."""
    if tested:
        return {f"all-{seed}": [seed, given, tested] for seed in range(seeds)}
    return {
        f"without_{held.name}-{seed}": [seed, [one for one in given if one is not held], [held]]
        for seed in range(seeds)
        for held in given
    }


def train(run: Path, seed: int, given: Sequence[Recorder]) -> list:
    """The command that trains an expert on recorders."""
    data = {"directory": ",".join(str(one.data) for one in given), "validation": ""}
    settings = [f"--config.data.{name}={value}" for name, value in data.items()]
    return ["train", f"--config={CONFIG}", f"--workdir={run}", f"--config.seed={seed}", *settings]


def read(run: Path, recorder: Recorder, split: str) -> dict:
    """What `signbind evaluate` says of a recorder, with what was read of each clip."""
    from signbind_jax.checkpoint.artefact import open_artefact
    from signbind_jax.data.dataset import open_dataset
    from signbind_jax.evaluate.evaluators import open_evaluator

    kept = run / f"{recorder.name}-{split}.json"
    if not kept.exists():
        clips = open_dataset(recorder.data).split(split)
        scores, _, outputs = open_evaluator(open_artefact(run)).run(clips)
        pairs = [(output.reference, output.hypothesis) for output in outputs]
        files.write_json(kept, {"scores": scores, "outputs": pairs})
    return files.read_json(kept)


def nearest(of: Recorder, others: Sequence[Recorder]) -> list[tuple[str, str]]:
    """Each take's letter, and that of the take of others with the nearest mean hand."""
    known = [(letter, shape) for other in others for letter, shape in other.shapes]
    shapes_nd = np.stack([shape for _, shape in known])
    found = []
    for letter, shape in of.shapes:
        found.append((letter, known[np.square(shapes_nd - shape).sum(axis=1).argmin()][0]))
    return found


def confusions(outputs: Sequence[Sequence[str]]) -> np.ndarray:
    """How often a letter (row) was read as another (column; the last: as none)."""
    counts = np.zeros((len(LETTERS), len(LETTERS) + 1), int)
    for letter, found in outputs:
        first = found.strip()[:1].upper()
        column = LETTERS.index(first) if first and first in LETTERS else UNREAD
        counts[LETTERS.index(letter.upper()), column] += 1
    return counts


def swapped(expert: np.ndarray, neighbour: np.ndarray) -> list[str]:
    """Letters of a recorder that expert and nearest neighbour both take for one other letter."""
    found = []
    for row, letter in enumerate(LETTERS):
        column = int(expert[row].argmax())
        shares = [counts[row, column] / max(counts[row].sum(), 1) for counts in (expert, neighbour)]
        if column not in (row, UNREAD) and min(shares) >= SWAPPED:
            found.append(f"{letter} is {LETTERS[column]}")
    return found


def draw(counts: np.ndarray, path: Path) -> None:
    """A picture of the confusions, in percent of each letter's takes."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 7.5))
    axes.imshow(100 * counts / counts.sum(axis=1, keepdims=True).clip(1), cmap="Blues")
    axes.set_xticks(range(len(LETTERS) + 1), [*LETTERS, "-"])
    axes.set_yticks(range(len(LETTERS)), LETTERS)
    axes.set_xlabel("read (-: nothing)")
    axes.set_ylabel("recorded")
    figure.savefig(path, dpi=120, bbox_inches="tight")


def summary(work: Work, runs: Mapping[str, list], given: Sequence[Recorder]) -> dict:
    """The results, headline first."""
    letters: dict[str, list[float]] = {}
    words: dict[str, list[float]] = {}
    counts: dict[str, np.ndarray] = {}
    known = {one.name: one for _, _, tested in runs.values() for one in tested}
    for name, (_, _, tested) in runs.items():
        for one in tested:
            takes = read(work.directory / name, one, "letters")
            joined = read(work.directory / name, one, "test")
            letters.setdefault(one.name, []).append(takes["scores"]["letter_accuracy"])
            words.setdefault(one.name, []).append(joined["scores"]["letter_accuracy"])
            counts[one.name] = counts.get(one.name, 0) + confusions(takes["outputs"])
    neighbours = {
        name: nearest(one, [o for o in given if o is not one]) for name, one in known.items()
    }
    draw(sum(counts.values()), work.directory / "confusions.png")
    mean = {name: round(float(np.mean(of)), 1) for name, of in letters.items()}
    by_seed = np.mean(list(letters.values()), axis=0)
    return {
        "accuracy": round(float(by_seed.mean()), 2),
        "accuracy_by_seed": by_seed.round(2).tolist(),
        "recorders": mean,
        "words_accuracy": round(float(np.mean(list(words.values()))), 2),
        "words_recorders": {name: round(float(np.mean(of)), 1) for name, of in words.items()},
        "nearest_neighbour": round(float(np.mean([_share(of) for of in neighbours.values()])), 2),
        "neighbour_recorders": {name: round(_share(of), 1) for name, of in neighbours.items()},
        "without_hand": {name: one.n_without for name, one in known.items() if one.n_without},
        "swapped": {
            name: found
            for name in known
            if (found := swapped(counts[name], confusions(neighbours[name])))
        },
    }


def _share(pairs: Sequence[tuple[str, str]]) -> float:
    return 100 * float(np.mean([a == b for a, b in pairs]))


def main() -> None:
    arguments = make_parser(__doc__, seeds=3).parse_args()
    began, work = time.monotonic(), Work(arguments.workdir)
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str((work.directory / "xla").absolute()))
    given = recorders(arguments.data, work.directory)
    tested = recorders(arguments.test, work.directory, "test_") if arguments.test else []
    for one in (*given, *tested):
        one.write_corpus()
    work.run({f"build-{one.name}": one.build for one in (*given, *tested)})
    runs = trainings(given, tested, arguments.seeds)
    work.run({name: train(work.directory / name, *run[:2]) for name, run in runs.items()})
    results = summary(work, runs, given)
    training = sum(work.training_minutes(name) for name in runs)
    minutes = {"training_minutes": training, "minutes": (time.monotonic() - began) / 60}
    work.finish(results | {name: round(value, 1) for name, value in minutes.items()})


if __name__ == "__main__":
    run_benchmark(main)
