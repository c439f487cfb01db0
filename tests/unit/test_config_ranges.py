"""Configs: what trains nonsense, or could not be trained, is told before anything is written."""

import ast
import dataclasses
import json
import typing
from pathlib import Path

import pytest

import signbind_jax.data_pipelines.synthetic.corpus  # noqa: F401  its config is one of those checked
from signbind_jax import cli
from signbind_jax.checkpoint import artefact
from signbind_jax.config import RunConfig, load_config
from signbind_jax.data.dataset import ClipDataset
from signbind_jax.distributed import sharding
from signbind_jax.errors import SignBindError
from signbind_jax.ranges import Checked, FieldError, OneOf, Range, fit, hints_of, parts_of
from signbind_jax.sources import open_source
from signbind_jax.stages import make_stage
from signbind_jax.stages.sections import check_sections

DEEP = "(" * 100_000

# (config, path, text given, words of the error beside the path)
WRONG = [
    *(
        ("signing", "steps", text, "a whole number, at least 1")
        for text in (
            "-5",
            "0",
            "2.5",
            "1e3",
            "abc",
            "",
            "nan",
            "None",
            "True",
            "[]",
            "9" * 400,
            "9" * 5000,
            "10**400",
            DEEP,
            "-" * 9000 + "1",
            "1" + "+1" * 5000,
            "{'a': 1}",
            "\udcff",
            "a\nb",
        )
    ),
    ("signing", "seed", "-1", "at least 0"),
    ("signing", "seed", "4294967296", "at most 4,294,967,295"),
    ("signing", "keep_checkpoints", "0", "at least 1"),
    ("signing", "log_every", "-1", "at least 0"),
    ("signing", "stage", "singing", "'signing'"),
    *(
        ("signing", "optim.learning_rate", text, "a number, above 0")
        for text in ("-1e-3", "0", "1e-60", "1e999", "nan", "1e30", "'1'", "1j", "9" * 400, "True")
    ),
    ("signing", "optim.warmup_steps", "-5", "at least 0"),
    ("signing", "optim.warmup_share", "1", "below 1"),
    ("signing", "optim.average", "1.5", "at most 1"),
    ("signing", "optim.factors", "2", "one of its fields"),
    ("signing", "optim.factors.encoder", "-1", "at least 0"),
    ("signing", "epochs", "-1", "at least 0"),
    ("signing", "patience", "-1", "at least 0"),
    ("language_model", "convention", "how2sing", "did you mean 'how2sign'?"),
    ("signing", "optim.b1", "1", "below 1"),
    ("signing", "optim.b2", "2", "below 1"),
    ("signing", "optim.b2", "0.999999999", "below 1"),
    ("signing", "optim.clip_norm", "0", "above 0"),
    ("signing", "optim.final_share", "1.5", "at most 1"),
    ("signing", "optim.weight_decay", "-0.1", "at least 0"),
    ("signing", "optim.accumulate", "0", "at least 1"),
    ("signing", "data.keep_empty", "5", "at most 1"),
    ("signing", "data.max_impossible", "-0.1", "at least 0"),
    ("signing", "data.threads", "-1", "at least 0"),
    ("signing", "data.row_frames", "-1", "at least 0"),
    ("signing", "data.frames_per_batch", "0", "at least 1"),
    ("signing", "data.n_buckets", "0", "at least 1"),
    ("signing", "data.batch_multiple", "0", "at least 1"),
    ("signing", "data.weights", "1", "a list"),
    ("signing", "data.weights", "1,2", "for each of the 1 directories"),
    ("signing", "data.weights", "(0.0,)", "not all 0"),
    ("signing", "data.weights", "[1,-2]", "each a number, at least 0"),
    ("signing", "data.weights", "['x']", "each a number"),
    ("signing", "data.directory", "a\0b", "without NUL"),
    ("signing", "parents.fusion", "\udcff", "UTF-8"),
    ("signing", "data", "3", "one of its fields: --config.data.NAME=VALUE"),
    ("signing", "data", "{'train': 'x'}", "one of its fields"),
    ("signing", "model", "{}", "one of its fields"),
    ("signing", "steps.x", "1", "which has none"),
    ("signing", "mesh.data", "0", "at least 1, or -1"),
    ("signing", "mesh.fsdp", "0", "at least 1"),
    ("signing", "assumed.streams", "(1, 2)", "one of its fields"),
    ("signing", "assumed.streams.lipreading", "0", "at least 1"),
    ("signing", "model.d_model", "0", "at least 1"),
    ("signing", "model.d_model", "[]", "a whole number"),
    ("signing", "model.d_model", "33", "n_heads: found 2, wanted a number for which d_model 33"),
    ("signing", "model.n_heads", "0", "at least 1"),
    ("signing", "model.n_layers", "0", "at least 1"),
    ("signing", "model.conv_kernel", "4", "odd"),
    ("signing", "model.subsample", "3", "1, 2 or 4"),
    ("signing", "model.dropout", "2", "below 1"),
    ("signing", "model.frontend", "poze", "did you mean 'pose'?"),
    ("signing", "model.parts", "('feet',)", "each one of 'body'"),
    ("signing", "model.parts", "()", "at least one"),
    ("signing", "model.dtype", "float16", "one of 'float32', 'bfloat16'"),
    ("signing", "model.remat", "2", "True or False"),
    ("signing", "model.dropot", "0.1", "unknown name 'dropot'; did you mean 'dropout'?"),
    ("lipreading", "model.lip_size", "30", "a multiple of 16"),
    ("lipreading", "model.lip_patch", "0", "at least 1"),
    ("lipreading", "model.channels", "(8,)", "2 to 20 long"),
    ("lipreading", "model.channels", "(8, 0)", "each a whole number, at least 1"),
    ("signing", "augment.mirror", "7", "at most 1"),
    ("signing", "augment.speed", "1", "below 1"),
    ("signing", "augment.time_masks", "-1", "at least 0"),
    ("signing", "augment.rotation", "-3", "at least 0"),
    ("signing", "augment.keypoint_noise", "1e30", "at most 10"),
    ("signing", "options.beam_size", "2", "signing does not read it"),
    ("fusion", "model.n_heads", "3", "heads of even size"),
    ("fusion", "model.longest_s", "0.1", "more than shortest_s=0.25"),
    ("fusion", "model.ctc_frames", "0", "at least 1"),
    ("fusion", "augment.drop", "(0.1, 0.1, 0.1)", "one of its fields: --config.augment.drop.NAME"),
    ("fusion", "augment.drop.lipreding", "0.1", "did you mean 'lipreading'?"),
    ("fusion", "augment.drop_stream.lipreading", "1.1", "at most 1"),
    ("fusion", "augment.stretch", "1", "below 1"),
    ("language_model", "model.head_size", "3", "even"),
    ("language_model", "model.n_kv_heads", "3", "a divisor of n_heads=2"),
    ("language_model", "model.norm_eps", "0", "at least 1e-20"),
    ("language_model", "model.rope_base", "0", "at least 1"),
    ("language_model", "model.local_layers", "(True,)", "one value for each of the 2 layers"),
    ("language_model", "model.rope_llama3", "(1.0,)", "original length), low < high"),
    ("language_model", "model.rope_llama3", "(8.0, 4.0, 1.0, 8192.0)", "low < high"),
    ("language_model", "model.activation", "selu", "did you mean 'silu'?"),
    ("language_model", "options.bpe_vocabulary", "10", "at least 260"),
    ("language_model", "options.fresh_names", "1.1", "at most 1"),
    ("alignment", "model.dropout", "-1", "at least 0"),
    ("alignment", "model.d_model", "64", "alignment does not read it"),
    ("translation", "options.remat", "elementwize", "did you mean 'elementwise'?"),
    ("translation", "options.compute_dtype", "int8", "one of '', 'float32', 'bfloat16'"),
    ("translation", "options.lora_rank", "-1", "at least 0"),
    ("translation", "options.lora_alpha", "0", "above 0"),
    ("translation", "options.lora_targets", "('q', 'q')", "each once"),
    ("translation", "options.ctc_weight", "nan", "a number"),
    ("translation", "options.beam_size", "0", "at least 1"),
    ("translation", "options.generation", "4", "wanted one of its fields"),
    ("translation", "options.generation.beam_size", "0", "at least 1"),
    ("translation", "options.generation.beam_sise", "4", "did you mean 'beam_size'?"),
    ("translation", "options.generaton.beam_size", "4", "did you mean 'generation'?"),
    ("translation", "options.generation.beam_size.x", "4", "wanted a whole number"),
    ("translation", "options.generation.early_stopping", "2", "one of False, True, 'never'"),
    ("translation", "options.generation.early_stopping", "nevr", "did you mean 'never'?"),
    ("translation", "options.generation.length_penalty", "nan", "at least -5 and at most 5"),
    ("translation", "options.generation.temperature", "0.7", "or do_sample=True"),
    ("language_model", "options.generation.max_new_tokens", "0", "at least 1"),
    ("translation", "assumed.fusion.n_layers", "0", "at least 1"),
]


