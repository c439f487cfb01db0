"""Shared by the unit tests: untrained runs, made once."""

import pytest

from tests import untrained_runs


@pytest.fixture(scope="session")
def runs(tmp_path_factory):
    """The tree of `untrained_runs.write_alignment`: data, signing, language_model, fusion and
    alignment; not to be changed."""
    tree = tmp_path_factory.mktemp("untrained")
    untrained_runs.write_alignment(tree)
    return tree
