"""Corpora of sentences in long videos as their users have them on disk, small and synthetic."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from signbind_jax import cli, keypoints
from signbind_jax.data.clip import Clip
from signbind_jax.data.dataset import DatasetInfo, open_dataset
from signbind_jax.data_pipelines.writing.build_report import BuildReport

EPISODES = {
    "train": ["5085344787448740525", "5087953980081062580", "5111"],
    "val": ["6001"],
    "public_test": ["7001", "7002"],
}
BOBSL_1_2 = {
    "splits": "subset2episode.json",
    "audio": "subtitles/audio-aligned-heuristic-correction",
    "manual": "subtitles/manually-aligned",
    "videos": "videos",
}
BOBSL_1_4 = {
    "splits": "original_data/metadata/subset2episode.json",
    "audio": "automatic_annotations/signing_aligned_subtitles/audio_aligned_heuristic_correction",
    "manual": "manual_annotations/signing_aligned_subtitles",
    "videos": "original_data/videos/mp4",
}
OPENASL_HEADER = "vid yid start end raw-text tokenized-text gloss split"
_WHOLEBODY = keypoints.SCHEMES["coco_wholebody_133"]


def build(out: Path, *arguments) -> tuple[dict[str, list[Clip]], BuildReport, DatasetInfo]:
    """Clips by split of a dataset that the real command builds, its report and description."""
    assert cli.main(["data", "build", *map(str, arguments), f"--out={out}", "--workers=1"]) == 0
    info = open_dataset(out)
    report = BuildReport.from_json(info.description["report"])
    return {split: list(info.split(split)) for split in info.splits}, report, info


def error_of(capsys, tmp_path: Path, *arguments) -> str:
    """The one line that a build which fails writes; it leaves no dataset."""
    capsys.readouterr()
    out = tmp_path / "none"
    assert cli.main(["data", "build", *map(str, arguments), f"--out={out}", "--workers=1"]) == 1
    lines = capsys.readouterr().err.strip().split("\n")
    assert len(lines) == 1 and not out.exists()
    return lines[0]


def write_pose(path: Path, seconds: float, fps: float = 25.0) -> np.ndarray:
    """A pose as extraction writes it: a signer with shoulders 160 pixels apart.

    Returns:
      float (t, 91, 3) the canonical pose to be read: x, y in shoulder widths.
    """
    n_frames = round(seconds * fps)
    xy_tnc = np.random.default_rng(n_frames).uniform((0, 0), (444, 444), (n_frames, 133, 2))
    xy_tnc[:, 5], xy_tnc[:, 6] = (300, 180), (140, 180)
    scores_tn = np.ones((n_frames, 133))
    scores_tn[0, 91:112] = 0
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, keypoints=xy_tnc, scores=scores_tn, fps=fps, width=444, height=444)
    points_tnc = np.concatenate([(xy_tnc - (220, 180)) / 160, scores_tn[..., None]], -1)
    points_tkc = points_tnc[:, np.array(_WHOLEBODY.source_k)]
    return points_tkc * (points_tkc[..., 2:] > 0)


def assert_is(clip: Clip, pose_tkc: np.ndarray, fps: float = 25.0, **fields) -> None:
    """Compares every field of a clip with a pose alone; those not named are empty."""
    assert dataclasses.replace(clip, modalities={}) == Clip(**fields)
    (pose,) = clip.modalities.values()
    assert (pose.fps, pose.n) == (fps, len(pose_tkc))
    np.testing.assert_allclose(clip.modalities["pose"].data, pose_tkc, atol=2e-3)


def vtt_time(seconds: float) -> str:
    """hh:mm:ss.mmm"""
    ms = round(seconds * 1000)
    return f"{ms // 3_600_000:02d}:{ms // 60_000 % 60:02d}:{ms // 1000 % 60:02d}.{ms % 1000:03d}"


def write_vtt(
    path: Path,
    *cues: tuple[float, float, str] | str,
    head: str = "WEBVTT",
    line_end: str = "\n",
    encoding: str = "utf-8",
) -> None:
    """Subtitles of (start s, end s, text), or of blocks as they stand."""
    blocks = [head]
    for cue in cues:
        if not isinstance(cue, str):
            start, end, text = cue
            cue = f"{vtt_time(start)} --> {vtt_time(end)}\n{text}"
        blocks.append(cue)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(("\n\n".join(blocks) + "\n").replace("\n", line_end).encode(encoding))


def write_release(root: Path, layout: Mapping[str, str] = BOBSL_1_2) -> None:
    """A BOBSL release with the oddities of subtitle files; see `test_bobsl.py`.

    The third episode of `train` and the second of `public_test` have no subtitles.
    """
    lists = root / layout["splits"]
    lists.parent.mkdir(parents=True, exist_ok=True)
    lists.write_text(json.dumps(EPISODES), encoding="utf-8")
    audio, manual = root / layout["audio"], root / layout["manual"]
    (root / layout["videos"]).mkdir(parents=True)
    first, second, _ = EPISODES["train"]
    write_vtt(
        audio / f"{first}.vtt",
        "NOTE made for a test",
        "1\n00:01.000 --> 00:03.500 align:start position:0%\n"
        "<c.yellow>This is</c> the <i>tower</i>\n&amp; a caf\u00e9.",
        (3.0, 5.0, "It stands <b>in Paris</b>."),  # overlaps the one before
        (5.0, 5.0, "No time."),
        (6.0, 5.5, "Ends early."),
        (7.0, 7.9, "Too short."),
        (8.0, 28.5, "Too long."),
        (30.0, 33.0, "[APPLAUSE]"),
        (34.0, 36.0, "\u266a"),
        (37.0, 39.0, "Twice."),
        (37.0, 39.0, "Twice."),
        (40.0, 42.0, "One."),
        (40.0, 42.0, "Other."),
        "00:00:43,000 --> 00:00:45,000\nA comma in the time.",
        head="\ufeffWEBVTT - a title\nKind: captions",
        line_end="\r\n",
    )
    write_vtt(audio / second / "signhd.vtt", (3599.0, 3603.0, "Over the hour."))
    write_vtt(manual / "6001.vtt", (10.0, 10.5, "Short is kept."), (12.0, 14.0, "[MUSIC] Hello!"))
    write_vtt(
        manual / "7001" / "signhd.vtt", (1.0, 31.0, "Long is kept."), (32.0, 33.0, "[NOT-SIGNED]")
    )


def write_spottings(
    path: Path, *rows: tuple[str, str, float, float, str], without: Sequence[str] = ()
) -> dict[str, list]:
    """Parallel lists of (episode, word, time s, probability, type) as JSON."""
    names = ("episode_name", "annot_word", "annot_time", "annot_prob", "annot_type")
    lists = {name: list(column) for name, column in zip(names, zip(*rows)) if name not in without}
    path.write_text(json.dumps(lists), encoding="utf-8")
    return lists


def write_openasl(path: Path, *rows: str, header: str = OPENASL_HEADER, lead: str = "") -> None:
    """The table, fields separated by "|"; `lead` stands before it."""
    lines = [header.replace(" ", "\t"), *(row.replace("|", "\t") for row in rows)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes((lead + "\n".join(lines) + "\n").encode())
