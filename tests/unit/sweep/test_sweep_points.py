"""Sweep configs: which points they give, and what is wrong is told before anything runs."""

import argparse
import shlex
import subprocess
import sys

import pytest

from signbind_jax.cli import main
from signbind_jax.config import load_config
from signbind_jax.errors import SignBindError
from signbind_jax.sweep.points import known_sweeps, load_sweep
from signbind_jax.train.command import add_arguments, parse
from tests.conftest import ROOT
from tests.sweeps import sweep_file


def points(tmp_path, grid: str, *settings: str, **overrides: str):
    return load_sweep(str(sweep_file(tmp_path / "s.py", grid, *settings)), overrides).points


def test_product_zip_and_chain_reach_the_configs(tmp_path):
    made = points(
        tmp_path,
        "h.chain([h.product([h.zip([h.sweep('data.frames_per_batch', [512, 1024]),"
        " h.sweep('steps', [40, 20])]), h.seeds(2, first=5)]),"
        " h.points([{'optim.learning_rate': 1, 'augment.speed': 0.0}])])",
    )
    seen = [(p.config.data.frames_per_batch, p.config.steps, p.config.seed) for p in made]
    assert seen[:4] == [(512, 40, 5), (512, 40, 6), (1024, 20, 5), (1024, 20, 6)]
    assert made[4].config.optim.learning_rate == 1.0 and made[4].config.augment["speed"] == 0.0
    assert made[4].config.steps == 20 and made[4].config.seed == 0
    assert [p.index for p in made] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("grid", "words"),
    [
        ("h.sweep('optim.learning_rat', [1e-3])", ["point 0", "'learning_rate'"]),
        ("h.sweep('model.dropot', [0.1])", ["config.model.dropot", "'dropout'"]),
        ("h.sweep('optimizer.b1', [0.9])", ["'optimizer'", "'optim'"]),
        ("h.sweep('steps', [10, 2.5])", ["point 1", "config.steps", "2.5", "a whole number"]),
        ("h.sweep('model.d_model', ['64'])", ["config.model.d_model", "'64'", "a whole number"]),
        ("h.sweep('augment.mirror', ['often'])", ["mirror", "'often'", "a number"]),
        ("h.sweep('model.conv_kernel', [9, 4])", ["point 1", "conv_kernel", "4", "odd"]),
        ("h.sweep('model.n_tokens', [9])", ["config.model.n_tokens", "data and parents decide"]),
        ("h.sweep('options.beam_size', [4])", ["beam_size", "signing does not read it"]),
        ("h.sweep('seed', [float('nan')])", ["seed", "nan", "finite"]),
        ("h.sweep('seed', 'abc')", ["'abc'", "a list of values"]),
        ("h.sweep('seed', [])", ["empty list"]),
        ("h.zip([h.seeds(2), h.sweep('steps', [1, 2, 3])])", ["seed, steps", "2 and 3", "same"]),
        ("h.product([h.seeds(2), h.seeds(3)])", ["found seed in two"]),
        ("h.chain([h.seeds(2), h.seeds(1)])", ["points 0 and 2 are the same"]),
        ("h.sweep('stage', ['signing', 'lipreading'])", ["point 1", "config.stage", "one stage"]),
        ("{'seed': 1}", ["found dict", "h.product"]),
        ("[]", ["found 0 points"]),
        ("h.sweep('seed', __import__('itertools').count())", ["'seed'", "more than 10,000"]),
        ("h.product([h.seeds(500)] * 9)", ["product", "at most 10,000"]),
        ("h.seeds(0)", ["seeds.n: found 0", "at least 1"]),
        ("h.seeds('3')", ["seeds.n: found '3'", "a whole number"]),
        ("h.seeds(2, first=-1)", ["seeds.first: found -1"]),
        ("h.sweep('seed', [10**5000])", ["seed: found a value of type int", "finite"]),
        ("h.points([{5: 1}])", ["found list", "h.product"]),
        ("h.sweep('optim.b2', [2])", ["point 0", "config.optim.b2: found 2.0", "below 1"]),
        ("{}['steps']", ["s.py:10: KeyError: 'steps'"]),
        ("h.swep('seed', [1])", ["s.py:10: AttributeError"]),
    ],
)
def test_what_is_wrong_is_named_in_one_line(tmp_path, grid, words):
    with pytest.raises(SignBindError) as caught:
        points(tmp_path, grid)
    assert "\n" not in str(caught.value) and "s.py" in str(caught.value)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_an_override_of_what_the_sweep_varies_is_an_error(tmp_path):
    with pytest.raises(SignBindError, match="--config.seed: found '3'.*sets it itself"):
        points(tmp_path, "h.seeds(2)", seed="3")


