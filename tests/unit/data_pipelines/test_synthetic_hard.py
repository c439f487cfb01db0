"""The hard preset keeps the promises of docs/use/corpora/synthetic_hard.md."""

import collections
import itertools
import random

import numpy as np
import pytest

from signbind_jax import cli
from signbind_jax.data import labels
from signbind_jax.data.dataset import open_dataset
from signbind_jax.data_pipelines.synthetic.hard import corpus, english, signing, words
from signbind_jax.data_pipelines.synthetic.hard.meaning import Draw
from signbind_jax.data_pipelines.synthetic.hard.signs import articulations, of_signer
from signbind_jax.errors import SignBindError
from tests.audit_datasets import audited


@pytest.fixture(scope="module")
def sentences():
    return [corpus.sentence(0, "main", i) for i in range(1000)]


@pytest.fixture(scope="module")
def performances():
    return {part: [corpus.Performance.of(0, part, i) for i in range(60)] for part in corpus.PARTS}


def test_no_two_of_the_many_signs_are_alike_and_most_have_a_near_neighbour():
    signs = np.array(list(articulations().values()))
    assert len(signs) == len(words.lexicon().glosses) >= 1500
    apart = (signs[:, None] != signs[None]).sum(-1)
    assert (apart + 9 * np.eye(len(signs), dtype=int)).min() == 1
    assert (apart == 1).any(axis=1).mean() > 0.6


def test_some_signers_sign_some_glosses_in_another_way():
    first, second = (of_signer(random.Random(name)) for name in "ab")
    assert list(first) == list(second) == list(words.lexicon().glosses)
    other = sum(first[gloss] != second[gloss] for gloss in first)
    assert 0.01 < other / len(first) < 0.15


def test_frequencies_of_signs_follow_zipf(sentences):
    counts = collections.Counter(gloss for one in sentences for gloss in one.gloss)
    counts = np.array(sorted(counts.values(), reverse=True)[:500])
    slope, _ = np.polyfit(np.log(np.arange(1, len(counts) + 1)), np.log(counts), 1)
    assert -1.3 < slope < -0.8


def test_a_meaning_is_said_and_signed_in_many_ways():
    said, signed = [], []
    for i in range(20):
        meaning = Draw(random.Random(i), words.lexicon().topics, "train").meaning()
        said.append(len({english.write(meaning, random.Random(j)) for j in range(30)}))
        signed.append(len({signing.sign(meaning, random.Random(j)) for j in range(30)}))
    assert np.median(said) > 10
    assert np.median(signed) > 8


def test_text_has_words_without_a_sign_and_hands_have_signs_without_a_word(sentences):
    unsigned, unsaid, in_order = [], [], []
    for one in sentences[:400]:
        said = labels.pseudo_glosses(one.text, "en")
        signed = [word.entry.sense if word.entry else word.name for word in one.words]
        unsigned += [word not in signed for word in said]
        unsaid += [sign not in said for sign in signed]
        places = [said.index(sign) for sign in dict.fromkeys(signed) if sign in said]
        in_order += [a < b for a, b in itertools.pairwise(places)]
    assert 0.1 < np.mean(unsigned) < 0.4
    assert 0.1 < np.mean(unsaid) < 0.4
    assert 0.5 < np.mean(in_order) < 0.85


def test_english_inflects():
    assert [words.past(verb) for verb in ("buy", "chop", "carry", "like")] == [
        "bought",
        "chopped",
        "carried",
        "liked",
    ]
    assert [words.gerund(verb) for verb in ("lie", "make", "run", "agree")] == [
        "lying",
        "making",
        "running",
        "agreeing",
    ]
    assert [words.plural(noun) for noun in ("knife", "baby", "church", "key")] == [
        "knives",
        "babies",
        "churches",
        "keys",
    ]
    assert words.third("wash") == "washes" and words.participle("write") == "written"


