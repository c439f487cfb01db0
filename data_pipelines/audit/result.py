"""Result: everything an audit says, ready for the terminal, for JSON and for the page."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from signbind_jax import files
from signbind_jax.data_pipelines.audit.checks import run_checks
from signbind_jax.data_pipelines.audit.feasibility import (
    AuditedConfig,
    Feasibility,
    feasibility,
    with_steps,
)
from signbind_jax.data_pipelines.audit.finding import ERROR, LEVELS, Finding, Ref
from signbind_jax.data_pipelines.audit.histograms import Histogram, histograms
from signbind_jax.data_pipelines.audit.survey import Survey

WITH_TEXT = "shared_sentences"  # the finding whose clips are shown with their text
_TEXT_SHOWN = 80  # characters of it


@dataclass(frozen=True)
class Result:
    """What an audit found.

    Attributes:
      survey: the pass over the dataset.
      findings: of every check, the worst first.
      feasible: what each config could train on, by split.
      histograms: over all clips.
      named: id and the beginning of the text of each clip that a finding names.
    """

    survey: Survey
    findings: list[Finding]
    feasible: list[Feasibility]
    histograms: list[Histogram]
    named: dict[Ref, tuple[str, str]]

    @property
    def n(self) -> dict[str, int]:
        """level -> findings."""
        return {level: sum(f.level == level for f in self.findings) for level in LEVELS}

    @property
    def exit_code(self) -> int:
        """1 where there is an error."""
        return 1 if self.n[ERROR] else 0

    @property
    def source(self) -> dict:
        """Where the clips come from, as the corpus said."""
        return self.survey.info.description["source"]

    def splits(self) -> list[dict]:
        """A record of each split; None where a number is unknown."""
        published = self.survey.info.description.get("published") or {}
        names = list(dict.fromkeys([*self.survey.info.splits, *published]))
        return [self._split(name, published.get(name)) for name in names]

    def _split(self, name: str, published: int | None) -> dict:
        found = self.survey.info.splits.get(name, 0)
        record = {
            "split": name,
            "clips": found,
            "published": published,
            "missing": None if published is None else max(published - found, 0),
            "with_pose": None,
            "with_lips": None,
            "hours": None,
            "signers": None,
            "text_languages": None,
            "signed_languages": None,
        }
        split = self.survey.splits.get(name)
        if split is not None:
            record |= {
                "with_pose": int((split.facts["pose_frames"] > 0).sum()),
                "with_lips": int((split.facts["lip_frames"] > 0).sum()),
                "hours": round(float(np.nansum(split.seconds)) / 3600, 3),
                "signers": sum(1 for signer in split.tally.signers if signer),
                "text_languages": dict(split.tally.text_languages),
                "signed_languages": dict(split.tally.signed_languages),
            }
        return record

    def names(self, finding: Finding, most: int | None = None) -> list[str]:
        """The clips of a finding by id; twins as "a = b", with their text where that is shared."""
        return [self._name(finding, group) for group in finding.clips[:most]]

    def _name(self, finding: Finding, group: tuple[Ref, ...]) -> str:
        name = " = ".join(self.named[ref][0] for ref in group)
        return f"{name} ({self.named[group[0]][1]})" if finding.check == WITH_TEXT else name

    def to_json(self) -> dict:
        """A JSON-ready record; every finding with all of its clips."""
        info = self.survey.info
        return {
            "dataset": str(info.directory),
            "digest": info.digest,
            "source": self.source,
            "counts": self.n,
            "clips": self.survey.n_clips,
            "clips_read": self.survey.n_read,
            "digests_compared": not self.survey.sampled,
            "splits": self.splits(),
            "findings": [{**vars(f), "clips": self.names(f)} for f in self.findings],
            "ctc": [asdict(row) for row in self.feasible],
            "build_report": info.description["report"],
            "histograms": [asdict(histogram) for histogram in self.histograms],
        }


def judge(survey: Survey, configs: Sequence[AuditedConfig]) -> Result:
    """All checks over what a survey found."""
    configs = [with_steps(survey, config) for config in configs]
    findings = run_checks(survey, configs)
    refs = {ref for finding in findings for group in finding.clips for ref in group}
    rows = [row for config in configs for row in feasibility(survey, config)]
    named = {ref: (clip.id, _beginning(clip.text)) for ref, clip in survey.labels_of(refs)}
    return Result(survey, findings, rows, histograms(survey), named)


def _beginning(text: str) -> str:
    text = text.strip()
    return text[:_TEXT_SHOWN] + ("…" if len(text) > _TEXT_SHOWN else "")


def write_json(path: Path, result: Result) -> None:
    """Writes `to_json` as a file."""
    text = json.dumps(result.to_json(), indent=1, ensure_ascii=False, allow_nan=False)
    files.write(path, text + "\n")