@pytest.mark.parametrize(
    ("config", "path", "text", "told"), WRONG, ids=[f"{w[1]}={w[2][:9]!a}" for w in WRONG]
)
def test_a_value_out_of_range_is_told_by_its_path(config, path, text, told):
    with pytest.raises(SignBindError) as caught:
        check_sections(load_config(f"{config}:size=tiny", {path: text}))
    line = str(caught.value)
    assert told in line and len(line) < 300 and line.isprintable(), line
    assert line.startswith(f"config.{path.rpartition('.')[0]}"), line
    assert path in line or told.partition(":")[0] in line, line


@pytest.mark.parametrize(
    "path", ["", ".", "..", ".steps", "steps.", "data..x", "a b", "x\ny", "\udcff", "data." * 9000]
)
def test_a_path_that_is_none_is_told(path):
    with pytest.raises(SignBindError, match="--config.PATH: found .*, wanted names with dots"):
        load_config("signing", {path: "1"})


def checked_classes(base=Checked):
    for cls in base.__subclasses__():
        yield cls
        yield from checked_classes(cls)


def without_limits(hint) -> bool:
    """Whether a type lets numbers or texts pass unchecked."""
    kind, limits = parts_of(hint)
    if typing.get_origin(kind) is tuple:
        return any(without_limits(inner) for inner in typing.get_args(kind) if inner is not ...)
    return kind in (int, float, str, typing.Any) and not limits


