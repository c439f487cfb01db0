"""Readers of corpora on disk: a small whole corpus each, and the command that builds it."""

import argparse
import json
import pickle
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from tests import frame_corpora, how2sign_files, timed_corpora
from tests.faults.fuzz.reader import Reader, command

N_FRAMES = 12
HOW2SIGN = [f"-fZc293MpJk_{i}-1-rgb_front" for i in range(3)]


def _build(corpus: str, *options: str) -> Callable[[Path, Path], int]:
    def read(tree: Path, out: Path) -> int:
        return command(
            "data",
            "build",
            corpus,
            f"--out={out}",
            "--strict",
            "--workers=1",
            *(option.format(tree=tree) for option in options),
        )

    return read


def _add_poses(tree: Path, corpus: str, *options: str, seconds: float | None = None) -> None:
    """A pose for every row, so that each file of the corpus is read."""
    from signbind_jax.data_pipelines import build

    (tree / "poses").mkdir()
    parser = argparse.ArgumentParser()
    build.add_arguments(parser)
    arguments = [corpus, "--out=x", *(option.format(tree=tree) for option in options)]
    splits = build.open_corpus(build.parse(parser, arguments)).splits
    for row in (row for rows in splits.values() for row in rows):
        path = tree / "poses" / f"{row.id}.npz"
        if seconds:
            timed_corpora.write_pose(path, seconds)
        else:
            frame_corpora.write_pose(path, N_FRAMES)


def folder(tree: Path, *rows: str) -> None:
    header = "id\tsplit\ttext\tsigner\tpose\tlips\tvideo\tgloss\tspelled\tphonemes"
    lines = [header, *(row.replace("|", "\t") for row in rows)]
    (tree / "manifest.tsv").write_text("\n".join(lines) + "\n")


def _manifest(tree: Path) -> None:
    frame_corpora.write_pose(tree / "a.npz", N_FRAMES)
    frame_corpora.write_pose(tree / "poses" / "d.npz", N_FRAMES)
    how2sign_files.video(tree / "d.mp4", 3)
    folder(
        tree,
        "a|train|Anna came.|kim|a.npz|||ANNA COME|anna|AE",
        "b|test|Two.||a.npz||||",
        "d|test|Three.||||d.mp4|||",
    )


def _npz(tree: Path) -> None:
    frame_corpora.write_pose(tree / "a.npz", N_FRAMES)
    folder(tree, "a|train|One.||a.npz")


def _pose(tree: Path) -> None:
    import numpy.ma as ma
    from pose_format import Pose
    from pose_format.numpy import NumPyPoseBody
    from pose_format.pose_header import PoseHeader, PoseHeaderDimensions
    from pose_format.utils.cocowholebody133_header import cocowholebody_components

    xy = np.random.default_rng(0).uniform(0, 300, (N_FRAMES, 1, 133, 2)).astype(np.float32)
    header = PoseHeader(0.2, PoseHeaderDimensions(300, 300, 0), cocowholebody_components())
    body = NumPyPoseBody(25.0, ma.masked_array(xy), np.ones(xy.shape[:3], np.float32))
    with open(tree / "a.pose", "wb") as file:
        Pose(header, body).write(file)
    folder(tree, "a|train|One.||a.pose")


def _extracted(tree: Path) -> None:
    frame_corpora.write_pose(tree / "whole.npz", N_FRAMES)
    with np.load(tree / "whole.npz") as pose:
        crops = np.full((N_FRAMES, 24, 24), 99, np.uint8)
        (tree / "poses").mkdir()
        np.savez(
            tree / "poses" / "a.npz",
            **pose,
            lips=crops,
            lip_fps=30.0,
            lip_state=np.ones(N_FRAMES),
            about=json.dumps({"frames": 12}),
        )
    (tree / "whole.npz").unlink()
    how2sign_files.video(tree / "a.mp4", 3)
    folder(tree, "a|train|One.||||a.mp4")


