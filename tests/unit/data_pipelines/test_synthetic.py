"""The synthetic corpus keeps the promises of docs/use/corpora/synthetic.md."""

import collections
import itertools

import numpy as np
import pytest

from signbind_jax.data.lips import decode_mosaic
from signbind_jax.data_pipelines.synthetic import hand, mouth, names
from signbind_jax.data_pipelines.synthetic.alphabet import ALPHABET, LETTER_PATHS
from signbind_jax.data_pipelines.synthetic.corpus import (
    MAX_SECONDS,
    SyntheticConfig,
    generate_clip,
    open_corpus,
    plan,
)
from signbind_jax.data_pipelines.synthetic.grammar import SPLITS, TIME_SPLITS, sentence
from signbind_jax.data_pipelines.synthetic.lexicon import GLOSSES, LEXICON, PAIRS
from signbind_jax.data_pipelines.synthetic.signer import N_SIGNERS, signer
from signbind_jax.data_pipelines.synthetic.signs import articulations, stroke
from signbind_jax.errors import SignBindError
from signbind_jax.keypoints import LEFT_HAND_SLICE, MOUTH_SLICE, RIGHT_HAND_SLICE, K
from tests.corpora import clips_of


@pytest.fixture(scope="module")
def sentences():
    return [sentence(0, "train", i) for i in range(1500)]


@pytest.fixture(scope="module")
def plans():
    return {split: [plan(0, split, i) for i in range(150)] for split in SPLITS}


@pytest.fixture(scope="module")
def clips():
    return [generate_clip(0, "train", i) for i in range(12)]


def looks_of(phonemes):
    return tuple(tuple(look) for p in phonemes for look in mouth.looks(p))


def test_lexicon_has_the_promised_size_and_no_two_words_look_alike_on_the_lips():
    assert len(GLOSSES) >= 150
    assert len(PAIRS) >= 20
    mouthed = [entry for entry in LEXICON.values() if entry.phonemes]
    looks = {}
    for entry in mouthed:
        other = looks.setdefault(looks_of(entry.phonemes), entry)
        assert other is entry, f"{entry.sense} and {other.sense} are mouthed alike"


def test_words_of_a_pair_share_category_and_hands_and_differ_clearly_on_the_lips():
    for a, b in PAIRS:
        assert (a.gloss, a.category) == (b.gloss, b.category)
        assert a.phonemes and b.phonemes
        in_place = [
            x == y for x, y in zip(looks_of(a.phonemes), looks_of(b.phonemes), strict=False)
        ]
        assert in_place.count(False) >= 2, (a.sense, b.sense)


def test_meanings_of_a_pair_are_equally_likely(sentences):
    seen = collections.Counter(word.sense for s in sentences for word in s.words)
    first = sum(seen[a.sense] for a, _ in PAIRS)
    both = first + sum(seen[b.sense] for _, b in PAIRS)
    assert both > 1000
    assert abs(first / both - 0.5) < 4 * 0.5 / both**0.5


def test_every_gloss_and_enough_patterns_occur(sentences):
    assert {gloss for s in sentences for gloss in s.gloss} == set(GLOSSES)
    assert len({s.pattern for s in sentences}) >= 16
    assert all(len(s.gloss) >= 3 and len(s.words) <= 12 for s in sentences)


def test_names_occur_in_about_two_thirds_of_the_sentences(sentences):
    named = np.mean([any(word.name for word in s.words) for s in sentences])
    assert 0.6 < named < 0.7
    for construction in TIME_SPLITS:
        assert np.mean([s.pattern == construction for s in sentences]) >= 0.08


def test_text_follows_from_the_senses():
    """Two sentences with the same kinds of words in the same order have the same English frame."""
    frames = {}
    for i in range(6000):
        drawn = sentence(1, "train", i)
        signed, text = [], drawn.text.rstrip(".?").lower().replace(",", "").replace("'s", " 's")
        # Longest first: "the" is no word of ours, "last week" holds "week".
        words = sorted(drawn.words, key=lambda word: -len(word.form))
        places = {id(word): place for place, word in enumerate(drawn.words)}
        for word in words:
            entry = word.entry
            if entry is not None and not entry.phonemes:
                continue
            text = f" {text} ".replace(
                f" {word.form.lower()} ", f" <{places[id(word)]}> ", 1
            ).strip()
        for word in drawn.words:
            entry = word.entry
            signed.append(
                "name" if not entry else entry.category if entry.phonemes else entry.sense
            )
        frame = frames.setdefault(tuple(signed), text)
        assert frame == text, signed
    assert len(frames) < 5000  # some frames met twice, or nothing was compared


