"""Reads the files of a run leniently: what is missing or broken becomes a note, not a crash."""

import math
from dataclasses import dataclass, field
from pathlib import Path

from signbind_jax import files, sealed, streams
from signbind_jax.data.vocabulary import UNREAD
from signbind_jax.errors import SignBindError
from signbind_jax.train.metric_lines import record_of

# A logged value beyond this is a diverged run's, not a point of a curve.
_LARGEST = 1e30
_LAST_STEP = 2**53  # beyond it floats are not exact
_EXAMPLES_BYTES = 2**28


@dataclass(frozen=True)
class Token:
    """One token read by an expert: start and end in seconds, confidence 0..1."""

    text: str
    start: float
    end: float
    confidence: float


@dataclass(frozen=True)
class Example:
    """One clip of examples.json; an absent part is None or empty.

    Attributes:
      streams: stream name -> tokens; a stream that was not recorded has no entry.
      unread: stream name -> the whiles in which nothing was read, as tokens (`data.unread_s`).
      truth: stream name -> the tokens that were really signed, spelled or mouthed.
      poses: (seconds, points k x 3 as x, y, confidence in shoulder widths).
      mouths: (seconds, PNG as base64).
    """

    id: str
    split: str
    signer: str
    duration: float | None
    reference: str
    hypotheses: dict[str, str]
    names: tuple[str, ...]
    streams: dict[str, list[Token]]
    unread: dict[str, list[Token]]
    truth: dict[str, list[str]]
    fused: list[str] | None
    poses: list[tuple[float, list]]
    mouths: list[tuple[float, str]]


@dataclass(frozen=True)
class StageLog:
    """metrics.jsonl of a stage: metric -> kind ("train", "validation") -> (step, value) pairs."""

    curves: dict[str, dict[str, list[tuple[int, float]]]]
    unreadable_lines: int = 0
    not_finite: int = 0


@dataclass(frozen=True)
class Run:
    """All that the report is made from.

    Attributes:
      results: results.json as it stands, an object; read it through the methods.
      logs: stage -> its log; a stage without a readable log has no entry.
      examples: clips to show.
      notes: one sentence for each part that is missing or unreadable.
    """

    results: dict
    logs: dict[str, StageLog]
    examples: list[Example]
    notes: list[str] = field(default_factory=list)

    @property
    def stages(self) -> dict[str, dict]:
        """Stage -> its metrics, in order of work; stages with other names in theirs behind."""
        stages = {k: v for k, v in as_dict(self.results.get("stages")).items() if as_dict(v)}
        known = [name for name in streams.stages() if name in stages]
        return {name: stages[name] for name in [*known, *(s for s in stages if s not in known)]}

    @property
    def variants(self) -> dict[str, dict]:
        """Variant of the system -> its translation scores."""
        translation = as_dict(self.results.get("translation"))
        return {name: scores for name, scores in translation.items() if as_dict(scores)}

    @property
    def corpus(self) -> dict:
        """What was trained on."""
        return as_dict(self.results.get("corpus"))


def read_run(run_dir: Path) -> Run:
    """Reads results.json, every stage's metrics.jsonl and examples.json of a run.

    Raises:
      SignBindError: results.json is missing or is not a JSON object.
    """
    notes: list[str] = []
    results = _read_results(run_dir / "results.json", notes)
    for part, found in (
        ("stage scores", "stages"),
        ("translation scores", "translation"),
        ("description of the corpus", "corpus"),
    ):
        if not as_dict(results.get(found)):
            notes.append(f"results.json has no {part} (field {found}).")
    logs = {}
    for path in sorted(run_dir.glob("*/metrics.jsonl")):
        try:
            logs[path.parent.name] = read_log(path)
        except (OSError, SignBindError) as error:
            notes.append(f"{path.parent.name}/metrics.jsonl cannot be read ({_one_line(error)}).")
    for stage in as_dict(results.get("stages")):
        if stage not in logs:
            notes.append(
                f"There is no readable {stage}/metrics.jsonl: its learning curves are not shown."
            )
    for stage, log in logs.items():
        if log.unreadable_lines:
            notes.append(
                f"{stage}/metrics.jsonl: {log.unreadable_lines} unreadable lines left out."
            )
        if log.not_finite:
            notes.append(
                f"{stage}/metrics.jsonl: {log.not_finite} values are not finite "
                "numbers and are not drawn; training may have diverged there."
            )
    return Run(results, logs, _read_examples(run_dir / "examples.json", notes), notes)