def test_letters_are_spelled_at_8_to_12_a_second(performances):
    rates = [
        1 / np.median(np.diff(spelling.centre_n))
        for one in itertools.chain(*performances.values())
        for spelling in one.line.spellings
    ]
    assert len(rates) > 30
    assert min(rates) > 7.5 and max(rates) < 12.8 and 8.5 < np.median(rates) < 11.5


def test_some_words_are_mouthed_and_some_of_these_in_part(performances):
    n, mouthed, part = 0, 0, 0
    for one in itertools.chain(*performances.values()):
        n += sum(bool(word.entry and word.entry.phonemes) for word in one.drawn.words)
        for mouthing in one.line.mouthings:
            mouthed += 1
            full = one.drawn.words[mouthing.place].entry.phonemes
            part += len(mouthing.phonemes) < len(full)
            assert full[: len(mouthing.phonemes)] == mouthing.phonemes
    assert 0.25 < mouthed / n < 0.5
    assert 0.15 < part / mouthed < 0.45


def test_nobody_signs_in_two_parts_and_no_name_of_training_is_held_out(performances):
    people = {part: {one.who.name for one in made} for part, made in performances.items()}
    assert sum(map(len, people.values())) == len(set().union(*people.values()))
    spelled = {
        part: {
            w.name for one in made for w in one.drawn.words if w.name.capitalize() in one.drawn.text
        }
        for part, made in performances.items()
    }
    trained = set().union(*(spelled[part] for part in corpus.TRAINED)) - {""}
    assert trained and not trained & (spelled["validation"] | spelled["test"] - {""})


def test_the_labelled_part_has_other_topics(performances):
    lexicon = words.lexicon()
    own = {
        topic: {
            term.entry.gloss
            for (_, of), terms in lexicon.words.items()
            for term in terms
            if of == topic and term.entry
        }
        for topic in (*lexicon.topics, "general")
    }
    only = set().union(*(own[topic] for topic in corpus.OTHER_TOPICS)) - set().union(
        *(own[topic] for topic in own if topic not in corpus.OTHER_TOPICS)
    )
    signed = {
        part: {gloss for one in made for gloss in one.drawn.gloss}
        for part, made in performances.items()
    }
    assert signed["labelled"] & only and not signed["main"] & only and not signed["test"] & only


def test_what_is_withheld_in_training_is_there_in_test():
    train, test = (corpus.generate_clip(0, part, 4) for part in ("main", "test"))
    assert train.text and not any(getattr(train, kind) for kind in corpus.LABELS)
    assert not train.streams and not test.streams
    assert test.gloss and test.fusion_targets and corpus.generate_clip(0, "labelled", 4).gloss
    truth = corpus.Performance.of(0, "main", 4).truth()
    assert corpus.generate_clip(0, "main", 4, gold=True).gloss == truth.gloss
    assert (truth.id, truth.text) == (train.id, train.text)
    assert tuple(token.token for token in truth.streams["signing"]) == truth.gloss


def test_same_arguments_same_bytes_and_another_seed_another_clip():
    again, clip, other = (corpus.generate_clip(seed, "main", 5) for seed in (7, 7, 8))
    assert clip.text == again.text != other.text
    for modality, frames in clip.modalities.items():
        assert bytes(frames.data) == bytes(again.modalities[modality].data)
        assert bytes(frames.data) != bytes(other.modalities[modality].data)


def test_weak_videos_lack_an_end_and_their_text_does_not(performances):
    lost = 0
    for i, one in enumerate(performances["weak"][:3]):
        clip, truth = corpus.generate_clip(0, "weak", i), one.truth()
        assert clip.text == one.drawn.text
        assert clip.n_frames("pose") == clip.n_frames("lips") == round(truth.seconds * 25)
        assert clip.n_frames("pose") / 25 < one.line.duration
    for one in performances["weak"]:
        truth = one.truth()
        lost += len(one.drawn.gloss) - len(truth.gloss)
        for token in itertools.chain(*truth.streams.values()):
            assert 0 <= token.start <= token.end <= truth.seconds
    assert lost > 5


