"""What is refused before a program of a cloud is started: names and numbers of any kind."""

import pytest

from signbind_jax import cli
from signbind_jax.errors import SignBindError
from signbind_jax.launch import slurm

TPU = ["tpu", "run", "--zone=z", "--accelerator=v5litepod-16", "--shared=/m"]
GKE = [
    "gke",
    "run",
    "--cluster=c",
    "--zone=z",
    "--accelerator=v5litepod-16",
    "--image=i",
    "--shared=/m",
]
SLURM = ["slurm", "start"]
COMMAND = ["--", "signbind", "train", "--workdir=/m/x"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([*TPU, "--zone=$(id)"], "--zone: found '$(id)'"),
        ([*TPU, "--project=-p"], "--project: found '-p'"),
        ([*TPU, "--source=-rx"], "--source: found '-rx'"),
        ([*TPU, "--slices=1000000000"], "--slices: found 1000000000"),
        ([*TPU, "--mount=-x:/e:/mnt/b"], "--mount: found '-x:/e:/mnt/b'"),
        ([*TPU, "--mount=gs://-b:/mnt/b"], "--mount: found 'gs://-b:/mnt/b'"),
        ([*TPU, "--mount=gs://b:/mnt/b\n"], "--mount: found 'gs://b:/mnt/b\\n'"),
        ([*TPU, "--env=UID=1"], "--env=UID: found a variable of the shell's own"),
        ([*TPU, "--env=A=\udcff"], "found a NUL or bytes that are not UTF-8"),
        ([*TPU, "--envs=HF_TOKEN=hf_Xq7"], "unrecognized arguments: --envs"),
        ([*TPU, "--max_resumes=\u0663"], "--max_resumes: found '\u0663'"),
        ([*GKE, "--cluster=a b"], "--cluster: found 'a b'"),
        ([*GKE, "--image=i`id`"], "--image: found 'i`id`'"),
        ([*GKE, "--storage=x\ny"], "--storage: found 'x\\ny'"),
        ([*GKE, "--max_restarts=-1"], "--max_restarts: found -1"),
        ([*SLURM, "--account=a;id"], "--account: found 'a;id'"),
        ([*SLURM, "--partition=a\nb"], "--partition: found 'a\\nb'"),
        ([*SLURM, "--gpus_per_node=1000000000"], "--gpus_per_node: found 1000000000"),
        ([*SLURM, "--array=0-2000000000"], "wanted at most 10,000 indexes"),
    ],
)
def test_bad_usage_is_refused_in_one_line(arguments, told, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SystemExit) as ended:
        cli.main(["launch", *arguments, "--name=a", *COMMAND])
    shown = capsys.readouterr().err
    assert ended.value.code == 2 and told in shown and "hf_Xq7" not in shown
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "text",
    [
        "0-2000000000",
        "0-9,5000000",
        "0-9999,10001",
        "5-3",
        "0-9%0",
        "0-\u0663",
        "1:2",
        "0-9:0",
        "-1",
        "1,,2",
        "0-" + "9" * 5000,
    ],
)
def test_arrays_that_no_cluster_takes_are_refused(text):
    with pytest.raises(SignBindError, match="--array: found '") as error:
        slurm.array_indexes(text)
    assert len(str(error.value)) < 200


@pytest.mark.parametrize(
    ("text", "indexes"),
    [("", []), ("0-3%2", [0, 1, 2, 3]), ("5,1,5", [1, 5]), ("0-8:4", [0, 4, 8])],
)
def test_arrays_are_lists_of_indexes(text, indexes):
    assert slurm.array_indexes(text) == indexes
