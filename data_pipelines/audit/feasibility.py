"""Checks against configs: what a stage of training would leave out of this dataset, or refuse."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from signbind_jax import ctc, streams
from signbind_jax.config import RunConfig, from_mapping, load_config
from signbind_jax.data import labels
from signbind_jax.data.batch import reads_lips
from signbind_jax.data.dataset import ClipDataset
from signbind_jax.data_pipelines.audit.finding import (
    ERROR,
    NOTE,
    OK,
    WARNING,
    Finding,
    of_total,
    percent,
    skipped,
    worst,
)
from signbind_jax.data_pipelines.audit.survey import SplitSurvey, Survey
from signbind_jax.errors import SignBindError
from signbind_jax.models.expert import ExpertConfig
from signbind_jax.stages.expert import impossible_clips, with_room_for_targets

WHY = (
    "a target longer than the CTC output has no alignment: training leaves such clips out; above "
    "the config's data.max_impossible it takes fewer frames a step, and at one it refuses to start"
)


@dataclass(frozen=True)
class AuditedConfig:
    """A config of an expert, as `signbind train --config` takes it.

    Attributes:
      steps: by split, the CTC steps that each clip's target needs; see `with_steps`.
    """

    spec: str
    run: RunConfig
    model: ExpertConfig
    steps: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class Feasibility:
    """How many clips of a split an expert can use.

    Attributes:
      present: clips that have its modality.
      impossible: those of them whose target is longer than the CTC output.
      empty: those of them whose target is empty.
    """

    config: str
    split: str
    clips: int
    present: int
    impossible: int
    empty: int


def load_configs(specs: Sequence[str]) -> list[AuditedConfig]:
    """Configs by name.

    Raises:
      SignBindError: an unknown config, or one of another stage than the experts'.
    """
    loaded = []
    for spec in dict.fromkeys(specs):
        run = load_config(spec)
        if run.stage not in streams.names():
            raise SignBindError(
                f"--configs: found {spec!r}, a config of stage {run.stage}, wanted "
                f"one of {', '.join(streams.names())}"
            )
        # The vocabulary's size comes with the data and does not change the steps.
        given = {"frontend": streams.get(run.stage).frontend} | run.model | {"n_tokens": 2}
        model = from_mapping(ExpertConfig, given, f"--configs {spec}")
        loaded.append(AuditedConfig(spec, run, model))
    return loaded


def with_steps(survey: Survey, config: AuditedConfig) -> AuditedConfig:
    """The config with the steps that the targets of a dataset need: of the tokens that its
    vocabulary has, as training counts them, and its model with as few frames a step as training
    would take for them. Where it chooses some tokens, labels are read once more.

    Raises:
      SignBindError: see `chosen_vocabulary`.
    """
    stream, data = streams.get(config.run.stage), config.run.data

    def targets(split: str) -> Iterator[tuple[str, ...]]:
        known = survey.labelled - survey.info.withheld(split)
        for clip in ClipDataset(survey.info, split).read_labels():
            yield labels.targets(clip, known)[stream.target]

    steps = {name: x.facts[f"steps_{stream.target}"] for name, x in survey.splits.items()}
    chooses = data.vocabulary or (data.min_count > 1 and data.train in survey.splits)
    if chooses and not stream.alphabet:
        given = data, stream.target, stream.vocabulary
        kept = labels.chosen_vocabulary(*given, targets(data.train))
        steps = {
            name: np.array([ctc.min_steps(kept.encode(target)) for target in targets(name)])
            for name in steps
        }
    model = config.model
    if data.train in survey.splits:
        lengths = _lengths(survey.splits[data.train], config)
        model = with_room_for_targets(model, steps[data.train], lengths, data.max_impossible)
    return replace(config, steps=steps, model=model)


def feasibility(survey: Survey, config: AuditedConfig) -> list[Feasibility]:
    """What training with a config would find, split by split."""
    rows = []
    for name, split in survey.splits.items():
        needed, lengths = config.steps[name], _lengths(split, config)
        impossible = impossible_clips(needed, lengths, config.model)
        rows.append(
            Feasibility(
                config.spec,
                name,
                len(split),
                int((lengths > 0).sum()),
                int(impossible.sum()),
                int(((needed == 0) & (lengths > 0)).sum()),
            )
        )
    return rows


def ctc_targets(survey: Survey, config: AuditedConfig) -> Finding:
    """Clips whose target an expert cannot spell in the steps it has."""
    check = f"ctc_{config.spec}"
    target = streams.get(config.run.stage).target
    train, most = config.run.data.train, config.run.data.max_impossible
    rows = feasibility(survey, config)
    usable = [row for row in rows if row.present > row.empty]
    if not usable:
        what = "mouth crops" if reads_lips(config.model.frontend) else "a pose"
        return Finding(
            check,
            NOTE,
            f"no clip has {what} and a target ({target}): this expert "
            "cannot be trained on this dataset" + _instead(survey, config),
            f"clips with {what} and {target}",
        )
    levels = [OK]
    for row in usable:
        above = row.impossible / row.present > most
        levels.append(
            OK
            if not row.impossible
            else ERROR
            if above and row.split == train
            else WARNING
            if above
            else NOTE
        )
    level = worst(levels)
    found = f"{target} longer than the CTC output: " + "; ".join(
        f"{row.split} {of_total(row.impossible, row.present)}" for row in usable
    )
    advice, asked = "", config.run.model.get("subsample", ExpertConfig.subsample)
    if config.model.subsample < asked:
        found += f"; with {config.model.subsample} instead of {asked} frames a step"
        level = worst((level, NOTE))
    if level in (ERROR, WARNING):
        advice = "mend the times of these clips, or allow them with --config.data.max_impossible"
    clips = []
    for name, split in survey.splits.items():
        bad = impossible_clips(config.steps[name], _lengths(split, config), config.model)
        clips += [((name, int(i)),) for i in np.flatnonzero(bad)]
    return Finding(
        check,
        level,
        found,
        f"{train}: error above {percent(most)} "
        f"(data.max_impossible); other splits: warning above {percent(most)}",
        WHY,
        advice,
        tuple(clips),
    )


def crop_size(survey: Survey, config: AuditedConfig) -> Finding:
    """Mouth crops of another size than a config reads."""
    check, wanted = f"crop_size_{config.spec}", config.model.lip_size
    if not reads_lips(config.model.frontend):
        return skipped(check, "this expert reads no mouth crops")
    if "lip_size" not in config.run.model:
        return skipped(check, "this expert takes mouth crops as they are")
    sizes = {size for split in survey.splits.values() for size in split.tally.lip_sizes}
    if not sizes:
        return skipped(check, "no mouth crops were read")
    other = sorted(size for size in sizes if size != (wanted, wanted))
    told = ", ".join(f"{width}x{height}" for height, width in other or sizes)
    return Finding(
        check,
        WARNING if other else OK,
        f"mouth crops of {told} pixels",
        f"{wanted}x{wanted} (model.lip_size)",
        "the model is made for one size",
        f"train with --config.model.lip_size={other[0][0]}, or build again with --lip_size={wanted}"
        if other
        else "",
    )


def _lengths(split: SplitSurvey, config: AuditedConfig) -> np.ndarray:
    """Frames of the modality the expert reads, by clip."""
    return split.facts["lip_frames" if reads_lips(config.model.frontend) else "pose_frames"]


def _instead(survey: Survey, config: AuditedConfig) -> str:
    has_pose = any((split.facts["pose_frames"] > 0).any() for split in survey.splits.values())
    if reads_lips(config.model.frontend) and has_pose:
        spec = f"{config.run.stage}:frontend=mouth_landmarks"
        return f"; --configs {spec} reads the mouth from the poses"
    return ""
