"""Signing translated while it goes on: what an update promises, and what the end says."""

import argparse
import json

import jax
import numpy as np
import pytest

import signbind_jax as sb
from signbind_jax import keypoints
from signbind_jax.checkpoint.artefact import open_artefact
from signbind_jax.data.batch import decode_lips
from signbind_jax.data.clip_list import ClipList
from signbind_jax.data.dataset import open_dataset
from signbind_jax.stages.read_streams import ExpertReader, readable
from signbind_jax.use import translate as translate_module
from signbind_jax.use import translate_streams
from signbind_jax.use.expert_stream import ExpertStream, Settled
from signbind_jax.use.growing_clip import GrowingClip
from tests import frame_corpora, untrained_runs

N_FRAMES, FPS = 75, 30
WHOLEBODY = keypoints.SCHEMES["coco_wholebody_133"]


@pytest.fixture(scope="module")
def translator(runs):
    """Of the untrained alignment run, whose tokens change with every further frame."""
    return sb.load_translator(runs / "alignment", max_new_tokens=8)


@pytest.fixture(scope="module")
def talk(tmp_path_factory):
    """A recording."""
    path = tmp_path_factory.mktemp("talk") / "talk.npz"
    frame_corpora.write_pose(path, N_FRAMES, FPS)
    return path


@pytest.fixture(scope="module")
def frames(talk):
    """What `feed` takes of it, frame by frame."""
    with np.load(talk) as file:
        landmarks = np.concatenate([file["keypoints"], file["scores"][..., None]], -1)
    return landmarks


def streaming(translator, **settings):
    given = {"longest_s": 2.5, "sentence_s": 0.0, "width": 640, "height": 360}
    return sb.StreamingTranslator(translator, sb.StreamSettings(FPS, **given | settings))


def pieces(frames, size):
    return [frames[a : a + size] for a in range(0, len(frames), size)]


@pytest.mark.parametrize("look_ahead_s, stable_s, size", [(0.0, 0.0, 3), (0.2, 0.2, 4)])
def test_what_is_final_stays_and_the_end_is_the_whole_clip(
    translator, talk, frames, look_ahead_s, stable_s, size
):
    stream = streaming(
        translator, look_ahead_s=look_ahead_s, stable_s=stable_s, chunk_s=0.1, sentence_s=0.5
    )
    updates = list(stream.run({"landmarks": piece} for piece in pieces(frames, size)))
    before, changed = [], False
    for update in updates:
        final = update.final.get("signing", [])
        assert final[: len(before)] == before
        changed |= len(final) > len(before) and not update.is_final
        if not update.is_final:
            assert all(token.end <= update.seconds - look_ahead_s for token in final)
        before = final
    assert changed, "no token was final before the end"
    assert len({update.sentence for update in updates}) > 2, "the sentence was not revised"
    whole = translator(talk)
    *_, end = updates
    assert end.is_final and end.sentence == whole.text and end.provisional == {}
    assert end.translation.streams == whole.streams and end.translation.words == whole.words
    assert json.loads(json.dumps(end.to_json()))["translation"]["text"] == whole.text
    # The next sentence begins anew.
    again = list(stream.run({"landmarks": piece} for piece in pieces(frames, size)))
    assert [update.final for update in again] == [update.final for update in updates]


def test_a_reading_says_what_the_frames_so_far_say_as_a_clip(translator, talk, frames, tmp_path):
    stream = streaming(translator, look_ahead_s=10.0, sentence_s=0.1)
    with np.load(talk) as file:
        fields = dict(file)
    for before, n in ((0, 20), (20, 50)):
        update = stream.feed(frames[before:n], first=before)
        own = {name: x[:n] if x.ndim else x for name, x in fields.items()}
        np.savez(tmp_path / "so_far.npz", **own)
        whole = translator(tmp_path / "so_far.npz")
        read = update.provisional["signing"]
        assert [t.token for t in read] == [t.token for t in whole.streams["signing"]]
        assert update.sentence == whole.text and update.final == {"signing": []}


def test_nothing_is_compiled_while_somebody_signs(translator, frames):
    stream = streaming(translator, longest_s=2.6)  # a shape of its own
    stream.prepare()
    compiled = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, *_, **__: compiled.append(event) if "backend_compile" in event else None
    )
    for piece in pieces(frames, 6):
        stream.feed(piece)
    assert compiled == []


def test_what_cannot_be_the_next_frames_is_refused_and_costs_nothing(translator, talk, frames):
    stream = streaming(translator)
    half = N_FRAMES // 2
    stream.feed(frames[:half], first=0)
    crops = np.zeros((1, 8, 8), np.uint8)
    for wrong, said in (
        ({"landmarks": frames[:3], "first": 12}, f"found frame 12, wanted {half}"),
        ({"landmarks": frames[:3], "first": half + 1}, "frames come in order"),
        ({"landmarks": frames[:0]}, "found 0 of landmarks, wanted at least 1"),
        ({}, "found none, wanted at least 1"),
        ({"landmarks": frames[:2, :91]}, r"found landmarks \(91, 3\), wanted landmarks \(133, 3\)"),
        (
            {"landmarks": frames[:1], "crops": crops},
            r"found landmarks \(133, 3\), crops, wanted .* as before",
        ),
        ({"landmarks": frames[:2], "scores": frames[:1, :, 2]}, "2 of landmarks, 1 of scores"),
        ({"crops": crops.astype(float)}, "found float64 .*wanted uint8"),
        ({"landmarks": frames}, "found 3.73 s of signing, wanted at most 2.5"),
        ({"landmarks": np.full((1, 133, 3), "x")}, "wanted numbers"),
    ):
        with pytest.raises(sb.SignBindError, match=said) as error:
            stream.feed(**wrong)
        assert "\n" not in str(error.value)
    stream.feed(frames[half:], first=half)
    assert stream.end().sentence == translator(talk).text
    with pytest.raises(sb.SignBindError, match="frames: found none"):
        stream.end()
    with pytest.raises(sb.SignBindError, match="fps: found 0, wanted"):
        sb.StreamSettings(0)
    nobody = np.zeros((6, 133, 3))
    assert stream.feed(nobody).provisional == {"signing": []}
    with pytest.raises(sb.SignBindError, match="no frame shows shoulders"):
        stream.end()
    assert stream.feed(frames[:6]).seconds == 6 / FPS


