"""From video to sentence on a speaker of the GRID corpus: word error rate of the sentences.

    python -m benchmarks.real.grid --data=grid_s1 --test=grid_unseen --workdir=runs/grid

`--data` and `--test` are folder corpora of videos (docs/use/translate_your_recordings.md). The
sentences of split `train` are learnt from, all choices are made on `dev`; of a test directory its
split `test` is scored, else its only one. What is learnt comes of videos and texts alone: no
grammar, no times of words.

    signbind extract -> data build folder -> lip expert (phonemes) -> fusion (words) -> decoder

A video that cannot be read is named, counted and left out. It takes the extra `corpora`, and what
`signbind extract` takes. `read.png` shows crops of some clips with what was read; `read.tsv` all.
"""

import csv
import json
import shutil
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice, zip_longest
from pathlib import Path
from statistics import mean, mode

import numpy as np
from PIL import Image, ImageDraw

from benchmarks.real.work import Work, make_parser, run_benchmark
from signbind_jax import files
from signbind_jax.data.dataset import open_dataset
from signbind_jax.errors import SignBindError

TRAIN, DEV, TEST = "train", "dev", "test"
LIP_SIZE = 72  # what lipreading:recorded reads
CURVE = (100, 200, 400)
STAGES = ("lipreading", "language_model", "fusion", "alignment", "translation")
STEPS = {"language_model": 150, "fusion": 800, "alignment": 100, "translation": 300}
PARENTS = {
    "fusion": ("lipreading",),
    "alignment": ("lipreading", "language_model", "fusion"),
    "translation": ("lipreading", "language_model", "alignment"),
}
# The stream is right where its expert has seen the clip: a third of the usual noise goes with what
# it gets wrong on dev (behind fusion 6.8 and 9.3 % of the words are wrong, else 7.2 and 10.7).
BEHIND = {
    "augment.drop_stream.lipreading": 0.0,  # the only stream is never hidden
    "augment.drop.lipreading": 0.012,
    "augment.substitute.lipreading": 0.035,
    "augment.drop_hidden": 0.5,
    "optim.average": 0.1,
}
PLACES = ("command", "colour", "preposition", "letter", "digit", "adverb")
SHOWN = 6  # clips of the picture


@dataclass(frozen=True)
class Chain:
    """All stages, trained one after another.

    Attributes:
      name: of its directory.
      data: name of the dataset; `train`: the split of it that is learnt from.
      frontend: what the lip expert looks at.
    """

    name: str
    data: str
    seed: int = 0
    train: str = TRAIN
    frontend: str = "lips"

    def directory(self, work: Work, stage: str) -> Path:
        """Where a stage is trained."""
        return work.directory / self.name / stage

    def training(self, work: Work, stage: str) -> list[str]:
        """The command that trains a stage."""
        arguments = f":recorded,frontend={self.frontend}" if stage == "lipreading" else ""
        command = [
            "train",
            f"--config={stage}{arguments}",
            f"--workdir={self.directory(work, stage)}",
            f"--config.data.directory={dataset(work, self.data)}",
            f"--config.data.train={self.train}",
            f"--config.data.validation={DEV}",
            f"--config.seed={self.seed}",
        ]
        if stage in STEPS:
            command += [f"--config.steps={STEPS[stage]}", "--config.evaluate_every=0"]
        for parent in PARENTS.get(stage, ()):
            command.append(f"--config.parents.{parent}={self.directory(work, parent)}")
        if stage in PARENTS:
            command += [f"--config.{path}={value}" for path, value in BEHIND.items()]
        return command

    def evaluation(self, work: Work, stage: str, data: str, split: str) -> list[str]:
        """The command that scores a stage."""
        return [
            "evaluate",
            f"--checkpoint={self.directory(work, stage)}",
            f"--data={dataset(work, data)}",
            f"--split={split}",
            f"--json={work.directory / self.name}-{stage}-{data}.json",
        ]

    def minutes(self, work: Work) -> float:
        """How long all its trainings took, each on one core."""
        return sum(work.training_minutes(f"{self.name}/{stage}") for stage in STAGES)