def test_every_field_of_every_config_has_its_range():
    classes = list(checked_classes())
    open_fields = [
        f"{cls.__name__}.{name}"
        for cls in classes
        for name, hint in hints_of(cls).items()
        if without_limits(hint)
    ]
    assert len(classes) >= 14 and not open_fields
    assert without_limits(float) and without_limits(tuple[int, ...])
    # Nor is there a config that is not checked.
    for path in Path(artefact.__file__).parent.rglob("*.py"):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and node.name.endswith(("Config", "Options")):
                assert [base.id for base in node.bases] == ["Checked"], f"{path}: {node.name}"


def test_no_range_takes_what_is_no_number_or_no_name():
    n = 0
    for cls in checked_classes():
        for name, hint in hints_of(cls).items():
            kind, limits = parts_of(hint)
            if kind in (int, float):
                wrong = (float("nan"), float("inf"), -float("inf"), None, "1", True, 10**400)
            elif kind is str:
                wrong = ("\0", None, 1, b"x") + ("no such",) * isinstance(limits[0], OneOf)
            else:
                continue
            for value in wrong:
                n += 1
                with pytest.raises(FieldError, match=f"^X.{name}: found .*, wanted "):
                    fit(value, hint, "X", name)
    assert n > 500 and Range(0, below=1).allows(0) and not Range(0, below=1).allows(1)


def test_what_is_made_in_code_is_checked_as_well():
    config = load_config("signing")
    with pytest.raises(FieldError, match=r"OptimConfig.clip_norm: found 0.0, wanted .*above 0"):
        dataclasses.replace(config.optim, clip_norm=0.0)


