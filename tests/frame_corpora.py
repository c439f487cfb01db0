"""Corpora of frame directories as their users have them on disk, small and synthetic."""

import csv
import io
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from signbind_jax import cli, keypoints
from signbind_jax.data.clip import Clip
from signbind_jax.data.dataset import open_dataset
from signbind_jax.data_pipelines.writing.build_report import BuildReport

CHICAGO_COLUMNS = (
    "",
    "filename",
    "url",
    "start_time",
    "number_of_frames",
    "width",
    "height",
    "label_proc",
    "label_raw",
    "label_notes",
    "partition",
    "signer",
)
PHOENIX_HEADER = "name|video|start|end|speaker|orth|translation"
_WHOLEBODY = keypoints.SCHEMES["coco_wholebody_133"]
_LEFT_SHOULDER, _RIGHT_SHOULDER = 5, 6  # of COCO-WholeBody


def built(out: Path, *arguments) -> tuple[dict[str, list[Clip]], BuildReport]:
    """Clips by split of a dataset that the real command builds, and its report."""
    assert cli.main(["data", "build", *map(str, arguments), f"--out={out}"]) == 0
    info = open_dataset(out)
    report = BuildReport.from_json(info.description["report"])
    return {split: list(info.split(split)) for split in info.splits}, report


def error_of(capsys, *arguments) -> str:
    """The one line that a build which fails writes."""
    capsys.readouterr()
    assert cli.main(["data", "build", *map(str, arguments)]) == 1
    lines = capsys.readouterr().err.strip().split("\n")
    assert len(lines) == 1
    return lines[0]


def write_pose(
    path: Path, n_frames: int, fps: float = 30.0, without_hands: Sequence[int] = ()
) -> np.ndarray:
    """A pose as extraction writes it, in pixels of a frame of 640 x 360.

    Returns:
      float (t, 91, 3) the canonical pose to be read: x, y in shoulder widths.
    """
    rng = np.random.default_rng(n_frames)
    xy_tnc = rng.uniform((0, 0), (640, 360), (n_frames, 133, 2))
    xy_tnc[:, _LEFT_SHOULDER], xy_tnc[:, _RIGHT_SHOULDER] = (400, 180), (240, 180)
    scores_tn = np.ones((n_frames, 133))
    scores_tn[list(without_hands), 91:] = 0
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, keypoints=xy_tnc, scores=scores_tn, fps=fps, width=640, height=360)
    source_k = np.array(_WHOLEBODY.source_k)
    points_tkc = np.concatenate([(xy_tnc - (320, 180)) / 160, scores_tn[..., None]], -1)[
        :, source_k
    ]
    return points_tkc * (points_tkc[..., 2:] > 0)


def write_frames(directory: Path, names: Sequence[str]) -> None:
    """Images of these names, all the same."""
    directory.mkdir(parents=True)
    picture = io.BytesIO()
    Image.new("RGB", (8, 8), "gray").save(picture, "PNG" if names[0].endswith("png") else "JPEG")
    for name in names:
        (directory / name).write_bytes(picture.getvalue())


def chicago_frames(root: Path, filename: str, n_frames: int) -> None:
    """Frames `0001.jpg`, ... of a clip."""
    write_frames(root / filename, [f"{i + 1:04d}.jpg" for i in range(n_frames)])


def chicago_boxes(root: Path, filename: str, lines_of: Mapping[int, str]) -> None:
    """Box files of a clip: number of the frame -> what the file holds."""
    (root / filename).mkdir(parents=True)
    for number, lines in lines_of.items():
        (root / filename / f"{number:04d}.txt").write_text(lines)


def chicago_csv(path: Path, rows: Sequence[Mapping], columns=CHICAGO_COLUMNS, **format) -> None:
    """The CSV of ChicagoFSWild or ChicagoFSWildPlus, quoted where a value needs it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    usual = {
        "url": "https://example.org/watch?v=1",
        "start_time": "00:01:02.503000",
        "width": 640,
        "height": 360,
        "label_notes": "",
        "partition": "train",
        "signer": "tim_riker",
        "number_of_frames": 12,
    }
    with open(path, "w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, columns, extrasaction="ignore", **format)
        table.writeheader()
        for index, row in enumerate(rows):
            label = {"label_raw": row.get("label_proc", "")}
            table.writerow({"": index, **usual, **label, **row})


def phoenix(source: Path, lines: Mapping[str, Sequence[str]], header: str = PHOENIX_HEADER) -> None:
    """The three tables of PHOENIX14T: part -> its lines."""
    directory = source / "annotations" / "manual"
    directory.mkdir(parents=True, exist_ok=True)
    for part in ("train", "dev", "test"):
        text = "\n".join([header, *lines.get(part, ())]) + "\n"
        (directory / f"PHOENIX-2014-T.{part}.corpus.csv").write_text(text, encoding="utf-8")


def phoenix_line(name: str, orth: str, translation: str, signer: str = "Signer04") -> str:
    """A line of a table of PHOENIX14T."""
    return f"{name}|{name}/1/*.png|-1|-1|{signer}|{orth}|{translation}"


def phoenix_frames(directory: Path, n_frames: int) -> None:
    """Frames `images0001.png`, ... and the stray file that some directories hold."""
    write_frames(directory, [f"images{i + 1:04d}.png" for i in range(n_frames)])
    (directory / "createDnnTrainingLabels-profile.py.lprof").write_bytes(b"")


def csl(source: Path, info: Sequence, splits: str, protocol: int = 4) -> None:
    """The labels and splits of CSL-Daily."""
    directory = source / "sentence_label"
    directory.mkdir(parents=True, exist_ok=True)
    content = {"info": list(info), "gloss_map": ["你", "好"], "char_map": [], "word_map": []}
    (directory / "csl2020ct_v2.pkl").write_bytes(pickle.dumps(content, protocol))
    (directory / "split_1.txt").write_text(splits, encoding="utf-8")


def csl_entry(name: str, gloss: str, text: str, length: int = 12, signer: int = 0) -> dict:
    """An entry of `info`; tokens of `gloss` are separated by spaces."""
    return {
        "name": name,
        "length": length,
        "label_gloss": gloss.split(),
        "label_char": list(text),
        "label_word": [text],
        "label_postag": ["x"],
        "signer": signer,
        "time": 0,
    }
