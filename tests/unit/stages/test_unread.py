"""What an expert leaves unread reaches the stages behind it as tokens, where they ask for it."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from signbind_jax.checkpoint.artefact import open_artefact
from signbind_jax.config import load_config
from signbind_jax.data.vocabulary import UNREAD
from signbind_jax.errors import SignBindError
from signbind_jax.models.fusion import Fusion, FusionConfig, StreamTokens, intervals
from signbind_jax.sources import open_source
from signbind_jax.stages.open_experts import open_reader_of
from signbind_jax.stages.sections import check_sections
from tests import untrained_runs

EVERY_BLANK = "0.1"  # seconds, less than a step of the expert


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    tree = tmp_path_factory.mktemp("tree")
    untrained_runs.write_dataset(tree)
    untrained_runs.write_run("signing", tree)
    return tree


def test_unread_runs_stand_between_the_tokens_that_are_read_without_them(tree):
    given = {"data.directory": str(tree / "data"), "parents.signing": str(tree / "signing")}
    plain = open_source(load_config("fusion:size=tiny", given))
    more = {"data.unread_s": EVERY_BLANK, "parents.signing": given["parents.signing"]}
    run = open_artefact(untrained_runs.write_run("fusion", tree, **more))
    source = open_source(run.config)
    vocabulary = source.vocabularies["gloss"]
    assert vocabulary.tokens == (*plain.vocabularies["gloss"].tokens, UNREAD)
    assert run.model_config.unread == (True, False, False)
    assert run.model_config.n_ids[0] == len(vocabulary)
    assert run.config.digest != plain.config.digest

    tokens = source.sentences.streams.experts["signing"]
    read = plain.sentences.streams.experts["signing"]
    unread = tokens.ids == len(vocabulary) - 1
    assert unread.any() and np.abs(tokens.hidden[unread]).min(axis=1).any()
    assert tokens.ids[~unread].tolist() == read.ids.tolist()
    assert np.allclose(tokens.start[~unread], read.start, atol=1e-5)
    assert source.sentences.lengths.sum() > plain.sentences.lengths.sum()
    # People are shown what was read, and it alone is judged.
    clip = source.dataset.split("train").labels[0]
    assert clip.id == "train0" and UNREAD not in {
        t.token for t in source.reader.tokens(source.sentences.streams, 0)["signing"]
    }
    shown = source.reader.tokens(source.sentences.streams, 0, unread=True)["signing"]
    assert UNREAD in {t.token for t in shown}
    wrong = [[note for note in s.notes if "wrong on" in note] for s in (source, plain)]
    assert wrong[0] == wrong[1] != []
    # A finished run reads as it was trained.
    clips = source.dataset.split("test")
    found = open_reader_of(run).read(clips).experts["signing"]
    assert found.ids.tolist() == source.reader.read(clips).experts["signing"].ids.tolist()
    assert (found.ids == len(vocabulary) - 1).any()


def test_gaps_are_those_between_tokens_that_were_read():
    config = FusionConfig(
        n_ids=(3, 3), d_hidden=2, n_targets=3, d_model=8, n_heads=2, unread=(True, False)
    )
    fusion = Fusion(config, nnx.Rngs(0))
    ids, streams = [1, 2, 2, 1, 2], [0, 0, 1, 0, 1]  # the second is unread, the others are not
    start = jnp.arange(5.0)[None]
    tokens = StreamTokens(
        jnp.array([ids]),
        jnp.array([streams]),
        jnp.zeros((1, 5, 2)),
        start,
        start + 0.5,
        jnp.ones((1, 5)),
        jnp.ones((1, 5), bool),
    )
    before_bm, _, _ = intervals(fusion._read(tokens), 2)
    assert before_bm.tolist() == [[0, 0, 0, 3, 2]]


def test_experts_have_nothing_to_leave_unread():
    with pytest.raises(SignBindError, match="config.data.unread_s: found 0.3, wanted nothing: sig"):
        check_sections(load_config("signing", {"data.unread_s": "0.3"}))
    with pytest.raises(SignBindError, match="config.model.unread: found .*data and parents"):
        check_sections(load_config("fusion", {"model.unread": "(True,)"}))
