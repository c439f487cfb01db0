"""The model card of a bundle: what is known of a translator, as facts and as a page for people."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jinja2

from signbind_jax import files
from signbind_jax.checkpoint import artefact
from signbind_jax.checkpoint.artefact import Artefact, open_artefact
from signbind_jax.data.dataset import DatasetInfo, open_dataset
from signbind_jax.errors import SignBindError
from signbind_jax.train.summary import summary_or_none

_TEMPLATE = Path(__file__).with_name("model_card.jinja")
_SNAPSHOT = re.compile(r"models--([\w.-]+?)--([\w.-]+)/snapshots/(\w+)$")
_OWN_SIGNATURES = {"bleu4": "bleu_signature"}  # others are called as their score


def facts_of(
    run: Artefact,
    experts: Mapping[str, Artefact],
    evaluated: Path | None = None,
    segmenter: Artefact | None = None,
) -> dict[str, Any]:
    """What is known of a translator, JSON-ready, without a path of this machine.

    Args:
      evaluated: what `signbind evaluate --json` wrote of the run; None: nothing.
      segmenter: a run of stage `segmentation` that goes with it; None: none does.

    Returns:
      name, digest, stage, step, streams (with the step of the expert of each), given_streams,
      language_model (name of one of others, or empty), data (a record a dataset: corpus, synthetic,
      licence, citation, clips, text_languages, signed_languages, stages), unknown (stages whose
      data cannot be told), synthetic (whether all data are) and scores (stage, split, metric,
      value, signature).

    Raises:
      SignBindError: `evaluated` is no such file, or of another step.
    """
    beside = {**experts, **({segmenter.stage: segmenter} if segmenter else {})}
    data, unknown = _data_of(run, beside)
    scores = [row for stage in beside.values() for row in _validated(stage)]
    scores += _evaluated(evaluated, run) if evaluated else _validated(run)
    return {
        "name": run.workdir.resolve().name,
        "digest": run.digest,
        "stage": run.stage,
        "step": run.step,
        "streams": {name: expert.step for name, expert in experts.items()},
        "given_streams": list(run.config.data.streams),
        "language_model": _pretrained(run),
        "data": data,
        "unknown": unknown,
        "synthetic": bool(data) and not unknown and all(row["synthetic"] for row in data),
        "scores": scores,
    }


def render(facts: Mapping[str, Any], dtype: str) -> str:
    """The page, in Markdown with the header that a hub reads.

    dtype: of the weights in the files.
    """
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False
    )
    environment.filters.update(cell=_cell)
    template = environment.from_string(_TEMPLATE.read_text("utf-8"))
    languages = sorted({tag for row in facts["data"] for tag in row["text_languages"]})
    return template.render(facts, dtype=dtype, languages=languages)


def _cell(value: Any) -> str:
    """A value on one line of a Markdown table."""
    text = f"{value:.2f}" if isinstance(value, float) else str(value)
    return " ".join(text.split()).replace("|", "\\|")


def _data_of(run: Artefact, beside: Mapping[str, Artefact]) -> tuple[list[dict], list[str]]:
    """The datasets of all stages as far as they are there, and the stages of which one is not.

    beside: experts and whatever else goes with a run, by stage.
    """
    found: dict[str, dict[str, Any]] = {}
    unknown = []
    stages = {run.stage: run} | _behind(run) | dict(beside)
    for stage, trained in stages.items():
        for directory in trained.config.data.directories if trained else [""]:
            if not directory:
                unknown.append(stage)
                continue
            split = trained.config.data.train
            try:
                dataset = open_dataset(directory)
                if split not in dataset.splits:
                    continue  # the stage is only validated on it
                if dataset.digest not in found:
                    found[dataset.digest] = _dataset_facts(dataset, split)
            except SignBindError:
                unknown.append(stage)
            else:
                found[dataset.digest]["stages"].append(stage)
    return list(found.values()), sorted(set(unknown))


def _dataset_facts(dataset: DatasetInfo, split: str) -> dict[str, Any]:
    source = dataset.description["source"]
    labels = dataset.split(split).labels
    return {
        **{name: str(source.get(name, "")) for name in ("corpus", "licence", "citation")},
        "synthetic": bool(source.get("synthetic")),
        "clips": len(labels),
        "text_languages": sorted({clip.text_language for clip in labels} - {""}),
        "signed_languages": sorted({clip.signed_language for clip in labels} - {""}),
        "stages": [],
    }


def _behind(run: Artefact) -> dict[str, Artefact | None]:
    """The other stages that a translator was made from, by name; None where one is gone."""
    stages: dict[str, Artefact | None] = {}
    for name, directory in run.parents.items():
        if name in ("alignment", "fusion", "language_model"):
            if (directory / "config.json").exists() and not (directory / artefact.FILE).exists():
                continue  # a language model of others
            try:
                stages[name] = open_artefact(directory)
            except SignBindError:
                stages[name] = None
            if stages[name] and name == "alignment":
                stages |= _behind(stages[name])
    return stages


def _pretrained(run: Artefact) -> str:
    """The language model of others, as a hub calls it or by its directory's name; or empty."""
    directory = run.parents.get("language_model")
    if directory is None or (directory / artefact.FILE).exists():
        return ""
    hub = _SNAPSHOT.search(directory.as_posix())
    return f"{hub[1]}/{hub[2]}@{hub[3]}" if hub else directory.name


def _validated(run: Artefact) -> Iterator[dict[str, Any]]:
    """The scores of a run's own validation, where it was not trained further since."""
    summary = summary_or_none(run.workdir, "its scores are left out of the model card")
    if summary and summary["step"] == run.step and run.config.data.validation:
        yield from _rows(run.stage, run.config.data.validation, summary["scores"])


def _evaluated(path: Path, run: Artefact) -> list[dict[str, Any]]:
    record = files.read_json(path)
    for name, wanted in (("stage", run.stage), ("step", run.step)):
        found = files.field(record, name, type(wanted), str(path))
        if found != wanted:
            raise SignBindError(f"{path}: {name}: found {found}, wanted {wanted}")
    scores = files.field(record, "scores", dict, str(path))
    scores = scores.get("all", scores)
    return list(_rows(run.stage, files.field(record, "split", str, str(path)), scores))


def _rows(stage: str, split: str, scores: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for name, score in scores.items():
        signature = scores.get(_OWN_SIGNATURES.get(name, f"{name}_signature"), "")
        if isinstance(score, Mapping):  # as `evaluate --convention` has them
            score, signature = score.get("value"), score.get("signature", "")
        if isinstance(score, float):
            yield {
                "stage": stage,
                "split": split,
                "metric": name,
                "value": score,
                "signature": str(signature),
            }
