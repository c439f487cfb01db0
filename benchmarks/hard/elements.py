"""What the rows of the hard preset's table are: the plain recipe, and what is added to it.

`PLAIN` is the shipped configs as they are, `ELEMENTS` what is added alone and, where it pays, to
the final recipe.
"""

import functools
import operator
from collections.abc import Collection
from dataclasses import dataclass

from benchmarks.hard.recipe import BEHIND, STAGES, WRITERS, Recipe, Run, of_stages


@dataclass(frozen=True)
class Element:
    """Something that is added to a recipe.

    Attributes:
      says: what it is, a few words.
      adds: what is laid over a recipe.
    """

    says: str
    adds: Recipe


def _briefly(parts: tuple[str, ...], steps: int, ordered: bool = False, **data: object) -> Run:
    """So many steps, whatever schedule the recipe has; `data` are values of that section."""
    own = {f"data.{name}": value for name, value in data.items()}
    return Run(parts, {"epochs": 0.0, "steps": steps} | own, ordered)


# The only letters that anybody labelled are those of the labelled part.
PLAIN = Recipe(
    parts={**dict.fromkeys(STAGES, ("main",)), "fingerspelling": ("labelled",)},
)

ELEMENTS = {
    "epochs": Element(
        "schedules in epochs of the corpus: experts 40 (fingerspelling 120), fusion 40",
        of_stages(("signing", "lipreading", "fusion"), epochs=40)
        | of_stages(("fingerspelling",), epochs=120),
    ),
    "short_first": Element(
        "signing starts from 1,500 steps on the clips of at most 2.6 seconds",
        Recipe(before={"signing": (_briefly((), 1500, longest_s=2.6),)}),
    ),
    "labelled_first": Element(
        "signing starts from 1,200 steps on the labelled part",
        Recipe(before={"signing": (_briefly(("labelled",), 1200, min_count=1),)}),
    ),
    "weak": Element(
        "signing and lipreading start from experts of the weakly labelled part",
        Recipe(before=dict.fromkeys(("signing", "lipreading"), (Run(("weak",)),))),
    ),
    "mixture": Element(
        "signing and lipreading learn the main, the weakly labelled and the spotted part together",
        Recipe(parts=dict.fromkeys(("signing", "lipreading"), ("main", "weak", "spotted"))),
    ),
    "labelled": Element(
        "the signing expert also learns the labelled part, each clip four times an epoch",
        Recipe(parts={"signing": ("main", "labelled")})
        | of_stages(("signing",), data__weights="1,4"),
    ),
    "all_parts": Element(
        "6,000 steps of signing, which learns all parts, each labelled clip four times an epoch",
        Recipe(parts={"signing": ("main", "weak", "spotted", "labelled")})
        | of_stages(("signing",), data__weights="1,1,1,4", steps=6000),
    ),
    "ordered": Element(
        "another 3,000 and 9,000 steps of signing, before each of which pseudo-glosses are put in "
        "the order in which it sees them",
        Recipe(after={"signing": tuple(_briefly((), n, ordered=True) for n in (3000, 9000))}),
    ),
    "labelled_lips": Element(
        "lipreading learns the labelled part alone, where it is told which words are mouthed",
        Recipe(parts={"lipreading": ("labelled",)}),
    ),
    "min_count": Element(
        "tokens that training has less than 3 times are no targets of signing and fusion",
        of_stages(("signing", "fusion"), data__min_count=3),
    ),
    "strong_augmentation": Element(
        "signing: dropout 0.2, tempo 0.3, 15 degrees, shear and scale 0.2, 4 masks",
        of_stages(
            ("signing",),
            model__dropout=0.2,
            augment__speed=0.3,
            augment__rotation=15.0,
            augment__scale=0.2,
            augment__shear=0.2,
            augment__time_masks=4,
        ),
    ),
    "crossfit": Element(
        "training streams of signing and lipreading from 4 experts that have not seen the signer",
        Recipe(folds={"signing": 4, "lipreading": 4}),
    ),
    "matched_noise": Element(
        "as many stream tokens lost and replaced as unseen streams have more errors",
        Recipe(matched_noise=True),
    ),
    "unread": Element(
        "runs of a third of a second in which an expert reads nothing are tokens",
        of_stages(BEHIND, data__unread_s=0.33),
    ),
    "drop_hidden": Element(
        "seven stream tokens in ten lose their hidden vectors, not three",
        of_stages(BEHIND, augment__drop_hidden=0.7),
    ),
    "spellings": Element(
        "spelled words found in the sentences, fingerspelling and all behind it trained with them",
        Recipe(spellings=True, parts={"fingerspelling": ("main", "labelled")}),
    ),
    "shape_reader": Element(
        "spelled words are looked for in what an expert of hand shapes alone reads",
        Recipe(
            reader=Run(
                argument="frontend=hand_shape",
                values={
                    "steps": 1200,
                    "model.subsample": 1,
                    "augment.speed": 0.15,
                    "optim.average": 0.1,
                },
            )
        ),
    ),
    "more_letters": Element(
        "another 5,400 steps of fingerspelling, with words found in the weak and spotted part too",
        Recipe(
            after={
                "fingerspelling": (_briefly(("main", "weak", "spotted", "labelled"), 5400),),
            }
        ),
    ),
    "ordered_targets": Element(
        "the decoder and fusion learn pseudo-glosses in the order of the signs",
        Recipe(ordered=True),
    ),
    "more_text": Element(
        "the decoder and all behind the experts learn the weakly labelled and spotted part too",
        Recipe(
            parts=dict.fromkeys(("language_model", *BEHIND), ("main", "weak", "spotted")),
        )
        | of_stages(("fusion",), steps=2400),
    ),
    "made_up_names": Element(
        "in seven prompts and sentences of ten of the decoder a word becomes a made-up name",
        of_stages(("language_model",), options__made_up_names=0.7),
    ),
    "noisy_prompts": Element(
        "the decoder learns from prompts that lack a third of their lemmas, a sixth is wrong",
        of_stages(("language_model",), options__drop=0.33, options__substitute=0.17),
    ),
    "spelled_text": Element(
        "runs of surely read letters as text in the prompt",
        of_stages(("alignment", "translation"), options__spelled_text=0.7),
    ),
    "whole_words": Element(
        "the decoder has 4,000 tokens of BPE, so that nearly every word is one",
        of_stages(("language_model",), options__bpe_vocabulary=4000),
    ),
    "longer_decoder": Element(
        "4,800 steps of the decoder in place of 1,600",
        of_stages(("language_model",), steps=4800),
    ),
    "longer_alignment": Element(
        "600 steps of alignment in place of 150", of_stages(("alignment",), steps=600)
    ),
    "slow_translation": Element(
        "translation at a seventh of the rate: it unlearns to copy names",
        of_stages(("translation",), optim__learning_rate=1e-4, steps=500),
    ),
    "regularised": Element(
        "decoder: dropout 0.1, averaged weights; what tunes it: dropout 0.2, smoothing too",
        of_stages(
            ("language_model",), model__dropout=0.1, optim__average=0.1, options__close_up=True
        )
        | of_stages(
            ("alignment", "translation"),
            model__dropout=0.2,
            options__smoothing=0.1,
            optim__average=0.1,
        ),
    ),
    "smoothing": Element(
        "label smoothing of sentences, 0.1", of_stages(WRITERS, options__smoothing=0.1)
    ),
    "average": Element(
        "weights averaged over a tenth of the steps", of_stages(STAGES, optim__average=0.1)
    ),
    "best_step": Element(
        "the step of translation with the best BLEU-4 on validation, not the last",
        of_stages(("translation",), keep_best=True, evaluate_every=100)
        | Recipe(writing={"step": "best"}),
    ),
    "slow_decoder": Element(
        "translation: the decoder learns at a fifth of the rate",
        Recipe(given={"translation": {"optim.factors.decoder": 0.2}}),
    ),
    "read_alone": Element(
        "the decoder gets the vectors of what fusion read, on their text, and no soft prefix",
        of_stages(("alignment", "translation"), options__soft_prefix="read"),
    ),
    "natural": Element(
        "size=natural behind the experts: dropout, smoothing, averages, more BPE tokens, "
        "longer schedules, beams, no soft prefix",
        Recipe(size=dict.fromkeys(("language_model", *BEHIND), "natural")),
    ),
    "end_to_end": Element(
        "signing and lipreading tuned for 400 steps by the sentence loss too, then translation",
        Recipe(
            end_to_end={
                **dict.fromkeys(
                    ("signing", "lipreading"),
                    {"epochs": 0.0, "steps": 400, "optim.learning_rate": 1e-4},
                ),
                "translation": {"epochs": 0.0, "steps": 300},
            }
        ),
    ),
    "beams": Element(
        "sentences by beams of 4, nothing is trained", Recipe(writing={"beam_size": 4})
    ),
    "no_loops": Element(
        "no three tokens in a row stand twice in a sentence, nothing is trained",
        Recipe(writing={"no_repeat_ngram_size": 3}),
    ),
}


