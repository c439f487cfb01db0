"""Readers of datasets, configs, runs and language models, and of text of other programs."""

import dataclasses
import hashlib
import json
import os
import shutil
import socket
import threading
from pathlib import Path

import numpy as np

from tests import frame_corpora, sweeps, untrained_runs
from tests.faults.fuzz.corpora import folder, lips
from tests.faults.fuzz.reader import Reader, command


def _dataset(tree: Path) -> None:
    source = tree / "source"
    source.mkdir()
    frame_corpora.write_pose(source / "a.npz", 24)
    lips("png", source)
    row = "{}|{}|Anna came.|kim|a.npz|||ANNA COME|ann|AE"
    folder(
        source,
        *(
            row.format(f"{split}{i}", split)
            for split in ("train", "validation", "test")
            for i in range(2)
        ),
        "lips|train|Said.|||mouth||||AE",
    )
    command("data", "build", "folder", f"--source={source}", f"--out={tree / 'd'}", "--workers=1")


def seal_dataset(tree: Path) -> None:
    """Makes sizes and digests in `dataset.json` those of the files as they are now."""
    from signbind_jax.data.dataset import DATASET_FILE, digest_of_json, file_digest

    path = tree / "d" / DATASET_FILE
    description = json.loads(path.read_text())
    description.pop("digest", None)
    for name, file in description["files"].items():
        found = tree / "d" / name
        file |= {"bytes": found.stat().st_size, "sha256": file_digest(found)}
    digest = digest_of_json(description)
    path.write_text(json.dumps({**description, "digest": digest}))


def _audit(tree: Path, out: Path) -> int:
    return command(
        "data",
        "audit",
        tree / "d",
        f"--json={out}/a.json",
        f"--html={out}/a.html",
        "--workers=1",
        "--configs",
        "signing",
        "lipreading",
    )


def _read_dataset(tree: Path, out: Path) -> None:
    from signbind_jax.data.dataset import open_dataset

    info = open_dataset(tree / "d")
    for split in info.splits:
        for clip, labels in zip(info.split(split), info.split(split).targets, strict=False):
            assert clip.id is not None and labels is not None


# Configs, runs and what stands beside them.


def _config(tree: Path) -> None:
    _dataset(tree)
    (tree / "config.py").write_text(
        "from signbind_jax.configs import signing\n\n\ndef get_config(arg=None):\n"
        "    config = signing.get_config('size=tiny')\n"
        f"    config.data.directory = {str(tree / 'd')!r}\n    config.steps = 3\n"
        "    config.optim.learning_rate = 1e-3\n    return config\n"
    )
    from signbind_jax.config import load_config

    config = dataclasses.asdict(load_config("signing:size=tiny"))
    flat = {
        f"{section}.{name}": value
        for section, values in config.items()
        if isinstance(values, dict)
        for name, value in values.items()
        if not isinstance(value, dict)
    }
    flat |= {name: value for name, value in config.items() if not isinstance(value, dict)}
    (tree / "overrides.json").write_text(json.dumps(flat | {"data.directory": "DATASET"}))


def _open_source(spec: str, overrides: dict, tree: Path) -> None:
    from signbind_jax.config import load_config
    from signbind_jax.sources import open_source
    from signbind_jax.train.optim import make_optimizer

    config = load_config(spec, {"data.directory": str(tree / "d")} | overrides)
    make_optimizer(config.optim, config.steps)
    open_source(config)


def _read_config(tree: Path, out: Path) -> None:
    _open_source(str(tree / "config.py"), {}, tree)


def _read_overrides(tree: Path, out: Path) -> None:
    path = tree / "overrides.json"
    try:
        flat = json.loads(path.read_text()) if path.is_file() else {}
        given = {
            name: str(tuple(value) if isinstance(value, list) else value)
            for name, value in flat.items()
            if value != "DATASET"
        }
    except (ValueError, AttributeError, RecursionError):
        return  # a command line is text
    _open_source("signing:size=tiny", given, tree)


def _run(tree: Path) -> None:
    _dataset(tree)
    assert command(*_training(tree)) == 0
    (tree / "arrays.txt").write_text(_digest_of_arrays(tree))


def _digest_of_arrays(tree: Path) -> str:
    from signbind_jax.checkpoint.artefact import open_artefact

    digest = hashlib.sha256()
    for path, array in open_artefact(tree / "run").load_params()[1].flat_state():
        digest.update(f"{path} {array.shape}".encode() + np.asarray(array.get_value()).tobytes())
    return digest.hexdigest()


def _training(tree: Path) -> list[str]:
    return [
        "train",
        "--config=signing:size=tiny",
        f"--workdir={tree}/run",
        "--config.steps=1",
        f"--config.data.directory={tree}/d",
        "--config.data.validation=",
    ]


def _read_artefact(tree: Path, out: Path) -> None:
    assert _digest_of_arrays(tree) == (tree / "arrays.txt").read_text(), "other arrays"


