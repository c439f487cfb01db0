"""An expert's first run may keep to short clips, from which another goes on with all of them."""

import pytest

from signbind_jax.config import load_config
from signbind_jax.errors import SignBindError
from signbind_jax.sources import open_source
from signbind_jax.stages.sections import check_sections
from tests.audit_datasets import FPS, clean_clips, moving_pose, pose_alone, write
from tests.plans import drawn


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Three short clips among six, one of them of another frame rate, with as many frames as the
    long ones have."""
    clips = clean_clips({"train": 6})
    short = [pose_alone(clip, moving_pose(i, 40), FPS) for i, clip in enumerate(clips["train"][:2])]
    fast = pose_alone(clips["train"][2], moving_pose(2), 2 * FPS)
    clips["train"][:3] = [*short, fast]
    return write(tmp_path_factory.mktemp("long") / "data", clips)


def opened(data, **overrides):
    given = {"data.directory": str(data), "data.validation": ""} | overrides
    return open_source(load_config("signing:size=tiny", given))


def test_long_clips_are_left_out_and_their_tokens_stay(data):
    everything, short = opened(data), opened(data, **{"data.longest_s": "2"})
    assert drawn(everything) == {*range(6)} and drawn(short) == {0, 1, 2}
    assert short.vocabulary == everything.vocabulary
    assert "3 of 6 clips left out: longer than 2 s (data.longest_s)" in short.notes


@pytest.mark.parametrize(
    ("seconds", "wanted"),
    [
        ("1", "longest_s: found 1, and every clip of split train .* is longer"),
        ("-1", "longest_s: found -1"),
    ],
)
def test_what_does_not_go_is_told_in_a_line(data, seconds, wanted):
    with pytest.raises(SignBindError, match=wanted) as error:
        opened(data, **{"data.longest_s": seconds})
    assert "\n" not in str(error.value)


def test_stages_behind_the_experts_do_not_read_it():
    with pytest.raises(SignBindError, match=r"longest_s: found 2.0, wanted nothing: fusion does"):
        check_sections(load_config("fusion:size=tiny", {"data.longest_s": "2"}))
