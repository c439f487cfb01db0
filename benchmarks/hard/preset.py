"""What the hard preset of the synthetic corpus is like, measured without training anything.

    python -m benchmarks.hard.preset [--signers=N]

Language: how signs and text differ. Time: of letters and mouthings. Signs: how many of one signer
are told by those of others, each sign made alone, by the nearest neighbour and by linear
discriminants on the tracked hands resampled to a fixed length; `--signers=0` leaves that out. What
its recordings are like says `python -m benchmarks.real.recordings`.
"""

import collections
import itertools
import random

import numpy as np
import sacrebleu

from benchmarks.harness import make_parser
from signbind_jax import keypoints
from signbind_jax.data import labels
from signbind_jax.data_pipelines.synthetic import body, motion, tracker
from signbind_jax.data_pipelines.synthetic.draw import Word
from signbind_jax.data_pipelines.synthetic.grammar import Sentence
from signbind_jax.data_pipelines.synthetic.hard import corpus, english, signing
from signbind_jax.data_pipelines.synthetic.hard.meaning import Draw
from signbind_jax.data_pipelines.synthetic.hard.signs import articulations
from signbind_jax.data_pipelines.synthetic.hard.words import lexicon
from signbind_jax.data_pipelines.synthetic.lexicon import Entry
from signbind_jax.data_pipelines.synthetic.mouth import NEUTRAL
from signbind_jax.data_pipelines.synthetic.render import FPS
from signbind_jax.data_pipelines.synthetic.signer import Signer
from signbind_jax.data_pipelines.synthetic.timeline import Sign, Timeline

FRAMES = 12  # to which a sign is resampled
RENDINGS = 100  # of a meaning


def language(n: int) -> dict[str, float]:
    """Figures of `n` sentences of the main part."""
    drawn = [corpus.sentence(0, "main", i) for i in range(n)]
    counts = collections.Counter(gloss for one in drawn for gloss in one.gloss)
    log_count = np.log(sorted(counts.values(), reverse=True)[:1000])
    log_rank = np.log(np.arange(1, len(log_count) + 1))
    slope, at = np.polyfit(log_rank, log_count, 1)
    rest = log_count - slope * log_rank - at
    told, untold, n_words, n_signs, in_order = 0, 0, 0, 0, []
    for one in drawn:
        words = labels.pseudo_glosses(one.text, "en")
        signed = [word.entry.sense if word.entry else word.name for word in one.words]
        told += sum(word not in signed for word in words)
        untold += sum(sign not in words for sign in signed)
        n_words, n_signs = n_words + len(words), n_signs + len(signed)
        places = [words.index(sign) for sign in dict.fromkeys(signed) if sign in words]
        in_order += [a < b for a, b in itertools.pairwise(places)]
    signs = np.array(list(articulations().values()))
    apart_gg = (signs[:, None] != signs[None]).sum(-1)
    return {
        "glosses": len(lexicon().glosses),
        "glosses seen": len(counts),
        "Zipf: slope of log count on log rank, first 1000": slope,
        "Zipf: R2": 1 - rest.var() / log_count.var(),
        "signs with another that differs in one parameter, %": 100 * (apart_gg == 1).any(1).mean(),
        "such neighbours of a sign": (apart_gg == 1).sum(1).mean(),
        "signs and spelled words a clip": n_signs / n,
        "clips with a spelled word, %": 100
        * np.mean([any(w.name for w in one.words) for one in drawn]),
        "pseudo-glosses of the text without a sign, %": 100 * told / n_words,
        "signs without a pseudo-gloss, %": 100 * untold / n_signs,
        "neighbours of both in the same order, %": 100 * np.mean(in_order),
    } | paraphrases(100)


def paraphrases(n: int) -> dict[str, float]:
    """How many ways of saying and of signing a meaning `RENDINGS` tries give, as a median."""
    said, signed = [], []
    for i in range(n):
        meaning = Draw(random.Random(f"{i}"), lexicon().topics, "train").meaning()
        tries = [random.Random(f"{i}/{j}") for j in range(RENDINGS)]
        said.append(len({english.write(meaning, rng) for rng in tries}))
        signed.append(len({signing.sign(meaning, rng) for rng in tries}))
    return {
        f"English sentences in {RENDINGS} of a meaning": float(np.median(said)),
        f"signings in {RENDINGS} of a meaning": float(np.median(signed)),
    }


def likeness(n: int) -> dict[str, float]:
    """How alike two sentences of a meaning are."""
    pairs = []
    for i in range(n):
        meaning = Draw(random.Random(f"{i}"), lexicon().topics, "train").meaning()
        pairs.append([english.write(meaning, random.Random(f"{i}/{j}")) for j in range(2)])
    one, other = zip(*pairs, strict=True)
    return {"BLEU-4 of two sentences of a meaning": sacrebleu.corpus_bleu(one, [other]).score}