def number(value) -> float | None:
    """`value` as a finite float, or None (booleans and text are not numbers)."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def as_dict(value) -> dict:
    """`value` where it is a dict, otherwise an empty one."""
    return value if isinstance(value, dict) else {}


def as_list(value) -> list:
    """`value` where it is a list, otherwise an empty one."""
    return value if isinstance(value, list) else []


def text(value) -> str:
    """`value` as text; a dict with a token or text field stands for that field."""
    if isinstance(value, dict):
        value = value.get("token", value.get("text"))
    return "" if value is None else str(value)


def _read_results(path: Path, notes: list[str]) -> dict:
    if not path.exists():
        raise SignBindError(
            f"{path}: not found; wanted the results of a finished run, give its directory"
        )
    try:
        results = files.read_json(path)
    except SignBindError as error:
        raise SignBindError(f"{error}; run the evaluation again") from error
    if not isinstance(results, dict):
        raise SignBindError(
            f"{path}: found a JSON {type(results).__name__}, wanted an object with the fields "
            "stages and translation; run the evaluation again"
        )
    if "digest" in results:
        try:
            return sealed.unseal(results, path.name)
        except SignBindError as error:
            notes.append(f"{error}: its figures may be others than those of the run.")
    return results


def read_log(path: Path) -> StageLog:
    """A stage's metrics.jsonl, whatever of it is readable."""
    # A resumed run repeats steps: the later line counts, so points are keyed by step.
    points: dict[str, dict[str, dict[int, float]]] = {}
    unreadable = not_finite = 0
    files.check_regular(path)
    with path.open("rb") as lines:
        for line in lines:
            if not line.strip():
                continue
            record = record_of(line)
            if record is None or abs(record["step"]) > _LAST_STEP:
                unreadable += 1
                continue
            step, kind = record["step"], record["kind"]
            for name, value in record.items():
                if name in ("step", "kind", "seconds") or not isinstance(value, int | float):
                    continue
                if number(value) is None or abs(value) > _LARGEST:
                    not_finite += not isinstance(value, bool)
                    continue
                points.setdefault(name, {}).setdefault(kind, {})[step] = float(value)
    curves = {
        name: {kind: sorted(by_step.items()) for kind, by_step in kinds.items()}
        for name, kinds in points.items()
    }
    return StageLog(curves, unreadable, not_finite)


def _read_examples(path: Path, notes: list[str]) -> list[Example]:
    if not path.exists():
        notes.append("There is no examples.json: no example clips are shown.")
        return []
    try:
        records = files.read_json(path, _EXAMPLES_BYTES)
    except SignBindError as error:
        notes.append(f"examples.json is not readable ({_one_line(error)}): no examples are shown.")
        return []
    examples = [_example(record) for record in as_list(records) if isinstance(record, dict)]
    if not examples:
        notes.append("examples.json holds no examples.")
    return examples


def _example(record: dict) -> Example:
    read, true = as_dict(record.get("streams")), as_dict(record.get("true"))
    skeleton, mouths = as_dict(record.get("skeleton")), as_dict(record.get("mouths"))
    fused = record.get("fused")
    given = {k: _tokens(v) for k, v in read.items() if isinstance(v, list)}
    return Example(
        id=text(record.get("id")) or "clip without an id",
        split=text(record.get("split")),
        signer=text(record.get("signer")),
        duration=number(record.get("duration_s")),
        reference=text(record.get("reference")),
        hypotheses={k: text(v) for k, v in as_dict(record.get("hypotheses")).items()},
        names=tuple(text(name) for name in as_list(record.get("names")) if text(name).strip()),
        streams={k: [t for t in tokens if t.text != UNREAD] for k, tokens in given.items()},
        unread={k: [t for t in tokens if t.text == UNREAD] for k, tokens in given.items()},
        truth={
            stream.name: [text(item) for item in true[stream.true_field]]
            for stream in streams.specs()
            if isinstance(true.get(stream.true_field), list)
        },
        fused=[text(item) for item in fused] if isinstance(fused, list) else None,
        poses=_timed(skeleton.get("times"), skeleton.get("frames"), list),
        mouths=_timed(mouths.get("times"), mouths.get("png_base64"), str),
    )


def _tokens(records: list) -> list[Token]:
    tokens = []
    for record in map(as_dict, records):
        start, end = number(record.get("start")), number(record.get("end"))
        if start is None:
            continue
        confidence = number(record.get("confidence"))
        tokens.append(
            Token(
                text(record.get("token")),
                max(start, 0.0),
                max(start, end if end is not None else start, 0.0),
                1.0 if confidence is None else min(max(confidence, 0.0), 1.0),
            )
        )
    return sorted(tokens, key=lambda token: (token.start, token.end))


def _timed(times, values, kind: type) -> list[tuple[float, object]]:
    pairs = zip(map(number, as_list(times)), as_list(values), strict=False)
    return [(time, v) for time, v in pairs if time is not None and isinstance(v, kind)]


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