def lips(suffix: str, tree: Path) -> None:
    (tree / "mouth").mkdir()
    for i in range(3):
        Image.new("L", (24, 24), 40 * i).save(tree / "mouth" / f"{i}.{suffix}")
    folder(tree, "a|train|One.|||mouth")


def _lip_video(tree: Path) -> None:
    how2sign_files.video(tree / "m.mp4", 5)
    folder(tree, "a|train|One.|||m.mp4")


def _how2sign_lists(tree: Path) -> None:
    for i, split in enumerate(("train", "val", "test")):
        name = f"-fZc293MpJk_{i}-1-rgb_front"
        how2sign_files.realigned(
            tree / "lists" / f"how2sign_realigned_{split}.csv", (name, 0.25, 0.75, f"Sentence {i}.")
        )


def _openpose(tree: Path) -> None:
    _how2sign_lists(tree)
    for name in HOW2SIGN:
        how2sign_files.openpose(tree / "poses" / "json", name, how2sign_files.signing(4))
        how2sign_files.video(tree / "poses" / "video" / f"{name}.mp4", 3)


def _rtmpose(tree: Path) -> None:
    (tree / "lists").mkdir()
    for name, split in zip(HOW2SIGN, ("train", "dev", "test"), strict=True):
        how2sign_files.labels(tree / "lists" / f"labels.{split}", {name: "A sentence."})
        people = [[how2sign_files.person(t)] for t in range(3)]
        how2sign_files.rtmpose(tree / "poses" / f"{name}.pkl", people, packed=split == "dev")


_HOW2SIGN = _build("how2sign", "--source={tree}/lists", "--poses={tree}/poses")
_FRAMES = ("--source={tree}/source", "--poses={tree}/poses")


def _chicago(tree: Path) -> None:
    source = tree / "source"
    rows = [
        {"filename": f"aslized/clip_{i}", "label_proc": "john's a.s.l.", "partition": split}
        for i, split in enumerate(("train", "dev", "test"))
    ]
    frame_corpora.chicago_csv(source / "ChicagoFSWild.csv", rows)
    boxes = {i + 1: "10,10,100,100\n" for i in range(N_FRAMES)}
    for row in rows:
        frame_corpora.chicago_frames(source / "ChicagoFSWild-Frames", row["filename"], N_FRAMES)
        frame_corpora.chicago_boxes(source / "BBox", row["filename"], boxes)
    _add_poses(tree, "chicago_fswild", *_FRAMES)


def _phoenix(tree: Path) -> None:
    lines = {
        part: [frame_corpora.phoenix_line(f"{part}-1", "REGEN KOMMEN", "es regnet")]
        for part in ("train", "dev", "test")
    }
    frame_corpora.phoenix(tree / "source", lines)
    _add_poses(tree, "phoenix14t", *_FRAMES)


def _csl(tree: Path) -> None:
    names = {"train": "S000000_P0000_T00", "dev": "S000001_P0000_T00", "test": "S000002_P0000_T00"}
    info = [frame_corpora.csl_entry(name, "你 好", "你好。", N_FRAMES) for name in names.values()]
    splits = "".join(f"{name}|{split}\n" for split, name in names.items())
    frame_corpora.csl(tree / "source", info, f"name|split\n{splits}")
    _add_poses(tree, "csl_daily", *_FRAMES)


def _openasl(tree: Path) -> None:
    rows = [
        f"v{i}|-0Tk_x-yZ12|00:00:0{i}.000|00:00:0{i + 1}.500|Hi {i}.|hi|A|{split}"
        for i, split in enumerate(("train", "valid", "test"))
    ]
    timed_corpora.write_openasl(tree / "source" / "data" / "openasl-v1.0.tsv", *rows)
    _add_poses(tree, "openasl", *_FRAMES, seconds=1.5)


_BOBSL_OPTIONS = (
    *_FRAMES,
    "--spottings",
    "{tree}/source/mouthing.json",
    "{tree}/source/dictionary.pkl",
)