@pytest.mark.parametrize(
    ("config", "near"),
    [("sweeps/signing_learning_rat", "did you mean"), ("signing", "no get_hyper")],
)
def test_what_is_no_sweep_is_told_with_those_there_are(config, near, tmp_path, capsys):
    assert main(["sweep", f"--config={config}", f"--workdir={tmp_path}"]) == 1
    error = capsys.readouterr().err
    assert near in error and "sweeps/signing_learning_rate" in error and error.count("\n") == 1


@pytest.mark.parametrize("name", known_sweeps())
def test_shipped_sweeps_hold_what_they_say(name):
    sweep = load_sweep(name, {"data.directory": "d"})
    assert len(sweep.points) >= 12 and "seed" in sweep.varying


@pytest.mark.parametrize("expert", ["signing", "fingerspelling", "lipreading"])
def test_the_sweep_for_a_new_corpus_fits_every_expert(expert):
    sweep = load_sweep(f"sweeps/expert_on_new_corpus:expert={expert}", {})
    assert sweep.stage == expert and len(sweep.points) == 24


HARD = [
    "a b",
    "../../up",
    "$(touch owned)",
    'it\'s "so"',
    "x\ny",
    "1",
    "False",
    "-",
    "",
    "None",
    "Ärger",
    "A",
    "a",
    "p" * 300,
]


def test_any_text_reaches_the_command_and_makes_a_safe_name(tmp_path, capsys):
    config = sweep_file(tmp_path / "s.py", f"h.sweep('data.train', {HARD!r})")
    names = [p.name for p in load_sweep(str(config), {}).points]
    assert len({name.lower() for name in names}) == len(HARD)
    for name in names:
        assert len(name) < 200 and set("/ \n$'\"()") & set(name) == set() and name[0] != "."
    assert (
        main(["sweep", f"--config={config}", f"--workdir={tmp_path / 'w'}", "--print_commands"])
        == 0
    )
    printed = capsys.readouterr().out
    lines = printed.split("\tsignbind ")[1:]
    assert len(lines) == len(HARD)
    for text, name, line in zip(HARD, names, lines, strict=True):
        words = shlex.split("signbind " + line.rpartition("\n")[0])
        assert words[:2] == ["signbind", "train"]
        parser = argparse.ArgumentParser()
        add_arguments(parser)
        arguments = parse(parser, words[2:])
        assert arguments.workdir == tmp_path / "w" / name
        assert load_config(arguments.config, arguments.overrides).data.train == text


def test_numbers_and_lists_survive_the_command_line(tmp_path):
    made = points(
        tmp_path,
        "h.product([h.sweep('model.parts', [('body',), ['left_hand', 'right_hand']]),"
        " h.sweep('optim.learning_rate', __import__('numpy').logspace(-4, -3, 2)),"
        " h.sweep('model.remat', [True])])",
    )
    assert [p.config.model["parts"] for p in made][::2] == [("body",), ("left_hand", "right_hand")]
    assert [p.config.optim.learning_rate for p in made[:2]] == [1e-4, 1e-3]
    assert all(p.config.model["remat"] is True for p in made)
    assert "remat" not in made[0].name


def test_names_do_not_depend_on_other_values(tmp_path):
    few = points(tmp_path, "h.sweep('optim.learning_rate', [1e-3, 2e-3])")
    more = points(tmp_path, "h.sweep('optim.learning_rate', [5e-4, 1e-3, 2e-3])")
    assert {p.name for p in few} < {p.name for p in more}


def test_equal_last_words_are_told_apart(tmp_path):
    made = points(
        tmp_path,
        "h.points([{'parents.signing': 'a', 'data.validation': 'x'},"
        " {'parents.signing': 'b', 'data.validation': 'y'}])",
    )
    assert made[0].name == "signing=a_validation=x"


def test_accelerators_are_left_to_the_points(tmp_path):
    program = (
        "import jax\n"
        "from signbind_jax.cli import main\n"
        f"main(['sweep', '--config=sweeps/signing_learning_rate', '--workdir={tmp_path}',\n"
        "      '--dry_run'])\n"
        "jax.config.update('jax_num_cpu_devices', 3)  # refused once there are devices\n"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, timeout=300)
