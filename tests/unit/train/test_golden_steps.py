"""The first step of every stage is what it was."""

import json

import pytest

from tests.golden import make_steps as golden

WHEN = (
    "{name}: the first step is another: found {found}, wanted {wanted}.\n"
    "Where the change is meant to train otherwise (another loss, model, default, initialisation), "
    "write these figures anew: python -m tests.golden.make_steps, and say so in the commit. "
    "Where it is not (a move, a faster program, another library's version), do not: find what "
    "differs, as every run trains differently from here on."
)
# Adam moves a parameter whose gradient is rounding error by the whole learning rate.
LOOSE = {"parameters_cosine": 0.05, "update_norm": 0.002}


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    directory = tmp_path_factory.mktemp("golden") / "data"
    golden.write_clips(directory)
    return directory


@pytest.mark.parametrize("name", golden.STAGES)
def test_the_first_step_of_a_stage_is_what_it_was(name, clips):
    wanted = json.loads(golden.FILE.read_text())[name]
    found = golden.first_step(name, clips)
    assert found["loss"] > 0 and found["gradient_norm"] > 0 and found["update_norm"] > 0
    told = WHEN.format(name=name, found=found, wanted=wanted)
    assert found.keys() == wanted.keys(), told
    for name, value in found.items():
        assert value == pytest.approx(wanted[name], rel=1e-4, abs=LOOSE.get(name, 1e-5)), told