def test_spottings_are_few_timed_and_mostly_right(performances):
    n_signs, right, wrong = 0, 0, 0
    for one in performances["spotted"]:
        truth = one.truth()
        n_signs += len(truth.gloss)
        for token in one.spottings(truth)["spotting"]:
            assert 0 <= token.start <= token.end <= truth.seconds and 0 < token.confidence <= 1
            middle = (token.start + token.end) / 2
            near = [
                sign
                for sign in truth.streams["signing"]
                if sign.start - 0.4 <= middle <= sign.end + 0.4
            ]
            right += token.token in [sign.token for sign in near]
            wrong += token.token not in [sign.token for sign in near]
    assert 0.1 < (right + wrong) / n_signs < 0.5
    assert 0.7 < right / (right + wrong) < 1


def test_what_is_found_is_sure_and_hands_are_lost_now_and_then():
    lost, n = 0, 0
    for i in range(25):
        confidence = corpus.generate_clip(0, "main", i).modalities["pose"].data[..., 2]
        assert set(np.unique(confidence)) <= {0.0, 1.0}
        lost += (confidence[:, 49:70] == 0).all(axis=1).sum()
        n += len(confidence)
    assert 0 < lost / n < 0.3


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    out = tmp_path_factory.mktemp("hard") / "spotted"
    sizes = ["--train=6", "--validation=3", "--test=0"]
    command = ["data", "build", "synthetic", "--preset=hard", "--part=spotted", "--workers=1"]
    assert cli.main([*command, *sizes, f"--out={out}"]) == 0
    return out


def clips_in(directory, split):
    return open_dataset(directory).split(split).labels


def test_training_derives_from_the_text_what_validation_is_told(built):
    data = open_dataset(built)
    assert data.splits == {"train": 6, "validation": 3} and data.split("train").streams
    for clip, targets in zip(data.split("train").labels, data.split("train").targets, strict=True):
        assert targets["gloss"] == labels.pseudo_glosses(clip.text, "en")
        assert targets["phonemes"] and not targets["letters"]
    for clip, targets in zip(
        data.split("validation").labels, data.split("validation").targets, strict=True
    ):
        assert targets["gloss"] == clip.gloss and targets["phonemes"] == clip.phonemes


def test_an_audit_knows_what_is_withheld_and_that_only_training_has_spottings(built):
    result = audited(built)
    found = {one.check: one.found for one in result.findings}
    assert "6 of 9 clips" in found["stream spotting"]
    derived = set(labels.pseudo_glosses(" ".join(c.text for c in clips_in(built, "train")), "en"))
    assert f"train has {len(derived)} kinds" in found["unseen_gloss"]


def test_the_truth_beside_a_dataset_is_a_corpus_of_streams(built, tmp_path):
    source = built.with_name("spotted.truth")
    command = ["data", "build", "streams", f"--source={source}", f"--out={tmp_path / 'truth'}"]
    assert cli.main([*command, "--workers=1"]) == 0
    truth = open_dataset(tmp_path / "truth").split("train")
    assert truth.ids == open_dataset(built).split("train").ids
    assert truth.streams == ("fingerspelling", "lipreading", "signing")
    assert all(clip.gloss for clip in truth.labels)


def test_bad_options_are_named(capsys, tmp_path):
    command = ["data", "build", "synthetic", f"--out={tmp_path / 'a'}"]
    assert cli.main([*command, "--part=weak"]) == 1
    assert "--part: found weak, wanted it with --preset=hard alone" in capsys.readouterr().err
    assert cli.main([*command, "--gold"]) == 1
    assert "--gold: found True, wanted it with --preset=hard alone" in capsys.readouterr().err
    assert cli.main([*command, "--preset=hard", "--time_split=3"]) == 1
    assert "--time_split: found 3" in capsys.readouterr().err
    with pytest.raises(SignBindError, match="part: found 'all', wanted one of 'main'"):
        corpus.HardConfig(part="all")
    assert not list(tmp_path.iterdir())
