"""Where a language model or a bundle is: a directory, a model of the catalogue, one of a hub."""

import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from signbind_jax import files
from signbind_jax.errors import SignBindError, one_line
from signbind_jax.hf import smollm2
from signbind_jax.overrides import unknown_name

CATALOGUE = {smollm2.NAME: smollm2.fetch}

_HUB_ID = re.compile(r"([\w.-]+/[\w.-]+)(?:@(\w[\w./-]*))?")
# All of a repository that is read here: other formats of the same weights stay where they are.
_HUB_FILES = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "model.safetensors",
    "model-*.safetensors",
    "model.safetensors.index.json",
)


def find(name: str, cache: Path | None = None) -> Path:
    """Finds the directory of a model that is given by path, by name or by hub id.

    A hub id is downloaded unless a whole copy is in the cache; a name of the catalogue must
    have been fetched.

    Args:
      name: a local directory, a name such as "smollm2-135m", or a hub id "owner/model" or
        "owner/model@revision", a revision being a commit, a tag or a branch.
      cache: where fetched models are; by default the user's cache, for hub ids
        huggingface_hub's own.

    Raises:
      SignBindError: nothing there, or a name that is not known.
    """
    if name in CATALOGUE and not Path(name).is_dir():
        directory = (cache or default_cache()) / name
        if not directory.exists():
            option = f" --cache={cache}" if cache else ""
            raise SignBindError(
                f"{directory}: no such directory; `signbind llm fetch {name}{option}` makes it"
            )
        return directory
    return _local(name) or from_hub(name, _HUB_FILES, cache)


def fetch(name: str, cache: Path | None = None) -> Path:
    """Does the same, after making or downloading what is not there or, on a hub, has changed."""
    if name in CATALOGUE and not Path(name).is_dir():
        return CATALOGUE[name](cache or default_cache())
    return _local(name) or from_hub(name, _HUB_FILES, cache, look_here_first=False)


def default_cache() -> Path:
    """Names `llm` in this package's part of the user's cache."""
    return files.user_cache("llm")


def _local(name: str) -> Path | None:
    """Finds the directory itself; None for what can only be a hub id."""
    path = Path(os.path.expanduser(name))  # which leaves an unknown user's as it is
    if path.is_dir():
        return path
    if path.exists():
        raise SignBindError(f"{name}: found a file, wanted a Hugging Face directory")
    if is_hub_id(name):
        return None
    if "/" in name:
        raise SignBindError(f"{name}: no such directory")
    raise SignBindError(
        unknown_name("language model", name, CATALOGUE)
        + "; a directory or a hub id such as owner/model will do too"
    )


def is_hub_id(name: str) -> bool:
    """Whether a name can be a hub id, "owner/name" or "owner/name@revision"."""
    return bool(_HUB_ID.fullmatch(name)) and name[0] not in ".~"


def from_hub(
    name: str, patterns: Sequence[str], cache: Path | None = None, look_here_first: bool = True
) -> Path:
    """The directory of a hub id, downloaded unless a copy is in the cache.

    Args:
      patterns: the files of it that are wanted.
      cache: by default huggingface_hub's own.
      look_here_first: whether a copy in the cache will do, even if the hub has a newer one.

    Raises:
      SignBindError: the hub does not give it.
    """
    # Imported late: it takes a while and only hub ids need it.
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    hub_id, revision = _HUB_ID.fullmatch(name).groups()
    options = {"allow_patterns": list(patterns), "cache_dir": cache, "revision": revision}
    if look_here_first:
        try:
            return _told(
                hub_id, revision, snapshot_download(hub_id, local_files_only=True, **options)
            )
        except LocalEntryNotFoundError:
            pass
    try:
        return _told(hub_id, revision, snapshot_download(hub_id, **options))
    except Exception as error:  # the HTTP library's own errors come through too
        raise SignBindError(
            f"{name}: no such directory, and the hub says: {type(error).__name__}: "
            f"{one_line(error, 300)}"
        ) from error


def _told(hub_id: str, revision: str | None, directory: str) -> Path:
    """Gives the directory, after saying which commit it is where nobody asked for one.

    It bears the commit's name, and with it every run that is trained from it.
    """
    commit = Path(directory).name
    if revision != commit:
        print(
            f"{hub_id}: {revision or 'the newest'} is commit {commit} here and now; "
            f"{hub_id}@{commit} is the same everywhere",
            file=sys.stderr,
        )
    return Path(directory)