# What the stages behind the experts have, whatever they learn from.
_SENTENCES = (
    "made_up_names",
    "longer_alignment",
    "slow_translation",
    "spelled_text",
    "read_alone",
    "regularised",
    "beams",
    "no_loops",
)

# What the final recipe is made of; those that brought most first.
FINAL = (
    "labelled_first",
    "all_parts",
    "ordered",
    "labelled_lips",
    "min_count",
    "spellings",
    "shape_reader",
    "more_letters",
    "more_text",
    "ordered_targets",
    "whole_words",
    "longer_decoder",
    *_SENTENCES,
)


def adding(names: Collection[str]) -> Recipe:
    """What several elements add, always in the same order: they may set the same field."""
    return functools.reduce(
        operator.or_, (element.adds for name, element in ELEMENTS.items() if name in names)
    )


def final(without: Collection[str] = ()) -> Recipe:
    """The final recipe, or what is left of it without some elements."""
    return PLAIN | adding({*FINAL} - {*without})


# What a system of few clips starts from.
_WEAK = (
    PLAIN
    | Recipe(parts=dict.fromkeys(("signing", "language_model", *BEHIND), ("weak",)))
    | adding(
        (
            "labelled_first",  # signing: nothing is read of weak clips before
            "ordered",
            "labelled_lips",
            "min_count",
            "shape_reader",
            "ordered_targets",
            "whole_words",
            "longer_decoder",
            *_SENTENCES,
        )
    )
    | Recipe(spellings=True, parts={"fingerspelling": ("weak", "labelled")})
)

# Few clips are soon learnt by heart: what is behind the experts gets streams of unseen ones.
_LABELLED = Recipe(parts=dict.fromkeys(STAGES, ("labelled",))) | adding(
    ("crossfit", "best_step", *_SENTENCES)
)
# What knows already goes through them 10 to 30 times.
_TUNING = (
    of_stages(("fusion",), steps=300)
    | of_stages(("alignment",), steps=100)
    | of_stages(("translation",), steps=100, evaluate_every=25)
)

# What is no element: an upper bound, and a pair of its own.
OTHERS = {
    "gold": Element(
        "nothing withheld: what labels of the main part would give",
        Recipe(parts=dict.fromkeys(STAGES, ("gold",))),
    ),
    "labelled_alone": Element(
        "all stages on the 500 labelled clips",
        _LABELLED | of_stages(("fusion",), steps=1200),
    ),
    "labelled_after_weak": Element(
        "all stages on the 500 labelled clips, each from that of the weakly labelled ones",
        _LABELLED | _TUNING | Recipe(start=_WEAK),
    ),
}