def test_no_split_spells_a_name_of_training():
    spelled = {
        split: {word.name for i in range(400) for word in sentence(0, split, i).words if word.name}
        for split in SPLITS
    }
    assert len(spelled["train"]) > 200
    for split in set(SPLITS) - {"train"}:
        assert not spelled[split] & spelled["train"]
    assert not spelled["validation"] & spelled["test"]
    shares = ("train", "validation", "test", "time")
    for name in itertools.chain(*spelled.values()):
        assert 3 <= len(name) <= 10
        assert sum(names.allowed(name, share) for share in shares) == 1


def test_role_clips_differ_only_in_time(plans):
    first = []
    for drawn, _, line, _ in plans["role"]:
        name = next(i for i, word in enumerate(drawn.words) if word.name)
        verb = next(
            i for i, w in enumerate(drawn.words) if w.entry and w.entry.category == "person-verb"
        )
        first.append(name < verb)
        (wrong,) = drawn.contrasts
        assert wrong != drawn.text and drawn.words[name].form in wrong
        starts = {sign.place: sign.start for sign in line.signs}
        assert (line.spellings[0].start < starts[verb]) == (name < verb)
    assert sum(first) == len(first) / 2


def test_lonely_twins_are_apart_and_one_is_mouthed(plans):
    silent_first = []
    for drawn, _, line, _ in plans["lonely_twin"]:
        a, b = drawn.twins
        assert drawn.words[a].entry.gloss == drawn.words[b].entry.gloss
        assert drawn.words[a].sense != drawn.words[b].sense
        centre = {sign.place: (sign.start + sign.end) / 2 for sign in line.signs}
        assert centre[b] - centre[a] >= 1.0 - 1e-6
        (heard,) = [m for m in line.mouthings if m.place in (a, b)]
        assert heard.place != drawn.silent_twin
        middle = (heard.edge_n[0] + heard.edge_n[-1]) / 2
        nearest = min((a, b), key=lambda place: abs(centre[place] - middle))
        assert nearest == heard.place
        silent_first.append(drawn.silent_twin == a)
        assert len(drawn.contrasts) == 1 and drawn.contrasts[0] != drawn.text
    assert sum(silent_first) == len(silent_first) / 2


def test_adjacent_names_are_parted_by_the_longest_gap_alone(plans):
    for drawn, _, line, _ in plans["adjacent_names"]:
        first, second = (word.name for word in drawn.words if word.name)
        (spelling,) = line.spellings
        assert spelling.letters == first + second
        gaps = np.diff(spelling.centre_n)
        cut = len(first) - 1
        assert gaps.argmax() == cut
        assert 1.4 - 1e-9 <= gaps[cut] / np.median(np.delete(gaps, cut)) <= 1.75 + 1e-9
        assert drawn.contrasts and drawn.text not in drawn.contrasts
        for wrong in drawn.contrasts:
            assert len(wrong) == len(drawn.text)
            changed = [
                (x, y) for x, y in zip(wrong.split(), drawn.text.split(), strict=True) if x != y
            ]
            assert len(changed) == 2
            assert all(len(x) >= 2 and x[0].isupper() for x, _ in changed)


def test_streams_are_displaced_but_never_by_more_than_0_4_seconds(plans):
    offsets = [
        event.offset
        for group in plans.values()
        for _, _, line, _ in group
        for event in (*line.spellings, *line.mouthings)
    ]
    assert max(map(abs, offsets)) <= 0.4
    assert np.std(offsets) > 0.1


def test_events_start_in_the_order_of_the_senses(plans):
    for group in plans.values():
        for drawn, _, line, _ in group:
            starts = {sign.place: sign.start for sign in line.signs}
            for spelling in line.spellings:
                at = 0
                for place in spelling.places:
                    starts[place] = spelling.centre_n[at]
                    at += len(drawn.words[place].name)
            order = [starts[place] for place in range(len(drawn.words))]
            assert order == sorted(order), drawn.text
            assert line.duration <= MAX_SECONDS


