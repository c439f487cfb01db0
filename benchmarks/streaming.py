"""How far signing read while it goes on agrees with the whole clip, how late, and what it costs.

python -m benchmarks.streaming --checkpoint=RUN --data=DATASET --split=test [--clips=N]
    [--look_aheads=0.2,0.4,0.6,1.0] [--stable=0,0.4] [--chunk=0.2] [--sentences=40]

RUN is an expert or a stage behind experts. The frames of each clip come in chunks, as
`signbind_jax.StreamingTranslator` takes them; after each, all so far are read again, their pose
normalised and their mouths centred by what has come. For every stream, look-ahead and time
of agreement:

- agreement: 1 - edits / tokens of the whole clip, where edits are the insertions, deletions and
  replacements between the final tokens of all updates and the tokens of the whole clip, as
  `signbind evaluate` reads it. It counts all tokens, those too that are final only because the
  clip ended.
- early_agreement: the same with the tokens that were final before the clip's end as denominator:
  only they can be wrong.
- early: share of the final tokens that were so before the clip's end; delay_s: seconds of signing
  from the end of such a token until it was final, mean and 95th percentile.

read_s, sentence_s: processor seconds a second of signing, of all experts together and, of a
translator, of the first N=--sentences clips with a sentence a second too; same_text: how many of
those ended with the text of the whole clip. The last line is all of it as JSON.
"""

import functools
import json
import time
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterator, Sequence
from pathlib import Path

import numpy as np

from benchmarks.harness import describe_machine, make_parser
from signbind_jax import keypoints, streams
from signbind_jax.checkpoint.artefact import open_artefact
from signbind_jax.data.batch import decode_lips, reads_lips
from signbind_jax.data.clip import Clip, TimedToken
from signbind_jax.data.clip_list import ClipList
from signbind_jax.data.dataset import open_dataset
from signbind_jax.metrics.sequence import edit_distance
from signbind_jax.models.signbind import SignBindConfig
from signbind_jax.stages.open_experts import open_reader_of
from signbind_jax.stages.read_streams import ExpertReader, readable
from signbind_jax.use.expert_stream import ExpertStream, Settled
from signbind_jax.use.growing_clip import GrowingClip
from signbind_jax.use.streaming import StreamingTranslator, StreamSettings
from signbind_jax.use.translator import Translator

_SCHEME = "coco_wholebody_133"


