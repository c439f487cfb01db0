"""Spelled words found by what an expert read of them, scored against the truth; runs on them."""

import dataclasses
import json

import numpy as np
import pytest

from signbind_jax import cli
from signbind_jax.checkpoint.artefact import make_manifest
from signbind_jax.config import load_config
from signbind_jax.data.clip import TimedToken
from signbind_jax.data.data_config import DataConfig
from signbind_jax.data.dataset import open_dataset
from signbind_jax.data.mixture import open_data
from signbind_jax.data.spellings import Spellings, read_spellings, write_spellings
from signbind_jax.data_pipelines import spelling_discovery as discovery
from signbind_jax.data_pipelines.readers.token_streams import write_clips
from signbind_jax.data_pipelines.spelling_discovery import DiscoveryConfig
from signbind_jax.data_pipelines.synthetic.hard.corpus import LABELS, Performance
from signbind_jax.data_pipelines.synthetic.misread import LETTERS, misread
from signbind_jax.errors import SignBindError
from signbind_jax.sources import open_source
from signbind_jax.stages import make_stage

ERRORS = 0.2


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A dataset of sentences whose spelled words nobody tells, what an expert read of them, one
    letter in five wrong, and the truth."""
    tree = tmp_path_factory.mktemp("spelled")
    truth = [Performance.of(0, "main", i).truth() for i in range(200)]
    untold = dict.fromkeys(LABELS, ())
    often = dict.fromkeys(LETTERS, 1)
    read = [
        dataclasses.replace(
            clip, **untold, streams={"fingerspelling": misread(clip, ERRORS, 0.3, often)}
        )
        for clip in truth
    ]
    write_clips(tree / "read.jsonl.gz", read, "train")
    write_clips(tree / "truth.jsonl.gz", truth, "train")
    out = tree / "data"
    source = f"--source={tree / 'read.jsonl.gz'}"
    assert cli.main(["data", "build", "streams", source, f"--out={out}", "--workers=1"]) == 0
    return tree


def find(tree, *options):
    out = tree / "spellings.json"
    given = [str(tree / "data"), f"--streams={tree / 'read.jsonl.gz'}", f"--out={out}"]
    return cli.main(["data", "spellings", *given, *options]), out


def test_words_are_found_by_misread_letters_and_scored(tree, capsys):
    counts_file = tree / "counts.json"
    code, out = find(tree, f"--truth={tree / 'truth.jsonl.gz'}", f"--json={counts_file}")
    assert code == 0
    counts = json.loads(counts_file.read_text())
    assert counts["precision"] >= 85 and counts["recall"] >= 60
    assert "precision" in capsys.readouterr().out
    found = read_spellings(out)
    assert sum(map(len, found.spelled.values())) == counts["spelled words"]
    (clip, words), *_ = found.spelled.items()
    data = open_data(DataConfig(directory=str(tree / "data"), spellings=str(out)))
    train = data.split("train")
    told = train.labels[train.ids.index(clip)]
    assert told.spelled == tuple(word.token for word in words)
    assert all(0 <= word.start <= word.end <= told.seconds for word in words)
    # What is read follows the words: letters for the expert, and for fusion.
    targets = train.targets[train.ids.index(clip)]
    assert "".join(targets["letters"]) == "".join(told.spelled)
    assert "fs-" in targets["fusion_targets"]
    assert data.digest != open_dataset(tree / "data").digest
    assert train.digest == open_dataset(tree / "data").split("train").digest


def test_a_run_is_the_nearest_word_of_its_sentence_or_none():
    config = DiscoveryConfig(min_letters=3)
    texts = ["We met Anna’s friend in New York.", "Ann and Anne saw it.", "The cat sat."] * 40
    sentences = [discovery.candidates_of(text, config) for text in texts]
    letters = [(0, "ana"), (0, "newyrk"), (1, "ann"), (1, "anx"), (2, "zzzz")]
    runs = [discovery.Run(clip, word, 0.0, 1.0, 1.0) for clip, word in letters]
    found = [m and m.words for m in discovery.matches_of(runs, sentences, config)]
    assert found[:3] == [("anna",), ("new", "york"), ("ann",)]
    # As far from "ann" as from "and", from "the" as from "cat".
    assert found[3:] == [None, None]


def test_a_pause_that_two_missed_letters_do_not_explain_parts_two_words():
    letters = [TimedToken(x, at, at + 0.05) for x, at in zip("anabobi", (0, 1, 4, 8, 9, 10, 11))]
    quick = [t._replace(start=t.start / 10, end=t.end / 10) for t in letters]
    spacing = discovery.spacing_s([quick])
    runs = discovery.runs_of(0, quick, 3.3 * spacing, DiscoveryConfig())
    assert [(run.letters, run.start) for run in runs] == [("ana", 0.0), ("bobi", 0.8)]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--stream=hands",), "found no stream hands"),
        (("--split=test",), "split: found 'test'"),
        (("--false_discovery=2",), "--false_discovery"),
    ],
)
def test_what_cannot_be_is_told_in_one_line(tree, capsys, options, told):
    try:
        code, _ = find(tree, *options)
    except SystemExit as stopped:
        code = stopped.code
    assert code in (1, 2) and told in capsys.readouterr().err


def test_an_expert_learns_found_words_and_leaves_out_what_is_unclear(runs, tmp_path):
    train = open_dataset(runs / "data").split("train")
    spelled = {"train0": (TimedToken("anna", 0.0, 0.5),)}
    path = tmp_path / "spellings.json"
    write_spellings(path, Spellings(train.digest, spelled, frozenset({"train1"})))
    given = {"data.directory": str(runs / "data"), "data.spellings": str(path)}
    given |= {"data.keep_empty": "1.0"}
    source = open_source(load_config("fingerspelling:size=tiny", given))
    assert source.vocabulary.decode(source.target_ids[0]) == list("anna")
    assert source.lengths[1] == 0 and source.plan.n_clips == 3
    assert any("1 clips left out" in note for note in source.notes)
    model_config = make_stage(source.config, source.shapes).model_config
    digests = make_manifest(source, model_config).parents
    assert digests == {f"data.spellings of {train.digest[:12]}": read_spellings(path).digest}


def test_the_language_model_copies_fresh_names_in_place_of_found_ones(runs, tmp_path):
    train = open_dataset(runs / "data").split("train")
    path = tmp_path / "spellings.json"
    spelled = {"train0": (TimedToken("anna", 0.0, 0.5),)}
    write_spellings(path, Spellings(train.digest, spelled, frozenset()))
    given = {"data.directory": str(runs / "data"), "options.fresh_names": "1"}
    plain = open_source(load_config("language_model:size=tiny", given))
    told = open_source(
        load_config("language_model:size=tiny", given | {"data.spellings": str(path)})
    )
    assert len({text(told, i) for i in range(4)}) > 2
    assert {text(plain, i) for i in range(4)} == {"Anna came."}


def text(source, step):
    """The sentence of the first clip as a step has it."""
    batch = source.batch(step)
    (row,) = np.flatnonzero(batch.index_b == 0)
    return source.tokenizer.decode(batch.text_ids_bl[row][batch.text_mask_bl[row]])


def test_spellings_of_another_dataset_and_damaged_ones_are_refused(runs, tmp_path):
    path = tmp_path / "spellings.json"
    write_spellings(path, Spellings("0" * 64, {}, frozenset()))
    data = DataConfig(directory=str(runs / "data"), spellings=str(path))
    with pytest.raises(SignBindError, match="config.data.spellings: .*found the spelled words of"):
        open_data(data)
    path.write_text(path.read_text().replace("000", "001"))
    with pytest.raises(SignBindError, match="spellings.json: digest: found"):
        open_data(data)
