"""The lip expert learns one recorded talking mouth from its 75 images: memorising."""

import json

import pytest

from tests.recorded.in_process import command


@pytest.fixture(scope="module")
def built(recorded, tmp_path_factory):
    data = tmp_path_factory.mktemp("grid") / "data"
    printed = command(
        "data", "build", "folder", f"--source={recorded / 'grid'}", f"--out={data}", "--lip_size=32"
    )
    return data, printed


def test_rows_that_are_only_a_video_are_reported(built):
    data, printed = built
    assert "train: 1 clips written" in printed
    left_out = json.loads((data / "dataset.json").read_text())["report"]["left_out"]
    ((reason, ids),) = left_out.items()
    assert "only a video" in reason and "signbind extract" in reason
    assert len(ids) == 6


def test_the_lip_expert_learns_the_clip_from_its_mouth_images(built):
    data, _ = built
    run, file = data.parent / "lipreading", data.parent / "scores.json"
    command(
        "train",
        "--config=lipreading:size=few,frontend=lips",
        f"--workdir={run}",
        f"--config.data.directory={data}",
        "--config.data.frames_per_batch=80",
    )
    command("evaluate", f"--checkpoint={run}", f"--data={data}", "--split=train", f"--json={file}")
    scores = json.loads(file.read_text())["scores"]
    assert scores["reference_tokens"] == 14  # B IH N | B L UW | AE T | EH F | T UW | N AW
    assert scores["phoneme_error_rate"] <= 5, scores
