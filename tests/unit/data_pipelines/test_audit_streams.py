"""The audit of token streams that came with clips."""

import dataclasses

from signbind_jax.data.clip import TimedToken
from tests.audit_datasets import audited, clean_clips, finding, told, write


def read_in(clip, tokens, seconds=3.0, **fields):
    """The clip with a stream `mouth` of tokens (start, end), and one that is sound."""
    mouth = tuple(TimedToken(f"m{i % 3}", *times) for i, times in enumerate(tokens))
    streams = {"mouth": mouth, "hand": (TimedToken("h1", 0.5, 1.5), TimedToken("h2", 1.5, 2.5))}
    return dataclasses.replace(clip, streams=streams, seconds=seconds, **fields)


def test_streams_that_came_with_clips_are_counted_and_their_faults_found(tmp_path):
    sound = [(0.0, 1.0), (1.0, 2.0), (1.5, 2.5)]
    splits = {k: [read_in(clip, sound) for clip in v] for k, v in clean_clips().items()}
    sound_notes = {"stream hand": "note", "stream mouth": "note"}
    result = audited(write(tmp_path / "sound", splits))
    assert told(result) == sound_notes
    found = finding(result, "stream mouth").found
    assert "40 of 40 clips (100 %) came with it: 120 tokens of 3 kinds, 1.00 a second" in found
    assert "in 83.3 % of the time" in found  # 2.5 of 3 seconds: two tokens overlap

    test = splits["test"]
    test[0] = read_in(test[0], [])
    test[1] = read_in(test[1], [(0.0, 1.0), (7.5, 8.0)], seconds=8.0, modalities={})
    test[2] = read_in(test[2], [(0.0, 1.0), (2.9, 3.14)], seconds=3.14)
    other = {"mouth": (TimedToken("m9", 0.1, 0.2),)}
    test[3] = dataclasses.replace(test[3], streams=other)
    result = audited(write(tmp_path / "faults", splits))
    assert told(result) == sound_notes | {
        "empty_streams": "warning",
        "silences": "warning",
        "tokens_past_end": "warning",
        "unseen_stream mouth": "note",
    }
    named = ("empty_streams", "silences", "tokens_past_end")
    names = [result.names(finding(result, check)) for check in named]
    assert names == [["test-0"], ["test-1"], ["test-2"]]
    assert "1 of 17 tokens" in finding(result, "unseen_stream mouth").found
