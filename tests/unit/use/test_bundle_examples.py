"""Recordings that go with a bundle: taken from a folder corpus, and checked as all of it is."""

import shutil
from pathlib import Path

import pytest

from signbind_jax import cli
from signbind_jax.errors import SignBindError
from signbind_jax.use import export_command


def write_examples(tree: Path, runs: Path, rows: str) -> Path:
    tree.mkdir()
    shutil.copyfile(runs / "a.npz", tree / "a.npz")
    (tree / "manifest.tsv").write_text(f"id\tsplit\ttext\tpose\tlips\n{rows}")
    return tree


def test_examples_go_with_it_and_are_checked(runs, tmp_path):
    corpus = write_examples(tmp_path / "corpus", runs, "one\ttest\tAnna came.\ta.npz\n")
    out = tmp_path / "out"
    made = export_command.export_translator(runs / "alignment", out, examples=corpus)
    (example,) = made.examples()
    assert (example.name, example.text) == ("one.npz", "Anna came.")
    assert example.path.read_bytes() == (runs / "a.npz").read_bytes()
    data = bytearray(example.path.read_bytes())
    data[len(data) // 2] ^= 1
    example.path.write_bytes(data)
    with pytest.raises(SignBindError, match=r"examples/one\.npz: sha256: found"):
        made.examples()


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("one\ttest\tAnna.\ta.npz\ta\n", "found pose, lips, wanted a pose or a video alone"),
        ("a b\ttest\tAnna.\ta.npz\n", "example: found 'a b.npz', wanted a name of letters"),
        ("".join(f"{i}\ttest\tAnna.\ta.npz\n" for i in range(101)), "wanted at most 100 examples"),
        ("one\ttest\tAnna.\tb.npz\n", "found no file 'b.npz'"),
    ],
)
def test_what_cannot_be_an_example_is_told_in_one_line(runs, tmp_path, capsys, rows, said):
    corpus = write_examples(tmp_path / "corpus", runs, rows)
    (corpus / "a").mkdir()
    arguments = [f"--checkpoint={runs / 'alignment'}", f"--out={tmp_path / 'out'}"]
    assert cli.main(["export", "translator", *arguments, f"--examples={corpus}"]) == 1
    err = capsys.readouterr().err
    assert said in err and err.count("\n") == 1
    assert not (tmp_path / "out").exists()
