"""What a sweep leaves on disk, and what can be read back from it at any time.

`sweep.json` says which points there are. Each point's directory is a run directory of `signbind
train`, with `point.json` (under which conditions it runs, and how it failed) and `train.log`
beside what training writes. Nothing else keeps state: a sweep that was killed is known from this.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from signbind_jax import files, sealed
from signbind_jax.checkpoint import artefact
from signbind_jax.config import RunConfig
from signbind_jax.data.folds import fold_directories
from signbind_jax.data.mixture import open_data
from signbind_jax.errors import SignBindError
from signbind_jax.report.run_files import number, read_log
from signbind_jax.sweep.points import Point, Sweep
from signbind_jax.train.summary import summary_or_none

SWEEP_FILE, POINT_FILE, LOG_FILE, LOCK_FILE = "sweep.json", "point.json", "train.log", "point.lock"
# What these files held when they carried no digest.
_SWEEP_FIELDS = frozenset({"sweep", "stage", "overrides", "varying", "validation", "points"})
_POINT_FIELDS = frozenset({"values", "conditions", "failure"})
FINISHED, UNFINISHED, FAILED, WAITING = "finished", "unfinished", "failed", "not started"


@dataclass(frozen=True)
class Outcome:
    """How far a point is.

    Attributes:
      index, name, values: see `Point`; values in JSON's types.
      directory: its run directory.
      state: FINISHED, UNFINISHED (it goes on from `step`), FAILED or WAITING.
      step, steps: last logged step, and how many there are to do.
      seconds: of training, all attempts together; None before there are any.
      scores: on the validation split, by metric; empty before it is finished.
      loss: of the last logged training step.
      error: why it failed, in one line.
    """

    index: int
    name: str
    values: dict[str, Any]
    directory: Path
    state: str
    step: int
    steps: int
    seconds: float | None = None
    scores: dict[str, float] = field(default_factory=dict)
    loss: float | None = None
    error: str = ""


@dataclass(frozen=True)
class Record:
    """A sweep as its directory holds it.

    Attributes:
      spec, overrides, varying: see `Sweep`.
      stage: what it trains.
      validation: the split that scores are taken on; empty: none are.
      outcomes: one a point, in order.
      other_points: run directories that belong to no point of the sweep, such as those of values
        that were taken out of it.
    """

    workdir: Path
    spec: str
    stage: str
    overrides: dict[str, str]
    varying: tuple[str, ...]
    validation: str
    outcomes: tuple[Outcome, ...]
    other_points: tuple[str, ...]


def write_record(workdir: Path, sweep: Sweep) -> None:
    """Writes `sweep.json`.

    Raises:
      SignBindError: another sweep lives in `workdir`.
    """
    path = workdir / SWEEP_FILE
    if path.exists():
        found = _read_json(path, _SWEEP_FIELDS)
        for name, wanted in (("sweep", sweep.spec), ("stage", sweep.stage)):
            if found.get(name) != wanted:
                raise SignBindError(
                    f"{path}: {name}: found {found.get(name)!r}, wanted "
                    f"{wanted!r}; another sweep lives here: give another "
                    "--workdir"
                )
    points = [
        {"name": p.name, "values": p.values, "steps": p.config.steps, "config": p.config.digest}
        for p in sweep.points
    ]
    _write_json(
        path,
        {
            "sweep": sweep.spec,
            "stage": sweep.stage,
            "overrides": sweep.overrides,
            "varying": sweep.varying,
            "validation": sweep.points[0].config.data.validation,
            "points": points,
        },
    )


def read_record(workdir: Path) -> Record:
    """The sweep of a directory and how far its points are.

    Raises:
      SignBindError: no sweep there, or its `sweep.json` is damaged.
    """
    path = workdir / SWEEP_FILE
    record = _read_json(path, _SWEEP_FIELDS)
    try:
        outcomes = tuple(
            read_outcome(workdir, i, p["name"], p["values"], p["steps"], p.get("config", ""))
            for i, p in enumerate(record["points"])
        )
        known = {outcome.name for outcome in outcomes}
        other_points = sorted(
            p.parent.name for p in workdir.glob(f"*/{POINT_FILE}") if p.parent.name not in known
        )
        return Record(
            workdir,
            record["sweep"],
            record["stage"],
            record["overrides"],
            tuple(record["varying"]),
            record["validation"],
            outcomes,
            tuple(other_points),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise SignBindError(
            f"{path}: {error!r}: not what a sweep writes; run the sweep again to "
            "have it written anew, after removing it"
        ) from None


def read_outcome(
    workdir: Path, index: int, name: str, values: dict, steps: int, config_digest: str
) -> Outcome:
    """How far a point is, from its directory alone."""
    directory = workdir / name
    summary = summary_or_none(directory, "taken as not finished", config_digest) or {}
    failure = _read_point(directory).get("failure")
    step, loss = _last_step(directory)
    finished = summary.get("finished") is True
    scores = {k: v for k, v in summary.get("scores", {}).items() if number(v) is not None}
    begun = step > 0 or (directory / artefact.FILE).exists()
    state = FINISHED if finished else FAILED if failure else UNFINISHED if begun else WAITING
    return Outcome(
        index,
        name,
        values,
        directory,
        state,
        step=summary["step"] if finished else step,
        steps=summary["step"] if finished else steps,  # epochs and patience decide it, too
        seconds=number(summary.get("seconds")),
        scores=scores if finished else {},
        loss=loss,
        error=failure if state == FAILED else "",
    )


def outcome_of(workdir: Path, point: Point) -> Outcome:
    """How far a point of a sweep is."""
    config = point.config
    return read_outcome(workdir, point.index, point.name, point.values, config.steps, config.digest)


def conditions(config: RunConfig) -> dict[str, Any]:
    """What a point's score hangs on beside the config's digest: data, split, parents.

    Raises:
      SignBindError: the dataset cannot be opened.
    """
    parents = {}
    for name, place in (config.parents | {artefact.INIT: config.init_from}).items():
        if place and (Path(place) / artefact.FILE).exists():
            parents[name] = artefact.open_artefact(place).digest
        elif place:
            parents[name] = place
    for name, directory in config.crossfit.items():
        for k, place in fold_directories(Path(directory)).items() if directory else ():
            parents[f"{name}/fold{k}"] = artefact.open_artefact(place).digest
    if not config.data.directory:
        raise SignBindError(
            "config.data.directory: found nothing, wanted a dataset; give "
            "--config.data.directory=DIR"
        )
    found = {
        "data": open_data(config.data).digest,
        "validation": config.data.validation,
        "parents": parents,
    }
    if config.data.vocabulary:
        found["vocabulary"] = sealed.digest(files.read_text(config.data.vocabulary))
    return found


def check_point(workdir: Path, point: Point, wanted: dict[str, Any]) -> None:
    """Refuses a point whose directory was trained with another config or on other data.

    Raises:
      SignBindError: names the first field that differs.
    """
    directory = workdir / point.name
    if (directory / artefact.FILE).exists():
        artefact.check_resumable(directory, point.config)
    found = _read_point(directory).get("conditions", wanted)
    for name, value in wanted.items():
        if found.get(name) != value:
            raise SignBindError(
                f"{directory / POINT_FILE}: {name}: found "
                f"{_short(found.get(name))}, wanted {_short(value)}; it was "
                "trained under other conditions: give another --workdir or remove "
                "it"
            )


def note_start(workdir: Path, point: Point, wanted: dict[str, Any]) -> None:
    """Makes a point's directory and forgets an earlier failure."""
    directory = workdir / point.name
    directory.mkdir(parents=True, exist_ok=True)
    _write_json(directory / POINT_FILE, {"values": point.values, "conditions": wanted})


def note_failure(workdir: Path, point: Point, error: str) -> None:
    """Keeps why a point failed."""
    directory = workdir / point.name
    known = _read_point(directory)
    _write_json(directory / POINT_FILE, {**known, "failure": " ".join(error.split())})


def _last_step(directory: Path) -> tuple[int, float | None]:
    path = directory / "metrics.jsonl"
    if not path.exists():
        return 0, None
    points = read_log(path).curves.get("loss", {}).get("train", [])
    return points[-1] if points else (0, None)


def _read_json(path: Path, unsealed: frozenset[str], missing: dict | None = None) -> dict:
    if not path.exists():
        if missing is not None:
            return missing
        raise SignBindError(
            f"{path}: no such file; wanted the --workdir of a sweep that was started"
        )
    try:
        return sealed.read(path, unsealed)
    except SignBindError as error:
        raise SignBindError(f"{error}; remove it and run the sweep again") from error


def _read_point(directory: Path) -> dict:
    return _read_json(directory / POINT_FILE, _POINT_FIELDS, missing={})


def _write_json(path: Path, record: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    sealed.write(path, record)


def _short(value) -> str:
    text = json.dumps(value) if isinstance(value, dict) else repr(value)
    return text if len(text) <= 60 else f"{text[:40]}..."