def test_values_that_are_not_finite_are_missing_as_in_a_file(translator, talk, frames, tmp_path):
    with np.load(talk) as file:
        fields = dict(file)
    torn, fields["keypoints"] = frames.copy(), fields["keypoints"].copy()
    for xy_tnc in (torn, fields["keypoints"]):
        xy_tnc[10:13, 20:60, 0] = np.nan
        xy_tnc[30] = np.inf
    torn[30, :, 2] = 1
    np.savez(tmp_path / "torn.npz", **fields)
    whole = translator(tmp_path / "torn.npz")
    stream = streaming(translator)
    for piece in pieces(torn, 7):
        stream.feed(piece)
    end = stream.end()
    assert end.translation.streams == whole.streams and end.sentence == whole.text


def test_mouths_and_hands_are_read_beside_each_other(synthetic, tmp_path):
    clip = open_dataset(synthetic).split("test")[0]
    pose = clip.modalities["pose"]
    size, crops = 7, decode_lips(clip)
    for name in ("lipreading", "fingerspelling"):
        run = untrained_runs.write_run(name, tmp_path, **{"data.directory": str(synthetic)})
        reader = ExpertReader.of(open_artefact(run))
        growing = GrowingClip(pose.fps, pose.seconds, crops.shape[1])
        expert = ExpertStream(reader, pose.n)
        for a in range(0, pose.n, size):
            points = np.zeros((len(pose.data[a : a + size]), 133, 3), np.float32)
            points[:, list(WHOLEBODY.source_k)] = pose.data[a : a + size]
            growing.add(points, crops[a : a + size], None, a)
            read = expert.readable(expert.read(growing.so_far()))
        whole = readable(reader.read(ClipList([clip])), reader.vocabulary, 0)
        assert whole and [t.token for t in read] == [t.token for t in whole]


def token(text, middle, width=0.1):
    return sb.TimedToken(text, middle - width / 2, middle + width / 2)


def test_a_token_is_final_once_it_is_past_and_stays_the_same():
    settled = Settled(look_ahead_s=0.5, stable_s=0.2)

    def final(read, newest_s):
        settled.update(read, newest_s)
        return [t.token for t in settled.final]

    a, wrong, n, n2 = token("a", 0.3), token("o", 0.5), token("n", 0.5), token("n", 0.7)
    assert final([a], 0.8) == []  # read once
    assert final([a, wrong], 0.9) == []
    assert final([a, wrong], 1.0) == ["a"]  # read for 0.2 s
    assert final([token("a", 0.35), n], 1.1) == ["a"]  # moved, and not told twice
    assert final([n], 1.2) == ["a"]  # gone, and not taken back; n is new
    assert final([a, n, n2], 1.3) == ["a", "n"]
    assert final([a, n, n2], 1.5) == ["a", "n", "n"]  # the letter twice
    settled.end([a, n, n2, token("e", 1.4)])
    assert [t.token for t in settled.final] == ["a", "n", "n", "e"]
    assert settled.final[0] == a


@pytest.fixture
def translate(translator, capsys):
    """Runs what the command runs; gives exit code, rows of standard output, lines of errors."""

    def run(*arguments) -> tuple[int, list[dict], list[str]]:
        parser = argparse.ArgumentParser()
        translate_module.add_arguments(parser)
        command = ["--checkpoint=run", "--stream", *map(str, arguments)]
        capsys.readouterr()
        code = translate_streams.run(parser.parse_args(command), translator)
        out, err = capsys.readouterr()
        return code, [json.loads(line) for line in out.splitlines()], err.splitlines()

    return run


def test_the_command_reads_files_as_if_they_came(runs, talk, translator, translate, capsys):
    short = runs / "a.npz"
    code, rows, errors = translate(short, talk, "none.npz", "--chunk=0.1", "--look_ahead=0.1")
    whole = translator(short)
    assert code == 1 and {row["clip"] for row in rows} == {str(short)}
    assert [row["seconds"] for row in rows] == [*np.arange(1, 9) / 10, 0.8]
    assert [row["is_final"] for row in rows] == [False] * 8 + [True]
    assert rows[-1]["translation"] == json.loads(json.dumps(whole.to_json() | {"id": "sentence 1"}))
    # The longest clip that it was trained on has 24 frames.
    assert len(errors) == 2 and "found 2.5 s, wanted a sentence of at most 0.8" in errors[1]
    assert "none.npz" in errors[0]
