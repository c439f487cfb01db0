"""What a server compiles ahead: all that usual recordings need, and no more."""

import jax
import numpy as np
import pytest

import signbind_jax as sb
from signbind_jax.data.clip import Clip, TimedToken, pose_frames
from signbind_jax.data.clip_list import ClipList
from signbind_jax.serve.warm_up import warm_ups

BATCH_SIZE, SECONDS, FPS = 3, 2.5, 30.0


@pytest.fixture
def compiled():
    """How many programs XLA has compiled or loaded since, as one number in a list."""
    count = [0]

    def note(event: str, *_, **__) -> None:
        count[0] += event == "/jax/core/compile/backend_compile_duration"

    jax.clear_caches()
    jax.monitoring.register_event_duration_secs_listener(note)
    yield count
    jax.monitoring.unregister_event_duration_listener(note)


def recording(random, frames: int) -> Clip:
    points_tkc = random.normal(0, 0.5, (frames, 91, 3)).astype(np.float16)
    points_tkc[..., 2] = 1
    return Clip("recording", "", modalities={"pose": pose_frames(points_tkc, FPS)})


def tokens(translator, random, n: int) -> Clip:
    known = translator.reader.vocabulary("signing").tokens[1:]
    rows = [TimedToken(known[i % len(known)], i / 30, i / 30 + 0.02) for i in range(n)]
    return Clip("tokens", "", streams={"signing": tuple(rows)}, seconds=SECONDS)


def test_what_is_compiled_ahead_is_what_usual_recordings_need(runs, compiled):
    translator = sb.load_translator(runs / "alignment", max_new_tokens=2)
    calls = warm_ups(translator, SECONDS, BATCH_SIZE)
    # One and two rows of 256 frames hold three recordings; room for 32 and 64 tokens in 1, 2 and 4.
    assert len(calls) == 2 + 2 * 3
    for call in calls:
        before = compiled[0]
        call()
        assert compiled[0] > before, "compiled before"
    ahead, random = compiled[0], np.random.default_rng(0)
    for n in range(1, BATCH_SIZE + 1):
        for _ in range(4):
            frames = random.integers(1, int(SECONDS * FPS) + 1, n).tolist()
            translator.read(ClipList([recording(random, f) for f in frames]))
            counts = random.integers(1, int(SECONDS * 20) + 1, n).tolist()
            translator.translate_clips([tokens(translator, random, k) for k in counts])
    assert compiled[0] == ahead, "not compiled ahead"


def test_nothing_is_compiled_ahead_where_nothing_is_asked_for(runs):
    assert warm_ups(sb.load_translator(runs / "alignment"), 0, 8) == []
