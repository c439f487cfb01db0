"""The sentence of the clip before stands in the prompt: the dataset's in training, else the one
that was just written."""

import dataclasses
import json
import shutil

import numpy as np
import pytest

from signbind_jax.checkpoint.artefact import open_artefact
from signbind_jax.config import load_config
from signbind_jax.data.clip import Clip
from signbind_jax.data.dataset import open_dataset
from signbind_jax.data.mixture import open_data
from signbind_jax.data.previous_clips import previous_clips, rounds
from signbind_jax.data.sentences import Sentences
from signbind_jax.errors import SignBindError
from signbind_jax.evaluate.evaluators import open_evaluator
from signbind_jax.hf.pretrained import open_pretrained
from signbind_jax.sources import open_source
from signbind_jax.stages import assumed_stage
from signbind_jax.stages.previous_sentence import PreviousSentence
from signbind_jax.stages.translation import write_translations
from tests import untrained_runs
from tests.conftest import signbind
from tests.unit.hf.tiny_pretrained import write_pretrained

MOST = 6
TEXTS = [text for _, text in (row.split("|") for row in untrained_runs.SENTENCES)]


@pytest.fixture(scope="module")
def tree(runs, tmp_path_factory):
    """A dataset of two recordings of two clips and one that is of none, and an alignment run on
    it."""
    tree = tmp_path_factory.mktemp("recordings")
    shutil.copy(runs / "a.npz", tree)
    rows = ["id|split|gloss|text|signer|pose|recording"]
    sentences = (*untrained_runs.SENTENCES, "SIT|Alone.")
    recordings = ("talk", "song", "talk", "song", "")
    for split in ("train", "validation", "test"):
        rows += [
            f"{split}{i}|{split}|{s}|kim|a.npz|{r}"
            for i, (s, r) in enumerate(zip(sentences, recordings, strict=True))
        ]
    (tree / "manifest.tsv").write_text("\n".join(rows).replace("|", "\t") + "\n")
    out = tree / "data"
    signbind("data", "build", "folder", f"--source={tree}", f"--out={out}", "--workers=1")
    untrained_runs.write_run("alignment", tree, **options(runs))
    return tree


def options(runs, **more) -> dict[str, str]:
    parents = ("signing", "language_model", "fusion")
    given = {f"parents.{name}": str(runs / name) for name in parents}
    return given | {"options.previous_sentence": str(MOST)} | more


def opened(tree, runs, **more):
    given = {"data.directory": str(tree / "data")} | options(runs, **more)
    return open_source(load_config("alignment:size=tiny", given))


def test_clips_of_a_recording_follow_each_other_in_time():
    rows = [("a", 3.0), ("", None), ("a", 0.5), ("b", None), ("a", 1.5), ("b", 0.0)]
    clips = [Clip(str(i), "", recording=r, start_s=s) for i, (r, s) in enumerate(rows)]
    previous = previous_clips(clips)
    assert previous.tolist() == [4, -1, -1, -1, 2, 3]
    found = [np.flatnonzero(chosen).tolist() for chosen in rounds(previous)]
    assert found == [[1, 2, 3], [4, 5], [0]]


def test_two_datasets_share_no_recording(tree, tmp_path):
    shutil.copytree(tree / "data", tmp_path / "other")
    both = load_config("alignment", {"data.directory": f"{tree / 'data'},{tmp_path / 'other'}"})
    previous = open_data(both.data).split("train").previous
    assert previous.tolist() == [-1, -1, 0, 1, -1, -1, -1, 5, 6, -1]


def test_training_reads_the_sentence_before_as_the_dataset_has_it(tree, runs):
    source = opened(tree, runs, **{"options.drop_previous": "0"})
    tokenizer = source.tokenizer
    batch = source.batch(0)
    for row, i in enumerate(batch.index_b):
        if i < 0:
            continue
        ids = batch.prompt_ids_bp[row][batch.prompt_mask_bp[row]].tolist()
        before = tokenizer.encode(TEXTS[i - 2])[1 - MOST :] if i in (2, 3) else []
        lead = [tokenizer.sep_id] if before else []
        assert ids == [*lead, *before, tokenizer.bos_id]
    assert {2, 3} <= set(batch.index_b.tolist())
    full = sum(len(tokenizer.encode(text)) >= MOST - 1 for text in TEXTS[:2])
    told = f"2 of 5 clips have a sentence before them in their recording; {full} of these"
    assert full and any(note.startswith(told) for note in source.notes)
    source = opened(tree, runs, **{"options.drop_previous": "1"})
    assert (source.batch(0).prompt_mask_bp.sum(axis=1) <= 1).all()
    some = opened(tree, runs, **{"options.drop_previous": "0.5"})
    kept = [(some.batch(i).prompt_mask_bp.sum(axis=1) > 1).sum() for i in range(20)]
    assert 10 <= sum(kept) <= 30


def test_a_pretrained_model_reads_words_in_front_of_it(tmp_path):
    tokenizer = open_pretrained(write_pretrained(tmp_path), "Write.").tokenizer
    most = len(tokenizer.encode("\nBefore: ")) + len(tokenizer.encode(" came."))
    previous = PreviousSentence.of(tokenizer, most, "\nBefore: ")
    ids = previous.prompt("Anna came.")
    assert ids[-len(tokenizer.tail) :] == tokenizer.tail and previous.prompt("") == tokenizer.tail
    text = tokenizer.decode(ids[: -len(tokenizer.tail)])
    assert text.startswith("\nBefore: ") and text.endswith("came.")
    assert len(ids) == most + len(tokenizer.tail)


def test_evaluation_reads_what_was_just_written(tree):
    clips = open_dataset(tree / "data").split("test")
    evaluator = open_evaluator(open_artefact(tree / "alignment"))
    written = [output.hypothesis for output in evaluator.run(clips).outputs]
    system, read = evaluator.system, evaluator.system.read(clips)
    before = ["" if i < 0 else written[i] for i in clips.previous]
    assert all(before[i] for i in (2, 3))

    def write(prompts):
        sentences = dataclasses.replace(
            Sentences.unlabelled(read), prompts=[system.previous.prompt(text) for text in prompts]
        )
        given = sentences, system.tokenizer, system.prompt_parts, system.streams, system.generation
        return write_translations(*system.weights(), *given)

    assert write(before) == written
    alone = write([""] * len(clips))
    assert [a == b for a, b in zip(alone, written, strict=True)] == [True, True, False, False, True]


def test_translate_takes_files_for_a_recording_where_it_is_told_so(tree, tmp_path):
    clips = [shutil.copy(tree / "a.npz", tmp_path / f"{name}.npz") for name in "abc"]
    command = ["translate", f"--checkpoint={tree / 'alignment'}", "--format=json", *clips]
    alone, following = (
        [json.loads(line)["sentence"] for line in signbind(*command, *more).stdout.splitlines()]
        for more in ((), ("--one_recording",))
    )
    assert len(set(alone)) == 1 and alone[0] == following[0] != following[1]


def test_what_cannot_be_is_refused_in_a_line(tree, runs):
    with pytest.raises(SignBindError, match="previous_sentence: found 6 and no clip of train"):
        opened(runs, runs)
    with pytest.raises(SignBindError, match="found 1, wanted more than the 1 tokens in front"):
        opened(tree, runs, **{"options.previous_sentence": "1"})


def test_preflight_has_room_for_it():
    sizes = {}
    for most in (0, MOST):
        config = load_config("alignment", {"options.previous_sentence": str(most)})
        [(_, sizes[most], _)] = assumed_stage(config).shapes.capacities.values()
    assert sizes[MOST] == sizes[0] + MOST
