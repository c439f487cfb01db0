"""`signbind data vocabulary`: one file for several corpora, and what runs make of it."""

import json

import pytest

from signbind_jax import sealed
from signbind_jax.checkpoint.artefact import open_artefact
from signbind_jax.config import load_config
from signbind_jax.data.labels import counted_vocabulary
from signbind_jax.data.vocabulary import FUSION_TARGETS, read_vocabulary
from signbind_jax.errors import SignBindError
from signbind_jax.sources import open_source
from signbind_jax.stages.sections import check_sections
from tests import untrained_runs
from tests.conftest import signbind

# Beside ANNA COME / BOB SIT / COME HOME / SIT of the first corpus.
SENTENCES = ("ANNA COME|Anna came.", "DOG SIT|The dog sat.", "ZOO|Zoo.", "DOG COME|A dog came.")
GERMAN = ("HUND|Hund.", "KATZE HUND|Katze und Hund.", "MAUS|Maus.", "BOB SIT|Bob!")


@pytest.fixture(scope="module")
def datasets(tmp_path_factory):
    trees = [tmp_path_factory.mktemp(name) for name in ("first", "second", "third")]
    sentences = untrained_runs.SENTENCES, SENTENCES, GERMAN
    return [untrained_runs.write_dataset(*both) for both in zip(trees, sentences, strict=True)]


@pytest.fixture
def shared(datasets, tmp_path):
    """A file of both corpora's glosses that occur twice, and what was printed."""
    out = tmp_path / "files" / "gloss.json"
    done = signbind("data", "vocabulary", *datasets[:2], "--min_count=2", f"--out={out}")
    return out, done.stdout


def source_of(data, **overrides):
    given = {"data.directory": str(data)} | {f"data.{k}": str(v) for k, v in overrides.items()}
    config = load_config("signing:size=tiny", given)
    check_sections(config)
    return open_source(config)


def test_a_file_holds_what_is_frequent_in_all_and_tells_what_it_covers(datasets, shared):
    out, told = shared
    record = sealed.read(out)
    assert record["tokens"] == ["ANNA", "COME", "DOG", "SIT"] and record["min_count"] == 2
    lines = [line.split() for line in told.splitlines()]
    assert [str(datasets[0]), "train", "7", "71.4", "%", "5", "60.0", "%"] in lines
    assert [str(datasets[1]), "validation", "7", "85.7", "%", "5", "80.0", "%"] in lines
    assert "gloss: 4 tokens, 3 rarer ones left out, such as BOB, HOME, ZOO" in told


def test_a_run_learns_the_files_tokens_and_says_what_it_leaves_out(datasets, shared):
    source = source_of(datasets[0], vocabulary=shared[0])
    assert source.vocabulary.tokens[1:] == ("ANNA", "COME", "DOG", "SIT")
    assert [source.vocabulary.decode(ids) for ids in source.target_ids] == [
        ["ANNA", "COME"],
        ["SIT"],
        ["COME"],
        ["SIT"],
    ]
    assert source.notes[0] == (
        "gloss: 2 of 7 tokens (28.6 %), 2 of 5 kinds, are not in the vocabulary and left out, such "
        "as BOB, HOME; 0 clips are left without a token"
    )
    other = source_of(datasets[1], vocabulary=shared[0])
    assert other.vocabulary.digest == source.vocabulary.digest


def test_a_run_counts_by_itself_without_a_file(datasets):
    counted = source_of(datasets[0], min_count=2)
    assert counted.vocabulary.tokens[1:] == ("COME", "SIT")
    assert counted.config.digest != source_of(datasets[0]).config.digest


def test_letters_that_fusion_reads_stay_however_rare():
    targets = [("house", "fs-", "z"), ("house", "q_", "fs-", "a"), ("tree",)]
    fused = counted_vocabulary("senses", "fusion_targets", targets, 2)
    assert fused.tokens[1:] == ("a", "fs-", "house", "z")
    assert counted_vocabulary("gloss", "gloss", targets, 2).tokens[1:] == ("fs-", "house")