def _bobsl(tree: Path) -> None:
    source = tree / "source"
    layout = timed_corpora.BOBSL_1_2
    (source / "videos").mkdir(parents=True)
    (source / layout["splits"]).write_text(
        json.dumps({"train": ["5001"], "val": ["6001"], "public_test": ["7001"]})
    )
    for episode, kind in (("5001", "audio"), ("6001", "manual"), ("7001", "manual")):
        timed_corpora.write_vtt(
            source / layout[kind] / f"{episode}.vtt", (10.0, 12.0, "<i>It</i> stands &amp; falls.")
        )
    rows = [("5001", "tower", 13.5, 0.9, "M"), ("6001", "fall", 11.0, 0.9, "M")]
    timed_corpora.write_spottings(source / "mouthing.json", *rows)
    by_split = {"train": {"stand": {"names": ["5001"], "global_times": [14.0], "probs": [0.9]}}}
    (source / "dictionary.pkl").write_bytes(pickle.dumps(by_split, 4))
    _add_poses(tree, "bobsl", *_BOBSL_OPTIONS, seconds=2.0)


def _youtube(tree: Path) -> None:
    names = ("-0abcdefgh1", "OUDhisX6EMU")
    for name in names:
        timed_corpora.write_vtt(
            tree / "source" / "captions" / f"{name}.en.vtt", (0.5, 2.5, "Hi &gt; hello.")
        )
    (tree / "source" / "youtube_asl_video_ids.txt").write_text("\n".join(names) + "\n")
    _add_poses(tree, "youtube_asl", *_FRAMES, seconds=2.0)


def _features(tree: Path) -> None:
    import h5py

    source, video = tree / "source", "-0abcdefgh1"
    (source / "keypoints").mkdir(parents=True)
    data = {
        video: {
            "clip_order": ["0", "1"],
            "0": {"translation": "One."},
            "1": {"translation": "Two."},
        }
    }
    (source / "YT.annotation.train.json").write_text(json.dumps(data))
    (source / "keypoints" / "YT.keypoints.train.json").write_text(json.dumps({video: 0}))
    frame_corpora.write_pose(tree / "a.npz", N_FRAMES)
    with (
        np.load(tree / "a.npz") as pose,
        h5py.File(source / "keypoints" / "YT.keypoints.train.0.h5", "w") as file,
    ):
        for clip in "01":
            file[f"{video}/{clip}"] = pose["keypoints"].astype(np.float32)
    (tree / "a.npz").unlink()


def _tokens(tree: Path) -> None:
    line = {"text": "Anna came.", "gloss": ["ANNA"], "fps": 25, "n_frames": 50}
    streams = {"mouth": [["m1", 0, 4], ["m2", 4, 50, 0.5]], "hand": []}
    lines = [{"id": name, **line, "streams": streams} for name in "ab"]
    lines.append({"id": "c", "text": "x", "seconds": 2.5, "streams": {"s": [["x", 0.5, 2.5]]}})
    (tree / "source").mkdir()
    (tree / "source" / "train.jsonl").write_text("\n".join(map(json.dumps, lines)))


def _clip_list(tree: Path) -> None:
    (tree / "clips.tsv").write_text(
        "id\tvideo\tstart_s\tend_s\tfps\na/1\ta.mp4\t0.5\t2.5\t\nb\tb.mp4\t\t\t25\n"
    )


def _read_clip_list(tree: Path, out: Path) -> None:
    from signbind_jax.data_pipelines.clips import read_clip_list

    read_clip_list(tree / "clips.tsv")


def _video(tree: Path) -> None:
    how2sign_files.video(tree / "v.mp4", 8)


def _read_video(tree: Path, out: Path) -> None:
    from signbind_jax.data_pipelines.extraction.worker.video import Frames, Span

    for frame in Frames(Span(tree / "v.mp4")).frames():
        assert frame.picture.size


def _read_result(tree: Path, out: Path) -> None:
    from signbind_jax.data_pipelines.extraction.result import read_result

    read_result(tree / "poses" / "a.npz")