def test_words_of_pairs_are_mouthed_one_at_a_time(plans):
    for drawn, _, line, _ in plans["test"]:
        mouthed = {m.place for m in line.mouthings}
        for place, word in enumerate(drawn.words):
            if word.twin_form and place != drawn.silent_twin:
                assert place in mouthed
        edges = [m.edge_n for m in line.mouthings]
        assert all(a[-1] < b[0] for a, b in itertools.pairwise(edges))


def test_letters_are_spelled_at_four_to_eight_a_second(plans):
    rates = [
        1 / np.median(np.diff(s.centre_n))
        for g in plans.values()
        for _, _, line, _ in g
        for s in line.spellings
    ]
    assert min(rates) > 4 and max(rates) < 8.1
    assert max(rates) - min(rates) > 1.5


def letter_points():
    angles = np.array([shape.angles for shape in ALPHABET.values()])
    turns = hand.rotation(np.array([shape.turn for shape in ALPHABET.values()]))
    return np.einsum("tij,tkj->tki", turns, hand.joints(angles))[..., :2]


def test_no_two_still_letters_look_alike():
    points = dict(zip(ALPHABET, letter_points(), strict=True))
    assert set(LETTER_PATHS) == {"j", "z"}
    for a, b in itertools.combinations(sorted(set(ALPHABET) - {"j"}), 2):
        apart = np.linalg.norm(points[a] - points[b], axis=-1)
        assert apart.max() > 0.10, (a, b, apart.max())
        assert apart.mean() > 0.02, (a, b, apart.mean())


def test_no_two_signs_are_made_alike():
    table = articulations()
    assert set(table) == set(GLOSSES)
    for a, b in itertools.combinations(GLOSSES, 2):
        assert sum(x != y for x, y in zip(table[a], table[b], strict=True)) >= 2, (a, b)
    strokes = np.stack([stroke(gloss, table[gloss]).strong_mp[:, :3] for gloss in GLOSSES])
    used = np.ptp(strokes.reshape(-1, 3), axis=0)
    assert (used[:2] > 1.0).all()  # signs use the space in front of the signer


def test_bones_keep_their_length_whatever_the_pose():
    rng = np.random.default_rng(0)
    points = hand.joints(rng.uniform(0, 90, (20, hand.POSE_SIZE)))
    for joint in set(range(2, 21)) - {5, 9, 13, 17}:
        lengths = np.linalg.norm(points[:, joint] - points[:, joint - 1], axis=-1)
        np.testing.assert_allclose(lengths, lengths[0], rtol=1e-9)


def test_clips_are_well_formed(clips):
    for clip in clips:
        pose, lips = clip.modalities["pose"], clip.modalities["lips"]
        t = pose.n
        assert pose.data.dtype == np.float16 and pose.data.shape == (t, K, 3)
        assert pose.fps == lips.fps == 25 and lips.n == t
        crops = decode_mosaic(lips.data, t)
        assert crops.shape == (t, 32, 32) and crops.std() > 5
        assert np.isfinite(pose.data).all()
        assert ((pose.data[..., 2] >= 0) & (pose.data[..., 2] <= 1)).all()
        missing = pose.data[..., 2] == 0
        assert (pose.data[missing] == 0).all()
        assert clip.text_language == "en" and clip.signed_language == ""
        assert clip.contrasts == ()
        spelled = tuple(s.removeprefix("fs-") for s in clip.fusion_targets if s.startswith("fs-"))
        assert spelled == clip.spelled
        assert len(clip.fusion_targets) == len(clip.gloss) + len(clip.spelled)
        for pair in clip.homonym_pairs:
            right, wrong = pair.split("/")
            assert right in clip.text and right != wrong


def test_pose_is_in_shoulder_widths_about_mid_shoulder(clips):
    for clip in clips:
        shoulders = clip.modalities["pose"].data[:, 1:3].astype(float)
        present = shoulders[:, 0, 2] > 0
        centre = np.median(shoulders[present, :, :2].mean(axis=1), axis=0)
        assert np.abs(centre).max() < 0.01
        width = np.median(shoulders[present, 0, 0] - shoulders[present, 1, 0])
        assert 0.97 < width < 1.01  # the signer's left shoulder is right in the picture
        nose = np.median(clip.modalities["pose"].data[present, 0, 1].astype(float))
        assert -1.0 < nose < -0.5  # y grows downwards