def test_alignment_goes_on_with_the_fused_vocabulary_on_another_corpus(datasets, runs):
    """As after fusion on a mixture; a corpus of another language is refused."""
    names = ("signing", "language_model", "fusion")
    parents = {f"parents.{name}": str(runs / name) for name in names}

    def aligned(data):
        given = parents | {"data.directory": str(data)}
        return open_source(load_config("alignment:size=tiny", given))

    source = aligned(datasets[1])
    assert source.fusion_targets == open_artefact(runs / "fusion").vocabularies[FUSION_TARGETS]
    assert "fusion_targets: 3 of 7 tokens (42.9 %), 2 of 5 kinds" in source.notes[0]
    told = f"config.parents.fusion: {runs / 'fusion'}: found 2 of the 6 tokens of split train of "
    with pytest.raises(SignBindError) as raised:
        aligned(datasets[2])
    assert str(raised.value).startswith(told)


@pytest.mark.parametrize(
    ("record", "told"),
    [
        ("{", "gloss.json"),
        ({"kind": "phonemes", "tokens": ["A"]}, "kind: found 'phonemes', wanted gloss"),
        ({"kind": "gloss", "tokens": ["A", "B", "A"]}, "tokens listed twice: ['A']"),
        ({"kind": "gloss", "tokens": []}, "tokens: found none, wanted texts of one line"),
        ({"kind": "gloss", "tokens": ["A", 3]}, "tokens: found 3, wanted texts of one line"),
        ({"kind": "gloss"}, "tokens: found nothing"),
        ({"kind": "gloss", "tokens": ["A"], "digest": "0"}, "digest: found "),
    ],
)
def test_a_file_that_is_none_is_refused(tmp_path, record, told):
    path = tmp_path / "gloss.json"
    path.write_text(record if isinstance(record, str) else json.dumps(record))
    with pytest.raises(SignBindError) as raised:
        read_vocabulary(path, "gloss", "gloss")
    assert str(path) in str(raised.value) and told in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_run_names_the_field_of_a_file_that_is_none(datasets):
    with pytest.raises(SignBindError, match="^config.data.vocabulary: none.json: "):
        source_of(datasets[0], vocabulary="none.json")


def test_a_vocabulary_of_another_language_is_refused(datasets, shared):
    with pytest.raises(SignBindError) as raised:
        source_of(datasets[2], vocabulary=shared[0])
    assert str(raised.value) == (
        f"config.data.vocabulary: {shared[0]}: found 1 of the 6 tokens of split train of "
        f"{datasets[2]} in the vocabulary (16.7 %; not HUND, BOB, KATZE), wanted at least 50 %: "
        "give a vocabulary of its language and labelling"
    )


@pytest.mark.parametrize(
    ("stage", "why"),
    [
        ("fingerspelling", "fingerspelling reads a fixed alphabet"),
        ("language_model", "language_model fits a tokenizer to its text"),
        ("translation", "translation has the vocabulary of the fusion it builds on"),
    ],
)
def test_a_stage_that_takes_no_vocabulary_says_so(stage, why):
    for name, value in (("vocabulary", "a.json"), ("min_count", "2")):
        config = load_config(f"{stage}:size=tiny", {f"data.{name}": value})
        with pytest.raises(SignBindError, match=f"config.data.{name}: .*wanted nothing: {why}"):
            check_sections(config)


def test_a_count_beside_a_file_is_refused():
    given = {"data.vocabulary": "a.json", "data.min_count": "2"}
    with pytest.raises(SignBindError, match="config.data.min_count: found 2, wanted 1 beside"):
        load_config("signing:size=tiny", given)


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["{0}", "{0}"], 1, "{0}: found the dataset of {0} again, wanted it once"),
        (["{0}", "--min_count=9"], 1, "--min_count: found 9, wanted at most 2, how often"),
        (["{0}", "--min_count=0"], 2, "wanted a whole number, at least 1"),
        (["{0}", "--split=dev"], 1, "{0}: split: found 'dev', wanted one of train"),
        (["{0}", "--kind=letters"], 2, "--kind: invalid choice: 'letters'"),
        (["{0}/none"], 1, "is no dataset"),
    ],
)
def test_nonsense_is_refused_and_nothing_written(datasets, tmp_path, arguments, code, told):
    given = [argument.format(datasets[0]) for argument in arguments]
    out = tmp_path / "out.json"
    done = signbind("data", "vocabulary", *given, f"--out={out}", check=False)
    assert done.returncode == code and told.format(datasets[0]) in done.stderr
    assert not out.exists()
