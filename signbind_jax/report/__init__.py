"""The report of a run for people who do not read code."""

from signbind_jax.report.page import write_report

__all__ = ["write_report"]