def test_hands_are_lost_now_and_then_and_whole_frames_seldom():
    lost, whole, n = 0, 0, 0
    for i in range(40):
        confidence = generate_clip(3, "train", i).modalities["pose"].data[..., 2]
        lost += (confidence[:, RIGHT_HAND_SLICE] == 0).all(axis=1).sum()
        lost += (confidence[:, LEFT_HAND_SLICE] == 0).all(axis=1).sum()
        whole += (confidence == 0).all(axis=1).sum()
        n += len(confidence)
    assert 0.002 < lost / (2 * n) < 0.3
    assert 0 < whole / n < 0.02


def test_mouth_landmarks_and_crops_open_with_the_same_vowels():
    """Where the crops are dark inside the lips, the inner lip points are apart."""
    together = []
    for i in range(8):
        clip = generate_clip(0, "train", i)
        crops = decode_mosaic(clip.modalities["lips"].data, clip.n_frames("lips")).astype(float)
        darkness = -np.percentile(crops.reshape(len(crops), -1), 8, axis=1)
        inner = clip.modalities["pose"].data[:, MOUTH_SLICE][:, 12:, 1].astype(float)
        opening = inner[:, 5:8].mean(axis=1) - inner[:, 1:4].mean(axis=1)
        seen = clip.modalities["pose"].data[:, MOUTH_SLICE.start, 2] > 0
        if clip.phonemes:
            together.append(np.corrcoef(darkness[seen], opening[seen])[0, 1])
    assert np.mean(together) > 0.5


def test_left_handed_signers_spell_with_the_right_hand():
    seen = set()
    for i in range(200):
        drawn, who, line, _ = plan(0, "train", i)
        if not line.spellings or who.left_handed in seen:
            continue
        seen.add(who.left_handed)
        pose = generate_clip(0, "train", i).modalities["pose"].data.astype(float)
        middle = int(25 * (line.spellings[0].start + line.spellings[0].end) / 2)
        frames = pose[middle - 3 : middle + 4]
        right, left = (
            np.median(frames[:, part.start, 1][frames[:, part.start, 2] > 0])
            for part in (RIGHT_HAND_SLICE, LEFT_HAND_SLICE)
        )
        spelling = right if who.left_handed else left
        assert -0.1 < spelling < 0.6  # its wrist is a little below the shoulder
    assert seen == {True, False}


def test_signers_differ_and_stay_in_their_split(plans):
    assert N_SIGNERS["train"] >= 20
    for split, group in plans.items():
        prefix = "test" if split in TIME_SPLITS else split
        assert {who.name.rsplit("-", 1)[0] for _, who, _, _ in group} == {prefix}
    cast = [signer(0, "train", n) for n in range(N_SIGNERS["train"])]
    assert 0 < sum(who.left_handed for who in cast) < len(cast) / 2
    assert np.std([who.hand for who in cast]) > 0.01
    assert all(0.85 <= who.speed <= 1.2 for who in cast)


def test_same_arguments_same_bytes_and_another_seed_another_clip():
    again, clip, other = (generate_clip(seed, "role", 5) for seed in (7, 7, 8))
    assert clip.text == again.text != other.text
    for modality, frames in clip.modalities.items():
        assert bytes(frames.data) == bytes(again.modalities[modality].data)
        assert bytes(frames.data) != bytes(other.modalities[modality].data)


def test_the_corpus_holds_the_clips_asked_for_in_order():
    clips, _ = clips_of(open_corpus(SyntheticConfig(train=3, validation=0, test=0, time_split=2)))
    assert [clip.id for clip in clips["train"]] == [f"train-{i:06d}" for i in range(3)]
    pose, wanted = (x.modalities["pose"] for x in (clips["train"][2], generate_clip(0, "train", 2)))
    assert np.array_equal(pose.data, wanted.data)
    assert clips["validation"] == [] and len(clips["lonely_twin"]) == 2


def test_bad_arguments_are_named():
    with pytest.raises(SignBindError, match="train: found -1"):
        SyntheticConfig(train=-1)
    with pytest.raises(SignBindError, match="split: found 'dev'"):
        generate_clip(0, "dev", 0)