ARGUMENTS = [
    ("signing:base", "did you mean 'size'?; wanted NAME=VALUE such as size=VALUE"),
    ("signing:size", "argument size: found True, wanted str such as size=small"),
    ("signing:size=", "unknown name ''; known: base"),
    ("signing:size=5", "found 5, wanted str"),
    ("signing:size=tiny,size=few", "size: found twice"),
    ("signing:chips=x", "chips: found 'x', wanted int such as chips=1"),
    ("signing:corpus=bobsl", "corpus: found 'bobsl' with size=small, wanted it only with base"),
    (f"signing:size={DEEP}", "unknown name '((("),
    ("signing:a\nb", "unknown name 'a\\nb'"),
    ("signing:size=base,chips=99999999", "config.data.frames_per_batch"),
    (
        "alignment:size=huge",
        "size of alignment: unknown name 'huge'; known: base, few, large, natural, small, tiny",
    ),
    ("translation:llm=llama-3.2-3b,size=base", "size: found 'base' with llm=llama-3.2-3b, wanted"),
    ("alignment:llm=gemma-2-2b,corpus=bobsl", "corpus: found 'bobsl' with llm=gemma-2-2b, wanted"),
    ("lipreading:recorded,size=few", "recorded: found it with size=few, wanted it with size=small"),
    ("segmentation:size=natural", "unknown name 'natural'; known: base, few, large, small, tiny"),
    ("translation:llm", "llm: found True, wanted str"),
    ("translation:llm=llama-3.2-3b,chip=x", "chip: unknown name 'x'"),
    ("fusion:time=5", "time: found 5, wanted bool"),
    ("lipreading:frontend=lip", "model.frontend: found 'lip'"),
    ("sweeps/expert_on_new_corpus:expert=fusion", "unknown name 'fusion'"),
    ("open_llm", "unknown name 'open_llm'"),
]


@pytest.mark.parametrize(("spec", "told"), ARGUMENTS, ids=[a[0][:30] for a in ARGUMENTS])
def test_a_wrong_argument_of_a_config_is_told(spec, told):
    with pytest.raises(SignBindError) as caught:
        check_sections(load_config(spec))
    assert told in str(caught.value) and str(caught.value).isprintable()


GET = (
    "from signbind_jax.configs import common\n"
    "def get_config(arg=None):\n    c = common.run('signing')\n    "
)
OWN = [
    (f"{GET}return {{}}['size']\n", "own.py:4: KeyError: 'size'"),
    (f"{GET}c.steps = 'many'\n", "own.py:4: TypeError: "),
    (f"{GET}raise ValueError('a\\nb')\n", "own.py:4: ValueError: a b"),
    (f"{GET}raise SystemExit(0)\n", "own.py:4: SystemExit: 0"),
    (f"{GET}c.steps = 10**5000\n    return c\n", "config.steps: found a value of type int"),
    (f"{GET}c.optim.b2 = float('nan')\n    return c\n", "config.optim.b2: found nan"),
    (f"{GET}c.unlock()\n    c.stepz = 1\n    return c\n", "did you mean 'steps'?"),
    (f"{GET}pass\n", "own.py: get_config: found None, wanted a ConfigDict"),
    (f"{GET}return c.to_dict()\n", "get_config: found {"),
    (f"{GET}return\n".replace("signing", "singing"), "config.stage: found 'singing'"),
    ("def get_config(a, b):\n    pass\n", "own.py: TypeError: get_config() missing 1"),
    ("get_config = 5\n", "own.py: found no get_config, wanted a function"),
    ("import sys\n\nsys.exit(1)\n", "own.py:3: SystemExit: 1"),
    ("x = 1\ndef get_config(:\n", "own.py:2: SyntaxError: "),
    ("import no_such_module\n", "own.py:1: ModuleNotFoundError: "),
    ("def f():\n    f()\nf()\n", "own.py:2: RecursionError: "),
    ("x = 1\0", "own.py: "),
]