def _bundle(tree: Path) -> None:
    from signbind_jax.use.export_command import export_translator

    untrained_runs.write_alignment(tree)
    export_translator(tree / "alignment", tree / "bundle")
    for name in ("data", "signing", "language_model", "fusion", "alignment", "streams"):
        shutil.rmtree(tree / name)


def seal_bundle(tree: Path) -> None:
    """Makes sizes and digests in `bundle.json` those of the files as they are now."""
    from signbind_jax import sealed

    path = tree / "bundle" / "bundle.json"
    record = json.loads(path.read_text())
    record.pop("digest", None)
    for name, file in record["files"].items():
        data = (tree / "bundle" / name).read_bytes()
        file |= {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    path.write_text(json.dumps(sealed.seal(record)))


def _read_bundle(tree: Path, out: Path) -> None:
    from signbind_jax.use.translator import Translator

    translator = Translator(tree / "bundle")
    translator.weights()
    translator.reader.readers["signing"].weights()


def _train_again(tree: Path, out: Path) -> int:
    return command(*_training(tree))


def _streams(tree: Path) -> None:
    _read_streams(tree, tree)


def _read_streams(tree: Path, out: Path) -> None:
    from signbind_jax.data import stream_cache

    tokens = stream_cache.ExpertTokens(
        np.array([0, 2, 3]),
        np.arange(3, dtype=np.int32),
        np.zeros((3, 4), np.float16),
        *(np.linspace(i, i + 1, 3, dtype=np.float32) for i in range(3)),
    )
    found = stream_cache.cached(tree / "streams", "split", "expert", lambda: tokens)
    streams = stream_cache.SplitStreams({"signing": found})
    streams.rows(range(found.n_clips), int(streams.lengths.max()))


def _sweep(tree: Path) -> None:
    file = sweeps.sweep_file(tree / "grid.py", "h.sweep('seed', [1, 2])")
    (tree / "w").mkdir()
    sweeps.finished_points(tree / "w", file, {0: 12.0, 1: 14.0})


def _report_sweep(tree: Path, out: Path) -> int:
    return command("sweep", f"--workdir={tree}/w", "--report_only")


def _report(tree: Path) -> None:
    from tests.unit.report import report_run

    report_run.write_run(
        tree,
        report_run.complete_results(),
        [report_run.complete_example()],
        {"signing": report_run.log_lines([3.0, 2.0, 1.0])},
    )


def _write_report(tree: Path, out: Path) -> None:
    from signbind_jax.report.page import write_report

    write_report(tree)


# Language models.


def _model(tree: Path) -> None:
    from signbind_jax.hf import gguf_llama
    from tests.unit.hf import test_llm_inspect, tiny_gguf

    packed = tiny_gguf.write_gguf(tree / "tiny.gguf")
    (tree / "model").mkdir()
    gguf_llama.convert(packed, tree / "model")
    packed.unlink()
    from safetensors.numpy import load_file

    tensors = load_file(tree / "model" / "model.safetensors")
    (tree / "model" / "model.safetensors").unlink()
    test_llm_inspect.in_files(tree / "model", tensors)


def _inspect(tree: Path, out: Path) -> int:
    return command("llm", "inspect", tree / "model")


def _load(tree: Path, out: Path) -> None:
    from signbind_jax.hf.pretrained import open_pretrained

    model = open_pretrained(tree / "model", "What is said?")
    model.load_params()
    assert model.digest and model.tokenizer


def _adapters(tree: Path) -> None:
    from flax import nnx

    from signbind_jax.hf.export import export_adapters
    from signbind_jax.models.llm.lora import add_lora
    from tests.unit.models.tiny_decoder import tiny_decoder

    decoder = tiny_decoder()
    add_lora(decoder, rank=2, alpha=4.0, targets=("q", "down"), rngs=nnx.Rngs(0))
    export_adapters(decoder, tree / "adapters", base_model="base")


def _read_adapters(tree: Path, out: Path) -> None:
    from signbind_jax.distributed import sharding
    from signbind_jax.hf.adapters import read_adapters
    from tests.unit.models.tiny_decoder import CONFIG

    read_adapters(CONFIG, tree / "adapters", sharding.own_mesh())


def _tokenizer(tree: Path) -> None:
    from signbind_jax.hf.tokenizer import train_bpe

    train_bpe(["the cat sat on the mat", "the dog sat"], 280, ["anna"]).save(tree / "tokenizer")


def _read_tokenizer(tree: Path, out: Path) -> None:
    from signbind_jax.hf.tokenizer import TextTokenizer

    tokenizer = TextTokenizer.load(tree / "tokenizer")
    tokenizer.decode(tokenizer.encode("the cat met Anna", ["anna"]))
    assert tokenizer.digest and tokenizer.tail is not None


# Text, and what comes from other programs.


def _sentences(tree: Path) -> None:
    (tree / "h.txt").write_text("the cat sat on a mat\nanna came\n")
    (tree / "r.txt").write_text("the cat sat on the mat\nanna has come\n")
    (tree / "n.txt").write_text("\nanna\n")
    (tree / "w.txt").write_text("the\na\n")


def _score(tree: Path, out: Path) -> int:
    return command(
        "score",
        f"--hypotheses={tree}/h.txt",
        f"--references={tree}/r.txt",
        f"--names={tree}/n.txt",
        f"--rbleu_words={tree}/w.txt",
    )


def _call(tree: Path) -> None:
    (tree / "line.json").write_text(json.dumps({"process": 1, "of": 3, "host": "h"}))


def _roll_call(tree: Path, out: Path) -> None:
    """A line from anybody never ends process 0 before its time: it says who is missing."""
    from signbind_jax.distributed.rendezvous import call_roll
    from signbind_jax.errors import SignBindError

    line = tree / "line.json"
    said = line.read_bytes() + b"\n" if line.is_file() else b""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    threading.Thread(target=_say, args=(port, said), daemon=True).start()
    try:
        call_roll(f"127.0.0.1:{port}", 3, 0, 0.5)
    except SignBindError as error:
        if "found no process" in str(error):
            return
        raise


def _say(port: int, said: bytes) -> None:
    for _ in range(1000):
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
                connection.sendall(said)
                connection.recv(100)
                return
        except OSError:
            threading.Event().wait(0.01)


def _submission(tree: Path) -> None:
    (tree / "jobs" / "job").mkdir(parents=True)
    record = {"job_id": "17", "indexes": [], "command": ["signbind", "train"]}
    (tree / "jobs" / "job" / "submission.json").write_text(json.dumps(record))
    (tree / "jobs" / "job" / "exit-17").write_text("0")
    (tree / "bin").mkdir()
    (tree / "bin" / "squeue").write_text("#!/bin/sh\n")
    (tree / "bin" / "squeue").chmod(0o755)


def _watch(tree: Path, out: Path) -> int:
    os.environ["PATH"] = f"{tree}/bin:{os.environ['PATH']}"
    return command(
        "launch", "slurm", "watch", "--name=job", f"--jobs={tree}/jobs", "--poll=0.01", "--tries=1"
    )


_CONFINED = ("subprocess.Popen",)  # templates and tokenizers are tried in one, see hf/confined.py

RUNS = {
    "dataset audit": Reader(_dataset, _audit, ("d/*",), seal_dataset),
    "dataset read": Reader(_dataset, _read_dataset, ("d/*",), seal_dataset),
    "features.json": Reader(
        _dataset, _read_dataset, ("d/features.json", "d/dataset_info.json"), seal_dataset
    ),
    "config.py": Reader(_config, _read_config, ("config.py",)),
    "overrides": Reader(_config, _read_overrides, ("overrides.json",), said=("config",)),
    "artefact.json": Reader(_run, _read_artefact, ("run/artefact.json",), share=0.25),
    "checkpoint": Reader(_run, _read_artefact, ("run/checkpoints/**/*",), share=0.25),
    "bundle": Reader(_bundle, _read_bundle, ("bundle/**/*.json",), seal_bundle, share=0.5),
    "bundle weights": Reader(
        _bundle, _read_bundle, ("bundle/**/*.safetensors",), seal_bundle, share=0.25
    ),
    "run beside": Reader(
        _run,
        _train_again,
        ("run/summary.json", "run/metrics.jsonl", "run/artefact.json"),
        writes=("run",),
        share=0.25,
    ),
    "stream cache": Reader(_streams, _read_streams, ("streams/*",), writes=("streams",)),
    "sweep record": Reader(
        _sweep, _report_sweep, ("w/**/*.json", "w/**/*.jsonl"), writes=("w/sweep*",)
    ),
    "report": Reader(_report, _write_report, ("*.json", "*/*.jsonl"), writes=("report.html",)),
    "config.json": Reader(_model, _inspect, ("model/config.json",), allowed=_CONFINED),
    "tokenizer.json": Reader(_model, _inspect, ("model/tokenizer*",), allowed=_CONFINED),
    "safetensors": Reader(_model, _inspect, ("model/*.safetensors*",), allowed=_CONFINED),
    "llm weights": Reader(_model, _load, ("model/*",), allowed=_CONFINED, share=0.25),
    "adapters": Reader(_adapters, _read_adapters, ("adapters/*",)),
    "text tokenizer": Reader(_tokenizer, _read_tokenizer, ("tokenizer/*",)),
    "score text": Reader(_sentences, _score, ("*.txt",)),
    "roll call": Reader(_call, _roll_call, ("line.json",), allowed=("socket.connect",)),
    "slurm record": Reader(_submission, _watch, ("jobs/*/*",), allowed=("subprocess.Popen",)),
}
