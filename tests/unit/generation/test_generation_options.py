"""Settings of generation on their way: from config and command line to the sentence."""

import argparse
import functools
import json

import pytest

from signbind_jax import cli
from signbind_jax.checkpoint import artefact
from signbind_jax.config import load_config
from signbind_jax.data.clip_list import ClipList
from signbind_jax.data.dataset import open_dataset
from signbind_jax.data_pipelines.readers.clip_file import Kind, read_clip_file
from signbind_jax.errors import SignBindError
from signbind_jax.evaluate import command as evaluate
from signbind_jax.evaluate.evaluators import LanguageModelEvaluator
from signbind_jax.generation import sentences
from signbind_jax.generation.config import GenerationConfig, given, overridden, read_options
from signbind_jax.stages.translation import TranslationOptions
from signbind_jax.use import translate
from signbind_jax.use.translator import Translator

# option -> (one setting of it, another, what both are beside)
MATTERS = {
    "beam_size": ("--beam_size=1", "--beam_size=4", []),
    "max_new_tokens": ("--max_new_tokens=2", "--max_new_tokens=6", []),
    "length_penalty": ("--length_penalty=-5", "--length_penalty=5", ["--beam_size=4"]),
    "early_stopping": (
        "--early_stopping=True",
        "--early_stopping=never",
        ["--beam_size=4", "--length_penalty=5"],
    ),
    "temperature": ("--temperature=0.1", "--temperature=5", []),
    "top_k": ("--top_k=1", "--top_k=0", ["--temperature=5"]),
    "top_p": ("--top_p=0", "--top_p=1", ["--temperature=5"]),
    "seed": ("--seed=1", "--seed=2", ["--temperature=5"]),
    "do_sample": ("--do_sample=False", "--do_sample=True", []),
}


@pytest.fixture(scope="module")
def tree(runs):
    return runs


@pytest.fixture(scope="module")
def said(tree):
    """Options of `signbind evaluate` -> the sentences that its scores are made from."""
    run = artefact.open_artefact(tree / "language_model")
    clips = open_dataset(tree / "data").split("test")

    @functools.cache
    def write(*options: str) -> list[str]:
        settings = given(parsed(evaluate, "--max_new_tokens=6", *options))
        config = overridden(GenerationConfig(), settings)
        found = LanguageModelEvaluator(run.load_params, run.tokenizer, config).run(clips)
        return [output.hypothesis for output in found.outputs]

    return write


def parsed(command, *options: str):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    required = ["--checkpoint=run"] + ["--data=data"] * (command is evaluate)
    return parser.parse_args([*required, *options])


@pytest.mark.parametrize("option", MATTERS)
def test_every_option_reaches_the_decoder(said, option):
    one, other, beside = MATTERS[option]
    assert said(one, *beside) != said(other, *beside)


@pytest.mark.parametrize("option", ["--top_k=1", "--top_p=0", "--temperature=1e-4"])
def test_a_draw_from_one_token_is_greedy(said, option):
    assert said(option, "--seed=3") == said()


def test_a_seed_repeats_the_sentences_whatever_batch_they_fall_into(tree, said, monkeypatch):
    drawn = said("--temperature=5", "--seed=1")
    monkeypatch.setattr(sentences, "PREFIX_POSITIONS", 4)  # a clip a batch
    said.cache_clear()
    assert said("--temperature=5", "--seed=1") == drawn


def test_translate_writes_with_the_settings_it_is_given(tree):
    clips = ClipList([read_clip_file(tree / "a.npz", Kind.LANDMARKS, None).clip])
    streams = Translator(tree / "alignment").read(clips)
    settings = [
        given(parsed(translate, "--temperature=5", "--max_new_tokens=3", seed, "a.npz"))
        for seed in ("--seed=1", "--seed=2", "--seed=1")
    ]
    one, other, again = (Translator(tree / "alignment", s).write(streams) for s in settings)
    assert one == again != other


def test_translate_says_what_a_sentence_was_written_with(tree, capsys):
    options = ["--beam_size=2", "--max_new_tokens=3", "--length_penalty=0.6", "--format=json"]
    assert (
        cli.main(["translate", f"--checkpoint={tree / 'alignment'}", *options, str(tree / "a.npz")])
        == 0
    )
    record = json.loads(capsys.readouterr().out)
    expected = GenerationConfig(max_new_tokens=3, beam_size=2, length_penalty=0.6)
    assert GenerationConfig(**record["generation"]) == expected


