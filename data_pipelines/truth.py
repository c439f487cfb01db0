"""The truth of clips whose labels a dataset withholds, to score what was found in them."""

from pathlib import Path

from signbind_jax.data.clip import Clip
from signbind_jax.data.dataset import ClipDataset
from signbind_jax.data_pipelines.readers import token_streams
from signbind_jax.errors import SignBindError

HELP = "(default: DIR.truth/SPLIT.jsonl.gz, where it is there)"


def read_truth(path: Path | None, dataset: Path, clips: ClipDataset) -> dict[str, Clip] | None:
    """The clips of a file of true labels by id, in the order of a split; None where there is none.

    Args:
      path: the file; None: the one beside the dataset, if it is there.
      dataset: the dataset's directory.

    Raises:
      SignBindError: it is not as it should be, or lacks a clip.
    """
    if path is None:
        directory = dataset.absolute()
        path = directory.with_name(f"{directory.name}.truth") / f"{clips.name}.jsonl.gz"
        if not path.exists():
            return None
    truth = {line.id: token_streams.clip_of(line) for line in token_streams.read_lines(path)}
    if missing := [clip_id for clip_id in clips.ids if clip_id not in truth]:
        raise SignBindError(
            f"{path}: found no clip {missing[0]!r}, wanted the {len(clips)} clips of split "
            f"{clips.name} of {dataset}"
        )
    return {clip_id: truth[clip_id] for clip_id in clips.ids}
