"""Reading a corpus in a test, without a dataset on disk."""

from signbind_jax.data.clip import Clip
from signbind_jax.data_pipelines.corpus import Corpus, read_clips
from signbind_jax.data_pipelines.writing.build_report import BuildReport


def clips_of(corpus: Corpus, strict: bool = False) -> tuple[dict[str, list[Clip]], BuildReport]:
    """All clips by split, and the report of reading them."""
    report = BuildReport(left_out={r: list(ids) for r, ids in corpus.left_out.items()})
    clips = {
        split: list(read_clips(rows, corpus.read, report, strict))
        for split, rows in corpus.splits.items()
    }
    return clips, report
