"""`signbind data order`: in which order a dataset's pseudo-glosses are signed, by an expert."""

import argparse
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

from signbind_jax import streams
from signbind_jax.checkpoint.artefact import open_artefact
from signbind_jax.data.clip import Clip
from signbind_jax.data.dataset import open_dataset
from signbind_jax.data.sign_order import SignOrder, write_sign_order
from signbind_jax.data_pipelines import found_in_split
from signbind_jax.errors import SignBindError
from signbind_jax.stages.likeliest_steps import likeliest_steps
from signbind_jax.stages.open_experts import check_expert


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `signbind data order`."""
    found_in_split.add_arguments(parser, "gloss")
    parser.add_argument(
        "--checkpoint",
        type=Path,
        required=True,
        metavar="RUN",
        help="a trained expert that reads glosses",
    )


def run(arguments: argparse.Namespace) -> int:
    """Looks in each clip for where an expert finds each pseudo-gloss likeliest.

    In the order of these moments they are the targets of another signing expert, where
    --config.data.sign_order names the file.
    """
    dataset = open_dataset(arguments.dataset)
    clips = dataset.split(arguments.split)
    if "gloss" in dataset.labelled - dataset.withheld(clips.name):
        raise SignBindError(
            f"{arguments.dataset}: split {clips.name}: found glosses, which stand in their order, "
            "wanted clips whose glosses derive from the text"
        )
    expert = open_artefact(arguments.checkpoint)
    if expert.stage not in streams.names() or streams.get(expert.stage).target != "gloss":
        raise SignBindError(
            f"{arguments.checkpoint}: stage: found {expert.stage}, wanted an expert that reads "
            "glosses"
        )
    check_expert(expert.stage, expert, str(arguments.checkpoint))
    truth = found_in_split.read_truth(arguments, clips)
    glosses = [target["gloss"] for target in clips.targets]
    found = SignOrder(clips.digest, likeliest_steps(expert, clips, glosses))
    ordered = [found.ordered(*given) for given in zip(clips.ids, glosses, strict=True)]
    counts: dict = {
        "clips": len(clips),
        "clips with an expert's input": len(found.seen),
        "pseudo-glosses": sum(map(len, glosses)),
        "of them known to the expert": sum(map(len, found.seen.values())),
        "clips in another order": sum(a != b for a, b in zip(glosses, ordered, strict=True)),
    }
    if truth is not None:
        counts |= {
            "neighbours in signed order, text": in_order(glosses, truth),
            "neighbours in signed order, found": in_order(ordered, truth),
        }
    write_sign_order(arguments.out, found, expert=expert.digest, counts=counts)
    found_in_split.tell(arguments, counts)
    return 0


def in_order(glosses: Sequence[Sequence[str]], truth: Mapping[str, Clip]) -> float | None:
    """Of the neighbours that are both signed, the share in percent that are signed in this order;
    None where there are none. A gloss counts once a clip."""
    right = []
    for own, clip in zip(glosses, truth.values(), strict=True):
        signed = [gloss for gloss in dict.fromkeys(own) if gloss in clip.gloss]
        right += [clip.gloss.index(a) < clip.gloss.index(b) for a, b in itertools.pairwise(signed)]
    return 100.0 * sum(right) / len(right) if right else None