def timing(n: int) -> dict[str, float]:
    """Figures of the timelines of `n` clips of the main part."""
    made = [corpus.Performance.of(0, "main", i) for i in range(n)]
    rates = [
        1 / np.median(np.diff(spelling.centre_n)) for one in made for spelling in one.line.spellings
    ]
    content = sum(bool(w.entry and w.entry.phonemes) for one in made for w in one.drawn.words)
    mouthed = [(one, mouthing) for one in made for mouthing in one.line.mouthings]
    part = [
        len(mouthing.phonemes) < len(one.drawn.words[mouthing.place].entry.phonemes)
        for one, mouthing in mouthed
    ]
    return {
        "seconds of a clip": np.mean([one.line.duration for one in made]),
        "letters a second, 5th percentile": np.percentile(rates, 5),
        "letters a second, 95th percentile": np.percentile(rates, 95),
        "content words mouthed, %": 100 * len(mouthed) / content,
        "of these in part, %": 100 * np.mean(part),
    }


def isolated(gloss: str, who: Signer, rng: np.random.Generator) -> np.ndarray:
    """What is tracked of one sign made alone, (FRAMES x hands x points x 2), as of a right hand."""
    seconds = float(np.clip(0.45 / who.speed, *who.levers.sign_seconds))
    line = Timeline(signs=[Sign(0, 0.4, 0.4 + seconds)], duration=0.8 + seconds)
    drawn = Sentence((Word(Entry(gloss, gloss, "", "", "")),), "", "")
    time_t = np.arange(int(line.duration * FPS)) / FPS
    strong_tp, weak_tp = motion.hand_motion(drawn, line, who, time_t, rng)
    t = len(time_t)
    still = np.zeros((t, 3))
    points_tk3 = body.keypoints(
        strong_tp,
        weak_tp,
        np.broadcast_to(NEUTRAL, (t, 7)),
        still,
        still[:, 0],
        still[:, 0],
        still,
        who,
    )
    pose_tk3 = tracker.track(points_tk3, who, rng).astype(np.float64)
    hands = [keypoints.RIGHT_HAND_SLICE, keypoints.LEFT_HAND_SLICE]
    at_f = np.linspace(0.4 + who.levers.transition * seconds, 0.4 + seconds, FRAMES) * FPS
    out = []
    for hand in hands[:: -1 if who.left_handed else 1]:
        points = pose_tk3[:, hand]
        xy = points[..., :2] * ((-1, 1) if who.left_handed else (1, 1))
        seen = np.flatnonzero(points[:, 0, 2] > 0)
        if not len(seen):
            out.append(np.zeros((FRAMES, 21 * 2)))
            continue
        flat = xy[seen].reshape(len(seen), -1)
        xy = np.stack([np.interp(at_f, seen, column) for column in flat.T], axis=1)
        xy = xy.reshape(FRAMES, 21, 2)
        # Fingers count as much as the place: they are small.
        out.append(np.concatenate([xy[:, :1], 3 * (xy[:, 1:] - xy[:, :1])], 1).reshape(FRAMES, -1))
    return np.concatenate(out, axis=1).ravel()


def told_apart(n_signers: int) -> dict[str, float]:
    """Share of the signs of one signer that the others' tell, the mean over signers, in percent."""
    people = [corpus.signer(0, "main", i) for i in range(n_signers)]
    glosses = lexicon().glosses
    x_sgd = np.stack(
        [
            [isolated(gloss, who, np.random.default_rng([i, j])) for j, gloss in enumerate(glosses)]
            for i, who in enumerate(people)
        ]
    ).astype(np.float32)
    right = np.arange(len(glosses))
    nearest, linear = [], []
    for i in range(n_signers):
        others = np.delete(x_sgd, i, axis=0)
        mean_gd = others.mean(axis=0)
        nearest.append(
            (_nearest(x_sgd[i], others.reshape(-1, x_sgd.shape[-1])) % len(right)) == right
        )
        within = (others - mean_gd).reshape(-1, x_sgd.shape[-1])
        values, vectors = np.linalg.eigh(within.T @ within / len(within))
        whiten = vectors / np.sqrt(values + 0.02 * values.mean())
        linear.append(_nearest(x_sgd[i] @ whiten, mean_gd @ whiten) == right)
    return {
        "signs told by the nearest neighbour, %": 100 * np.mean(nearest),
        "signs told by linear discriminants, %": 100 * np.mean(linear),
    }


def _nearest(x_nd: np.ndarray, to_md: np.ndarray) -> np.ndarray:
    distance_nm = (to_md**2).sum(1) - 2 * x_nd @ to_md.T
    return distance_nm.argmin(axis=1)


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--signers", type=int, default=5, metavar="N", help="(default: 5)")
    arguments = parser.parse_args()
    found = language(3000) | likeness(1000) | timing(500)
    if arguments.signers:
        found |= told_apart(arguments.signers)
    print("| measured | hard preset |\n|---|---|")
    for what, value in found.items():
        print(f"| {what} | {value:.4g} |")


if __name__ == "__main__":
    main()
