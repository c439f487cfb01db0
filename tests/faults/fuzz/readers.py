"""Every reader of files that may come from anybody, by name."""

from tests.faults.fuzz.corpora import CORPORA
from tests.faults.fuzz.runs import RUNS

READERS = CORPORA | RUNS