def main() -> None:
    """Measures and prints."""
    parser = make_parser(__doc__)
    parser.add_argument("--checkpoint", required=True, type=Path, help="what reads")
    parser.add_argument("--data", required=True, type=Path, help="dataset")
    parser.add_argument("--split", default="validation")
    parser.add_argument("--clips", type=int, default=0, help="evenly over the split; 0: all")
    parser.add_argument("--look_aheads", default="0.2,0.4,0.6,1.0", help="seconds")
    parser.add_argument("--stable", default="0,0.4", help="seconds")
    parser.add_argument("--chunk", type=float, default=0.2, help="seconds")
    parser.add_argument("--sentences", type=int, default=40)
    arguments = parser.parse_args()
    split = open_dataset(arguments.data).split(arguments.split)
    n = min(arguments.clips or len(split), len(split))
    clips = [split[int(i)] for i in np.linspace(0, len(split) - 1, n)]
    found: dict = {"split": arguments.split, "clips": n, "chunk_s": arguments.chunk}
    translator = None
    run = open_artefact(arguments.checkpoint)
    if run.stage in streams.names():
        readers = {run.stage: ExpertReader.of(run)}
    else:
        readers = open_reader_of(run).readers
    if isinstance(run.model_config, SignBindConfig):
        translator = Translator(arguments.checkpoint)
    certain = [
        (float(look_ahead), float(stable))
        for look_ahead in arguments.look_aheads.split(",")
        for stable in arguments.stable.split(",")
    ]
    found |= agreement(readers, clips, certain, arguments.chunk)
    if translator:
        chosen = clips[:: max(1, n // max(1, arguments.sentences))][: arguments.sentences]
        found |= sentences(translator, chosen, arguments.chunk)
    found["machine"] = describe_machine()
    print(json.dumps(found))


def agreement(
    readers: dict[str, ExpertReader],
    clips: Sequence[Clip],
    certain: Sequence[tuple[float, float]],
    chunk_s: float,
) -> dict:
    """What growing clips are read as, beside the whole ones.

    Args:
      certain: pairs of `look_ahead_s` and `stable_s`.
    """
    longest_s = max(clip.modalities["pose"].seconds for clip in clips)
    fps = clips[0].modalities["pose"].fps
    experts = {name: ExpertStream(r, round(longest_s * fps)) for name, r in readers.items()}
    whole = {name: reader.read(ClipList(clips), hidden=False) for name, reader in readers.items()}
    sizes = [r.config.lip_size for r in readers.values() if reads_lips(r.config.frontend)]
    lip_size = sizes[0] if sizes else None
    counts: dict[Hashable, Counter] = defaultdict(Counter)
    delays: dict[Hashable, list[float]] = defaultdict(list)
    processor_s = 0.0
    for i, clip in enumerate(clips):
        growing = GrowingClip(fps, longest_s, lip_size)
        settled = {(name, *of): Settled(*of) for name in experts for of in certain}
        for chunk in chunks(clip, chunk_s, bool(sizes)):
            growing.add(chunk["landmarks"], chunk.get("crops"), None, None)
            start_s = time.process_time()
            so_far = growing.so_far()
            read = {n: each.readable(each.read(so_far)) for n, each in experts.items()}
            if i:  # the first one compiles
                processor_s += time.process_time() - start_s
            for key, each in settled.items():
                before = len(each.final)
                each.update(read[key[0]], growing.seconds)
                delays[key] += [growing.seconds - token.end for token in each.final[before:]]
        for key, each in settled.items():
            early = len(each.final)
            wanted = readable(whole[key[0]], readers[key[0]].vocabulary, i)
            each.end(wanted)
            edits = edit_distance(texts(each.final), texts(wanted))
            row = {"tokens": len(wanted), "early": early, "final": len(each.final), "edits": edits}
            counts[key].update(row)
    seconds = sum(clip.modalities["pose"].seconds for clip in clips[1:])
    table = {}
    for name, look_ahead_s, stable_s in counts:
        key = f"{name}, look-ahead {look_ahead_s:g}, stable {stable_s:g}"
        of = name, look_ahead_s, stable_s
        table[key] = summary(counts[of], delays[of])
        print(f"{key}: {table[key]}", flush=True)
    return {"streams": table, "read_s": round(processor_s / max(seconds, 1e-9), 4)}


def texts(tokens: Sequence[TimedToken]) -> list[str]:
    """What tokens say."""
    return [token.token for token in tokens]


def summary(count: Counter, delay_s: Sequence[float]) -> dict:
    """The figures of a stream with a look-ahead."""
    return {
        "agreement": round(1 - count["edits"] / max(count["tokens"], 1), 4),
        "early_agreement": round(1 - count["edits"] / max(count["early"], 1), 4),
        "early": round(count["early"] / max(count["final"], 1), 3),
        "delay_s": [round(float(x), 2) for x in (np.mean(delay_s), np.percentile(delay_s, 95))]
        if len(delay_s)
        else None,
        "tokens": count["tokens"],
        "edits": count["edits"],
    }


def chunks(clip: Clip, chunk_s: float, crops: bool) -> Iterator[dict[str, np.ndarray]]:
    """The frames of a clip as they come, in a scheme that holds all its keypoints."""
    pose = clip.modalities["pose"]
    landmarks = keypoints.from_canonical(np.asarray(pose.data, np.float32), _SCHEME)
    frames = {"landmarks": landmarks}
    if crops:
        frames["crops"] = decode_lips(clip)
    size = max(1, round(chunk_s * pose.fps))
    for start in range(0, pose.n, size):
        yield {name: x[start : start + size] for name, x in frames.items()}


def sentences(translator: Translator, clips: Sequence[Clip], chunk_s: float) -> dict:
    """What sentences a second cost, and whether they end as those of whole clips."""
    whole = [translator.translate_clips([clip])[0].text for clip in clips]
    fps = clips[0].modalities["pose"].fps
    stream = StreamingTranslator(translator, StreamSettings(fps, chunk_s=chunk_s))
    lips = translator.reader.lip_size is not None
    run = functools.partial(_end_of, stream, lips=lips)
    for clip in clips:  # compiles
        run(clip)
    start_s = time.process_time()
    ended = [run(clip) for clip in clips]
    processor_s = time.process_time() - start_s
    seconds = sum(clip.modalities["pose"].seconds for clip in clips)
    same = sum(a == b for a, b in zip(ended, whole, strict=True))
    return {
        "sentence_s": round(processor_s / seconds, 4),
        "sentences": len(clips),
        "same_text": same,
    }


def _end_of(stream: StreamingTranslator, clip: Clip, lips: bool) -> str:
    *_, last = stream.run(chunks(clip, stream.settings.chunk_s, lips))
    return last.sentence


if __name__ == "__main__":
    main()
