"""What a pretrained LLM is asked for is in the language of the training texts."""

import dataclasses

import pytest

from signbind_jax.config import load_config
from signbind_jax.data.dataset import ClipDataset
from signbind_jax.sources import open_source
from signbind_jax.stages.translation import TranslationOptions
from tests.unit.hf.test_pretrained import text_of
from tests.unit.hf.tiny_pretrained import write_pretrained


@pytest.mark.parametrize(
    ("languages", "instruction"),
    [
        (["en-GB"], "Write the English sentence that these signs, in order, say."),
        (
            ["de", "en", "de"],
            "Write the English or German sentence that these signs, in order, say.",
        ),
        (["gsw"], "Write the gsw sentence that these signs, in order, say."),
        ([""], "Write the sentence that these signs, in order, say."),
    ],
)
def test_the_instruction_names_the_languages(languages, instruction):
    assert TranslationOptions().instruction_in(languages) == instruction


def test_an_instruction_of_ones_own_stays_as_it_is():
    options = TranslationOptions(instruction="Übersetze {das}.")
    assert options.instruction_in(["de"]) == "Übersetze {das}."


def test_alignment_asks_in_the_language_of_its_data(runs, tmp_path, monkeypatch):
    labels = ClipDataset.labels.func

    def german(dataset):
        return tuple(dataclasses.replace(c, text_language="de") for c in labels(dataset))

    monkeypatch.setattr(ClipDataset, "labels", property(german))
    given = {f"parents.{name}": str(runs / name) for name in ("signing", "fusion")}
    given["parents.language_model"] = str(write_pretrained(tmp_path / "llm"))
    given["data.directory"] = str(runs / "data")
    source = open_source(load_config("alignment:size=tiny", given))
    assert "system\nWrite the German sentence" in text_of(source.tokenizer, source.tokenizer.head)