_FOLDER = _build("folder", "--source={tree}", "--poses={tree}/poses")
_CHICAGO_FSWILD = _build("chicago_fswild", *_FRAMES)
_PHOENIX14T = _build("phoenix14t", *_FRAMES)
_CSL_DAILY = _build("csl_daily", *_FRAMES)
_OPENASL = _build("openasl", *_FRAMES)
_BOBSL = _build("bobsl", *_BOBSL_OPTIONS)
_YOUTUBE_ASL = _build("youtube_asl", *_FRAMES)
_STREAMS = _build("streams", "--source={tree}/source")
_FEATURES = _build("youtube_asl", "--source={tree}/source", "--fps=25")
_LIP_FILES = ("mouth/*",)
_ROW = ("clip ",)  # where a table is damaged, the id that it gives a clip is a place in it
CORPORA = {
    "manifest.tsv": Reader(_manifest, _FOLDER, ("manifest.tsv",), said=("clip ",)),
    "pose": Reader(_pose, _FOLDER, ("a.pose",)),
    "pose npz": Reader(_npz, _FOLDER, ("a.npz",)),
    "extracted npz": Reader(_extracted, _FOLDER, ("poses/a.npz",)),
    "extraction result": Reader(_extracted, _read_result, ("poses/a.npz",)),
    "lips png": Reader(partial(lips, "png"), _FOLDER, _LIP_FILES),
    "lips jpeg": Reader(partial(lips, "jpg"), _FOLDER, _LIP_FILES),
    "lips video": Reader(_lip_video, _FOLDER, ("m.mp4",)),
    "video": Reader(_video, _read_video, ("v.mp4",), said=("",)),
    "clips.tsv": Reader(_clip_list, _read_clip_list, ("clips.tsv",)),
    "how2sign csv": Reader(_openpose, _HOW2SIGN, ("lists/*",), said=_ROW),
    "openpose json": Reader(_openpose, _HOW2SIGN, ("poses/json/*/*",)),
    "how2sign video": Reader(_openpose, _HOW2SIGN, ("poses/video/*",)),
    "rtmpose pickle": Reader(_rtmpose, _HOW2SIGN, ("poses/*.pkl",)),
    "labels pickle": Reader(_rtmpose, _HOW2SIGN, ("lists/*",), said=_ROW),
    "chicago csv": Reader(_chicago, _CHICAGO_FSWILD, ("source/*.csv",), said=_ROW),
    "chicago boxes": Reader(_chicago, _CHICAGO_FSWILD, ("source/BBox/*/*/*",)),
    "phoenix csv": Reader(_phoenix, _PHOENIX14T, ("source/*/*/*.csv",), said=_ROW),
    "csl pickle": Reader(_csl, _CSL_DAILY, ("source/*/*.pkl",), said=_ROW),
    "csl splits": Reader(_csl, _CSL_DAILY, ("source/*/*.txt",), said=_ROW),
    "openasl tsv": Reader(_openasl, _OPENASL, ("source/*/*.tsv",), said=_ROW),
    "bobsl splits": Reader(_bobsl, _BOBSL, ("source/subset2episode.json",), said=_ROW),
    "bobsl vtt": Reader(_bobsl, _BOBSL, ("source/subtitles/*/*.vtt",), said=_ROW),
    "spottings json": Reader(_bobsl, _BOBSL, ("source/mouthing.json",), said=_ROW),
    "spottings pickle": Reader(_bobsl, _BOBSL, ("source/dictionary.pkl",), said=_ROW),
    "youtube vtt": Reader(_youtube, _YOUTUBE_ASL, ("source/captions/*",), said=_ROW),
    "youtube ids": Reader(_youtube, _YOUTUBE_ASL, ("source/*.txt",), said=_ROW),
    "token streams": Reader(_tokens, _STREAMS, ("source/*.jsonl",), said=_ROW),
    "annotations json": Reader(_features, _FEATURES, ("source/*.json", "source/*/*.json")),
    "features h5": Reader(_features, _FEATURES, ("source/keypoints/*.h5",)),
}
