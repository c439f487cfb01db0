"""`signbind data build`, from the command line to a dataset that opens."""

from pathlib import Path

import pytest

from signbind_jax.cli import main
from signbind_jax.data.dataset import open_dataset

RECORDED = Path(__file__).parents[3] / ".." / "shared" / "data" / "recorded"


def test_the_synthetic_corpus_in_the_sizes_asked_for(tmp_path):
    sizes = ["--train=5", "--validation=2", "--test=3", "--time_split=2", "--workers=1"]
    assert main(["data", "build", "synthetic", f"--out={tmp_path / 'd'}", "--seed=3", *sizes]) == 0
    info = open_dataset(tmp_path / "d")
    assert info.splits == {
        "train": 5,
        "validation": 2,
        "test": 3,
        "role": 2,
        "lonely_twin": 2,
        "adjacent_names": 2,
    }
    source = info.description["source"]
    assert source["synthetic"] is True and source["seed"] == 3 and source["train"] == 5
    train = info.split("train")
    assert train.lip_size == (32, 32)
    assert train.targets[0]["gloss"] and (train.lengths("pose") > 0).all()


def test_recorded_sentences_become_a_dataset_and_the_report_stays_with_it(tmp_path, capsys):
    source = RECORDED / "dgs"
    if not source.is_dir():
        pytest.skip("no recorded data beside the project (shared/data/recorded)")
    assert main(["data", "build", "folder", f"--source={source}", f"--out={tmp_path / 'd'}"]) == 0
    info = open_dataset(tmp_path / "d")
    assert sum(info.splits.values()) == 15
    assert "left out: empty text: 1" in capsys.readouterr().out
    assert len(info.description["report"]["left_out"]["empty text"]) == 1
    clip = next(iter(info.split(next(iter(info.splits)))))
    assert (
        clip.text
        and clip.modalities["pose"].data.shape[1:] == (91, 3)
        and "lips" not in clip.modalities
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["how2sgin", "--source=x"], "unknown name 'how2sgin'"),
        (["folder", "--source=nowhere"], "nowhere"),
    ],
)
def test_bad_usage_is_one_line_and_leaves_nothing(tmp_path, capsys, options, message):
    assert main(["data", "build", *options, f"--out={tmp_path / 'd'}"]) == 1
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_any_number_of_workers_writes_the_same_dataset(tmp_path):
    sizes = ["--train=70", "--validation=2", "--test=0", "--time_split=0"]
    for name, workers in (("alone", 1), ("together", 3)):
        out = [f"--out={tmp_path / name}", f"--workers={workers}"]
        assert main(["data", "build", "synthetic", *out, *sizes]) == 0
    alone, together = (open_dataset(tmp_path / name) for name in ("alone", "together"))
    assert alone.splits == {"train": 70, "validation": 2}
    assert alone.split("train").digest == together.split("train").digest
    assert alone.description["files"].keys() == together.description["files"].keys()


def test_a_beam_runner_with_several_processes_writes_the_same_dataset(tmp_path):
    sizes = ["--train=3", "--validation=2", "--test=2", "--time_split=0"]
    beam = "--direct_num_workers=2 --direct_running_mode=multi_processing"
    for name, options in (("here", []), ("beam", [f"--beam={beam}"])):
        out = [f"--out={tmp_path / name}", "--workers=1"]
        assert main(["data", "build", "synthetic", *out, *sizes, *options]) == 0
    here, beam = (open_dataset(tmp_path / name) for name in ("here", "beam"))
    assert here.splits == beam.splits == {"train": 3, "validation": 2, "test": 2}
    assert here.split("train").digest == beam.split("train").digest
    assert [path.name for path in tmp_path.iterdir()] in (["here", "beam"], ["beam", "here"])


def test_what_goes_wrong_on_a_beam_worker_is_told_in_one_line(tmp_path, capsys):
    source = tmp_path / "corpus"
    source.mkdir()
    (source / "manifest.tsv").write_text("id\tsplit\ttext\tpose\nc\ttrain\tHi.\ta.npz\n")
    (source / "a.npz").write_bytes(b"no archive")
    command = ["data", "build", "folder", f"--source={source}", f"--out={tmp_path / 'd'}"]
    assert main([*command, "--strict", "--beam="]) == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("signbind: error: --beam: clip c: ") and "a.npz" in error
    assert not (tmp_path / "d").exists()
