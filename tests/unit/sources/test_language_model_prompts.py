"""What the decoder is prompted with: the words that fusion will read, and some of them wrong."""

import dataclasses

import pytest

from signbind_jax.config import load_config
from signbind_jax.data.clip import TimedToken
from signbind_jax.data.dataset import open_dataset
from signbind_jax.data.sign_order import SignOrder, write_sign_order
from signbind_jax.data.spellings import Spellings, write_spellings
from signbind_jax.errors import SignBindError
from signbind_jax.sources import open_source
from signbind_jax.stages.sections import check_sections
from tests import audit_datasets

TEXT = "The old teacher sees Anna and a happy cook."


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Clips of which only the text is told."""
    clips = audit_datasets.clean_clips({"train": 6})["train"]
    told = {"gloss": (), "fusion_targets": (), "spelled": ()}
    clips = [dataclasses.replace(clip, **told) for clip in clips]
    clips[0] = dataclasses.replace(clips[0], text=TEXT)
    directory = tmp_path_factory.mktemp("prompts") / "data"
    audit_datasets.write(directory, {"train": clips})
    return directory


def opened(data, **overrides):
    given = {"data.directory": str(data), "data.validation": "", "options.fresh_names": "0"}
    return open_source(load_config("language_model:size=tiny", given | overrides))


def prompts(source, step=0):
    """The prompts of a batch as text, by clip."""
    batch = source.batch(step)
    return {
        int(clip): source.tokenizer.decode(ids[mask]).split()
        for clip, ids, mask in zip(
            batch.index_b, batch.prompt_ids_bp, batch.prompt_mask_bp, strict=True
        )
        if clip >= 0
    }


def test_found_names_stand_where_the_text_has_them_and_in_the_order_of_the_signs(data, tmp_path):
    split = open_dataset(data).split("train")
    clip = split.ids[0]
    spelled = {clip: (TimedToken("anna", 0.4, 0.9),)}
    write_spellings(tmp_path / "spelled.json", Spellings(split.digest, spelled, frozenset()))
    signs = ("cook", "old", "teacher", "see", "happy")
    seen = {clip: tuple(TimedToken(x, i / 2, i / 2 + 0.1) for i, x in enumerate(signs))}
    write_sign_order(tmp_path / "order.json", SignOrder(split.digest, seen))
    names = {"data.spellings": str(tmp_path / "spelled.json")}
    text_order = ["old", "teacher", "see", "anna", "happy", "cook"]
    assert prompts(opened(data, **names))[0] == text_order
    names["data.sign_order"] = str(tmp_path / "order.json")
    sign_order = ["cook", "anna", "old", "teacher", "see", "happy"]
    assert prompts(opened(data, **names))[0] == sign_order


def test_lemmas_are_left_out_and_replaced_as_often_as_asked(data, tmp_path):
    plain = opened(data)
    true, lemmas = prompts(plain), {*plain.lemmas}
    none = prompts(opened(data, **{"options.drop": "1"}))
    assert none and not any(none.values())
    others = opened(data, **{"options.substitute": "1"})
    drawn = prompts(others)
    assert drawn == prompts(others) != true and drawn != prompts(others, 1)
    assert all(lemmas.issuperset(words) for words in drawn.values())
    half = opened(data, **{"options.drop": "0.5"})
    left = [len(words) for step in range(40) for words in prompts(half, step).values()]
    whole = [len(words) for step in range(40) for words in prompts(plain, step).values()]
    assert 0.4 < sum(left) / sum(whole) < 0.6


def test_more_noise_than_words_is_refused():
    given = {"options.drop": "0.7", "options.substitute": "0.4"}
    with pytest.raises(SignBindError, match=r"substitute: found 0.4, wanted at most 0.3 beside"):
        check_sections(load_config("language_model:size=tiny", given))


def test_made_up_names_stand_in_prompt_and_sentence_alike(data, tmp_path):
    split = open_dataset(data).split("train")
    spelled = {split.ids[0]: (TimedToken("anna", 0.4, 0.9),)}
    write_spellings(tmp_path / "spelled.json", Spellings(split.digest, spelled, frozenset()))
    names = {"data.spellings": str(tmp_path / "spelled.json")}
    plain = opened(data, **names)
    source = opened(data, **names, **{"options.made_up_names": "1", "data.n_buckets": "1"})
    made_up = set()
    for step in range(20):
        batch, asked = source.batch(step), prompts(source, step)
        for row, clip in enumerate(batch.index_b):
            if clip < 0:
                continue
            text = source.tokenizer.decode(batch.text_ids_bl[row][batch.text_mask_bl[row]])
            new = {word.strip(".").lower() for word in text.split()} - words_of(plain, clip)
            assert new <= {*asked[int(clip)]} and len(new) <= 1
            assert all(name.capitalize() in text for name in new)
            made_up |= new
    assert len(made_up) > 1


def test_names_cannot_be_made_up_where_none_is_known(data):
    with pytest.raises(SignBindError, match="made_up_names: found 0.5 and no spelled word") as told:
        opened(data, **{"options.made_up_names": "0.5"})
    assert "\n" not in str(told.value)


def words_of(source, clip):
    return {word.strip(".").lower() for word in source.clips[clip].text.split()}