def main(argv: Sequence[str] | None = None) -> None:
    """Prepares, trains, scores, and prints the results as one line of JSON."""
    arguments = parse(argv)
    work = Work(arguments.workdir.resolve())
    sources = {"data": arguments.data.resolve()}
    if arguments.test:
        test = arguments.test.resolve()
        sources[f"test_{test.name}"] = test
    for name, source in sources.items():
        prepare(work, name, source)
    seeds = [Chain(f"seed{seed}", "data", seed) for seed in range(arguments.seeds)]
    more = [Chain("landmarks", "data", frontend="mouth_landmarks")] if arguments.landmarks else []
    if arguments.curve:
        build_subsets(work, sources["data"])
        more += [Chain(f"train{n}", "subsets", train=f"train{n}") for n in CURVE]
    train(work, seeds + more)
    splits = {name: DEV if name == "data" else split_of(source) for name, source in sources.items()}
    found = {name: [scores(work, chain, name, splits[name]) for chain in seeds] for name in sources}
    headline = list(sources)[-1]
    read = read_clips(work, seeds[0], headline, sources[headline], splits[headline])
    draw(work.directory / "read.png", read[:: max(1, len(read) // SHOWN)][:SHOWN])
    results = {
        "wer": round(mean(row["wer"] for row in found[headline]), 2),
        "phoneme_error_rate": round(mean(row["phoneme_error_rate"] for row in found[headline]), 2),
        "scored": f"{sources[headline].name}: {splits[headline]}, {len(read)} sentences",
        "seeds": found,
        "wrong_words": wrong_words(read),
        "left_out": {name: left_out(work, name) for name in sources},
        "odd_lengths": {name: odd_lengths(work, name) for name in sources},
    }
    if more:
        results["others"] = {chain.name: scores(work, chain, "data", DEV) for chain in more}
    work.finish(results)


def parse(argv: Sequence[str] | None) -> Namespace:
    """The command line."""
    parser = make_parser(__doc__, seeds=2)
    text = f"also trains on the first {', '.join(map(str, CURVE))} sentences, one seed"
    parser.add_argument("--curve", action="store_true", help=text)
    text = "also trains on mouth landmarks in place of crops, one seed"
    parser.add_argument("--landmarks", action="store_true", help=text)
    return parser.parse_args(argv)


def dataset(work: Work, name: str) -> Path:
    """Where a dataset is built."""
    return work.directory / f"data_{name}"


def prepare(work: Work, name: str, source: Path) -> None:
    """Extracts the videos of a corpus and builds its dataset.

    Raises:
      SignBindError: a command failed, and not because of some videos.
    """
    clips, poses = work.directory / f"clips_{name}.tsv", work.directory / "poses"
    work.run({f"clips_{name}": ["data", "clips", "folder", f"--source={source}", f"--out={clips}"]})
    try:
        work.run({f"extract_{name}": ["extract", f"--list={clips}", f"--out={poses}"]})
    except SignBindError as error:
        if "failures.tsv" not in str(error):
            raise
        print(error, flush=True)
        shutil.copy(poses / "failures.tsv", failures(work, name))
    work.run({f"build_{name}": [*build(work, name, source), f"--poses={poses}"]})


def failures(work: Work, name: str) -> Path:
    """The table of the videos that could not be read, if there are any."""
    return work.directory / f"failures_{name}.tsv"


def build(work: Work, name: str, source: Path) -> list[str]:
    """The command that builds a dataset."""
    command = ["data", "build", "folder", f"--source={source}", f"--out={dataset(work, name)}"]
    return [*command, "--every_word", f"--lip_size={LIP_SIZE}", "--overwrite"]


def rows_of(table: Path) -> list[dict[str, str]]:
    """The rows of a tab-separated table, such as a corpus's manifest."""
    with table.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def split_of(source: Path) -> str:
    """The split of a test directory that is scored.

    Raises:
      SignBindError: it has several, and none is called test.
    """
    splits = {row["split"] for row in rows_of(source / "manifest.tsv")}
    if TEST not in splits and len(splits) > 1:
        raise SignBindError(f"{source}: splits: found {', '.join(sorted(splits))}, wanted {TEST}")
    return TEST if TEST in splits else splits.pop()


def build_subsets(work: Work, source: Path) -> None:
    """Builds a dataset whose splits are some sentences of train, and dev.

    They are drawn from a fixed seed. The manifest lies beside the poses, as its files have to.
    """
    rows = [
        row
        for row in rows_of(source / "manifest.tsv")
        if (work.directory / pose_of(row["id"])).exists()
    ]
    drawn = [row for row in rows if row["split"] == TRAIN]
    np.random.default_rng(0).shuffle(drawn)
    subsets = {f"train{n}": drawn[:n] for n in CURVE}
    subsets[DEV] = [row for row in rows if row["split"] == DEV]
    lines = ["id\tsplit\ttext\ttext_language\tpose"]
    for split, members in subsets.items():
        for row in members:
            cells = (f"{split}_{row['id']}", split, row["text"], "en", pose_of(row["id"]))
            lines.append("\t".join(cells))
    files.write(work.directory / "manifest.tsv", "\n".join(lines) + "\n")
    work.run({"build_subsets": build(work, "subsets", work.directory)})


def pose_of(clip_id: str) -> str:
    """Where `prepare` puts landmarks and crops of a clip, in the work directory."""
    return f"poses/{clip_id}.npz"


def train(work: Work, chains: Sequence[Chain]) -> None:
    """Trains all stages of all chains; experts and decoders do not wait for each other."""
    for stages in (STAGES[:2], *((stage,) for stage in STAGES[2:])):
        todo = [(chain, stage) for stage in stages for chain in chains]
        work.run({f"{c.name}-{stage}": c.training(work, stage) for c, stage in todo})


def scores(work: Work, chain: Chain, data: str, split: str) -> dict[str, float]:
    """Error rates in percent of a chain: its sentences, what fusion and the expert read; and its
    minutes."""
    metrics = {"translation": "word_error_rate", "fusion": "token_error_rate"}
    metrics["lipreading"] = "phoneme_error_rate"
    names = {stage: f"{chain.name}-{stage}-{data}" for stage in metrics}
    work.run({names[stage]: chain.evaluation(work, stage, data, split) for stage in metrics})
    found = {stage: work.scores(name) for stage, name in names.items()}
    found["translation"] = found["translation"]["all"]
    rates = {metric: round(found[stage][metric], 2) for stage, metric in metrics.items()}
    return {"wer": rates.pop("word_error_rate"), **rates, "minutes": round(chain.minutes(work), 1)}


@dataclass(frozen=True)
class Read:
    """What was read of a clip, and in which file."""

    text: str
    phonemes: str
    sentence: str
    file: Path


def read_clips(work: Work, chain: Chain, data: str, source: Path, split: str) -> list[Read]:
    """What `signbind translate` says of the clips of a split; also written to `read.tsv`."""
    texts = {
        work.directory / pose_of(row["id"]): row["text"]
        for row in rows_of(source / "manifest.tsv")
        if row["split"] == split
    }
    there = [path for path in texts if path.exists()]
    name = f"{chain.name}-read-{data}"
    command = ["translate", f"--checkpoint={chain.directory(work, 'translation')}", "--format=json"]
    work.run({name: [*command, *map(str, there)]})
    lines = (work.directory / "logs" / f"{name}.log").read_text(encoding="utf-8").splitlines()
    read = []
    for line in lines:
        if line.startswith("{"):
            record = json.loads(line)
            path = Path(record["clip"])
            phonemes = " ".join(token["token"] for token in record["streams"]["lipreading"])
            read.append(Read(texts[path], phonemes, record["sentence"], path))
    table = ["\t".join((r.file.stem, r.text, r.sentence, r.phonemes)) for r in read]
    files.write(work.directory / "read.tsv", "\n".join(["id\ttext\tsentence\tphonemes", *table]))
    return read


def wrong_words(read: Sequence[Read]) -> dict[str, int]:
    """Words that are not those of the text, by their place in GRID's six-word sentences."""
    wrong = dict.fromkeys(PLACES, 0)
    for clip in read:
        pairs = zip_longest(clip.text.split(), clip.sentence.split())
        for place, (word, written) in zip(PLACES, islice(pairs, len(PLACES)), strict=False):
            wrong[place] += word != written
    return wrong


def left_out(work: Work, name: str) -> dict[str, str]:
    """The clips that are not in a dataset -> why."""
    report = files.read_json(dataset(work, name) / "dataset.json")["report"]
    found = {clip: reason for reason, ids in report["left_out"].items() for clip in ids}
    if (table := failures(work, name)).exists():
        found |= {row["id"]: row["reason"] for row in rows_of(table) if row["id"] in found}
    return found


def odd_lengths(work: Work, name: str) -> dict[str, int]:
    """The clips of a dataset that have fewer or more crops than most -> how many."""
    lengths: dict[str, int] = {}
    for split in (info := open_dataset(dataset(work, name))).splits:
        clips = info.split(split)
        lengths |= dict(zip(clips.ids, clips.lengths("lips").tolist(), strict=True))
    usual = mode(lengths.values())
    return {clip: n for clip, n in lengths.items() if n != usual}


def draw(path: Path, read: Sequence[Read]) -> None:
    """A picture of mouth crops with what was said, the phonemes read and the sentence written."""
    strips = []
    for clip in read:
        crops = files.read_arrays(clip.file, ("lips",))["lips"]
        strip = np.concatenate(list(crops[:: max(1, len(crops) // 12)][:12]), axis=1)
        strips.append(Image.fromarray(strip))
    width, text = max(strip.width for strip in strips), 40
    picture = Image.new("L", (width, sum(strip.height + text for strip in strips)), 255)
    pen, y = ImageDraw.Draw(picture), 0
    for strip, clip in zip(strips, read, strict=True):
        picture.paste(strip, (0, y))
        y += strip.height
        said = f"said: {clip.text}    written: {clip.sentence}\nread: {clip.phonemes}"
        pen.multiline_text((4, y + 4), said, fill=0)
        y += text
    picture.save(path)


if __name__ == "__main__":
    run_benchmark(main)
