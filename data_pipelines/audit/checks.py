"""All checks of an audit, in the order in which they are shown."""

import functools
from collections.abc import Sequence

from signbind_jax.data_pipelines.audit import (
    completeness,
    given_streams,
    leakage,
    sentences,
    streams,
)
from signbind_jax.data_pipelines.audit.feasibility import AuditedConfig, crop_size, ctc_targets
from signbind_jax.data_pipelines.audit.finding import LEVELS, Finding
from signbind_jax.data_pipelines.audit.survey import Survey

CHECKS = (
    completeness.damaged_files,
    completeness.published_counts,
    completeness.left_out,
    completeness.repaired,
    completeness.timestamps,
    streams.stream_durations,
    streams.frame_rates,
    streams.durations,
    *streams.MEASURED,
    streams.lip_sizes,
    sentences.empty_text,
    sentences.one_word_text,
    sentences.text_pace,
    sentences.text_language,
    sentences.signed_language,
    functools.partial(sentences.unseen_tokens, kind="gloss"),
    functools.partial(sentences.unseen_tokens, kind="fusion_targets"),
    functools.partial(sentences.unseen_tokens, kind="phonemes"),
    sentences.unspoken_words,
    sentences.unspelled_letters,
    leakage.shared_recordings,
    leakage.repeated_recordings,
    leakage.shared_sentences,
    leakage.shared_signers,
)


def run_checks(survey: Survey, configs: Sequence[AuditedConfig]) -> list[Finding]:
    """The finding of every check, the worst first."""
    findings = [check(survey) for check in CHECKS]
    findings += given_streams.stream_findings(survey)
    for config in configs:
        findings += [ctc_targets(survey, config), crop_size(survey, config)]
    return sorted(findings, key=lambda finding: LEVELS.index(finding.level))
