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
    assert found == pytest.approx(wanted, rel=2e-4, abs=1e-5), WHEN.format(
        name=name, found=found, wanted=wanted
    )