def test_evaluate_says_what_its_scores_were_made_with(tree, capsys, tmp_path):
    place = [f"--checkpoint={tree / 'language_model'}", f"--data={tree / 'data'}"]
    out = tmp_path / "scores.json"
    options = ["--max_new_tokens=3", "--temperature=0.5", "--seed=7"]
    assert cli.main(["evaluate", *place, *options, f"--json={out}"]) == 0
    line = "do_sample=True temperature=0.5 top_k=50 top_p=1.0 seed=7 max_new_tokens=3"
    assert f"  generation: {line}\n" in capsys.readouterr().out
    found = json.loads(out.read_text())["generation"]
    assert GenerationConfig(**found) == GenerationConfig(
        max_new_tokens=3, do_sample=True, temperature=0.5, seed=7
    )


def test_a_stage_that_writes_no_sentences_refuses_the_options(tree, capsys):
    place = [f"--checkpoint={tree / 'signing'}", f"--data={tree / 'data'}"]
    assert cli.main(["evaluate", *place, "--beam_size=2"]) == 1
    line = "generation.beam_size: found it for signing, which writes no sentences"
    assert line in capsys.readouterr().err


@pytest.mark.parametrize("command", [evaluate, translate])
@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--beam_size=0", "found '0', wanted a whole number, at least 1"),
        ("--beam_size=two", "found 'two', wanted a whole number"),
        ("--length_penalty=nan", "found 'nan', wanted a number"),
        ("--early_stopping=maybe", "found 'maybe', wanted one of False, True, 'never'"),
        ("--do_sample=2", "found '2', wanted True or False"),
        ("--temperature=0", "found '0', wanted a number, at least 0.0001"),
        ("--top_k=-1", "found '-1', wanted a whole number, at least 0"),
        ("--top_p=1.5", "found '1.5', wanted a number, at least 0 and at most 1"),
        ("--max_new_tokens=0", "found '0', wanted a whole number, at least 1"),
        ("--seed=-1", "found '-1', wanted a whole number, at least 0"),
    ],
)
def test_a_bad_value_is_bad_usage(command, option, said, capsys):
    with pytest.raises(SystemExit) as ended:
        parsed(command, option, *["a.npz"] * (command is translate))
    assert ended.value.code == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert f"argument {option.partition('=')[0]}: {said}" in last


def test_what_the_command_line_leaves_out_is_as_the_run_has_it():
    own = GenerationConfig(beam_size=4, length_penalty=0.6, early_stopping="never")
    once = GenerationConfig(no_repeat_ngram_size=3)
    assert overridden(once, {"no_repeat_ngram_size": 0}) == GenerationConfig()
    assert overridden(own, {}) == own
    assert overridden(own, given(parsed(evaluate, "--early_stopping=true"))) == GenerationConfig(
        beam_size=4, length_penalty=0.6, early_stopping=True
    )
    drawn = GenerationConfig(do_sample=True, top_k=5, seed=3)
    assert overridden(drawn, {"do_sample": False, "beam_size": 2}).beam_size == 2
    assert overridden(drawn, {"temperature": 0.5}) == GenerationConfig(
        do_sample=True, top_k=5, seed=3, temperature=0.5
    )


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"beam_size": 2, "top_k": 3}, "generation.beam_size: found 2, wanted 1 where tokens"),
        ({"top_k": 3, "do_sample": False}, "generation.top_k: found 3, wanted 50, or do_sample"),
        ({"seed": 3}, "generation.seed: found 3, which decides nothing without do_sample=True"),
        ({"length_penalty": 2.0}, "generation.length_penalty: .* nothing without beam_size above"),
        ({"early_stopping": True, "top_p": 0.5}, "generation.early_stopping: found True"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(settings, said):
    with pytest.raises(SignBindError, match=said):
        overridden(GenerationConfig(), settings)


def test_a_config_may_say_how_sentences_are_written():
    path = {"options.generation.beam_size": "4", "options.generation.early_stopping": "never"}
    config = load_config("translation:size=tiny", path)
    options = read_options(TranslationOptions, config.options)
    assert options.generation == GenerationConfig(beam_size=4, early_stopping="never")


def test_options_of_older_runs_stay_readable_and_theirs_alone():
    older = {"beam_size": 4, "max_new_tokens": 12, "ctc_weight": 0.5}
    options = read_options(TranslationOptions, older)
    assert options.generation == GenerationConfig(beam_size=4, max_new_tokens=12)
    assert options.ctc_weight == 0.5
    with pytest.raises(SignBindError, match="config.options.beam_size: found 4 beside generation"):
        read_options(TranslationOptions, older | {"generation": {"beam_size": 2}})