@pytest.mark.parametrize(("source", "told"), OWN, ids=[o[1][:34] for o in OWN])
def test_a_mistake_in_an_own_config_is_told_with_its_line(tmp_path, source, told):
    path = tmp_path / "own.py"
    path.write_text(source)
    with pytest.raises(SignBindError) as caught:
        load_config(str(path))
    assert told in str(caught.value) and str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("--config.steps=-5", "config.steps: found -5"),
        ("--config.model.dropout=2", "config.model.dropout: found 2.0"),
        ("--config.data.threads=-1", "config.data.threads: found -1"),
        ("--config.data.\udcff=1", "--config.PATH: found 'data.\\udcff'"),
    ],
)
def test_a_wrong_command_leaves_no_file_and_ends_in_one_line(tmp_path, capsys, override, told):
    workdir = tmp_path / "run"
    assert cli.main(["train", "--config=signing", f"--workdir={workdir}", override]) == 1
    error = capsys.readouterr().err
    assert error.startswith("signbind: error: ") and told in error and error.count("\n") == 1
    assert not workdir.exists()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["train", "--config=signing", "--workdir=w", "--noconfig.steps=3"], "wanted --noconfig.s"),
        (["train", "--config=signing", "--workdir=w", "--confg.steps=3"], "mean --config.steps?"),
        (["train", "--config=signing", "--workdir=w", "--config_steps=3"], "--config_steps=3"),
        (["train", "--config=signing"], "required: --workdir"),
        (["sweep", "--config=x", "--workdir=w", "--jobs=0"], "--jobs: found '0'"),
        (["sweep", "--config=x", "--workdir=w", "--point=-1"], "--point: found '-1'"),
        (["preflight", "--all", "--timeout=nan"], "--timeout: found 'nan', wanted a number, above"),
        (["preflight", "--all", "--jobs=x"], "--jobs: found 'x', wanted a whole number, at least"),
        (["data", "build", "synthetic", "--out=d", "--train=-5"], "--train: found '-5'"),
        (["data", "build", "synthetic", "--out=d", "--seed=abc"], "--seed: found 'abc'"),
        (["data", "build", "synthetic", "--out=d", "--workers=0"], "--workers: found '0'"),
        (["extract", "v.mp4", "--out=d", "--timeout=inf"], "--timeout: found 'inf'"),
        (["extract", "v.mp4", "--out=d", f"--workers={'9' * 5000}"], "--workers: found '999"),
        (["quickstart", "--seed=-1"], "--seed: found '-1', wanted a whole number, at least 0"),
        (["data", "build", "folder", "--source=s", "--out=d", "--lip_size=0"], "wanted a whole n"),
        (["data", "build", "youtube_asl", "--source=s", "--out=d", "--fps=inf"], "--fps: found"),
        (["train", "--config=x", "--workdir=w", "--host_timeout=1e300"], "--host_timeout: found"),
        (["evaluate", "--checkpoint=", "--data=d"], "--checkpoint: found '', wanted a path"),
        (["score", "--hypotheses=", "--references=r"], "--hypotheses: found '', wanted a path"),
        (["evaluate", "--checkpoint=\udcff", "--data=d"], "--checkpoint: found '\\udcff', wanted"),
    ],
)
def test_a_number_out_of_range_on_the_command_line_is_bad_usage(capsys, arguments, told):
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2 and told in capsys.readouterr().err


def test_a_run_that_saved_nothing_does_not_block_the_corrected_command(tmp_path):
    record = {"config": RunConfig("signing", steps=7).to_json()}
    other = RunConfig("signing", steps=8)
    assert not artefact.check_resumable(tmp_path, other)
    (tmp_path / "artefact.json").write_text(json.dumps(record))
    assert "saved no checkpoint: begins anew" in artefact.check_resumable(tmp_path, other)
    # Even a step that is not complete is something to lose.
    (tmp_path / "checkpoints" / "step_00000007").mkdir(parents=True)
    with pytest.raises(SignBindError, match="steps: found 7, wanted 8.*another run lives here"):
        artefact.check_resumable(tmp_path, other)
    assert not artefact.check_resumable(tmp_path, RunConfig("signing", steps=7))


def test_crops_of_another_size_than_the_models_are_told_before_training(synthetic):
    overrides = {"data.directory": str(synthetic), "model.lip_size": "64"}
    with pytest.raises(SignBindError, match="config.model.lip_size: found 64, wanted .*, 32x32"):
        open_source(load_config("lipreading:size=tiny", overrides))


def test_an_expert_reads_crops_in_the_size_that_the_dataset_has(synthetic, monkeypatch):
    monkeypatch.setattr(ClipDataset, "lip_size", (48, 48))
    source = open_source(load_config("lipreading:size=tiny", {"data.directory": str(synthetic)}))
    stage = make_stage(source.config, source.shapes)
    assert source.model_config == stage.model_config and stage.model_config.lip_size == 48


def test_rows_that_do_not_divide_over_the_mesh_are_told():
    class Mesh:
        shape = {"data": 2, "fsdp": 2, "tensor": 3}

    sharding.check_rows_divide(8, 1, Mesh)
    with pytest.raises(SignBindError, match="batch_multiple: found 2.* 6 rows .* multiple of 4"):
        sharding.check_rows_divide(6, 2, Mesh)
