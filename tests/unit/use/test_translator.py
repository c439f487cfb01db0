"""The Python interface: a trained system opened once, called with files and clips."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import signbind_jax as sb
from signbind_jax import cli
from signbind_jax.data.dataset import open_dataset
from signbind_jax.use.translation import time_words


@pytest.fixture(scope="module")
def translator(runs):
    """Of the untrained alignment run."""
    return sb.load_translator(runs / "alignment")


def test_files_and_clips_give_what_the_command_prints(runs, translator, capsys, monkeypatch):
    path = runs / "a.npz"
    one = translator(path)
    assert one.id == "a" and one.streams["signing"] and one.no_input == ()
    clip = open_dataset(runs / "data").split("test")[0]
    assert dataclasses.replace(translator(clip), id="a") == one
    # In rows of several clips the last bits are others.
    monkeypatch.chdir(runs)
    several = translator([str(path), "a.npz"])
    clips = [dataclasses.replace(clip, id="a")] * 2
    assert several == translator.translate_clips(clips) and len(several) == 2
    assert translator([]) == []

    arguments = ["translate", f"--checkpoint={runs / 'alignment'}", str(path)]
    assert cli.main(arguments) == 0
    assert capsys.readouterr().out == f"a.npz\t{one.text}\n"
    assert cli.main([*arguments, "--format=json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["sentence"] == one.text
    own = one.to_json()
    assert {name: printed[name] for name in own if name in printed} == {
        name: value for name, value in json.loads(json.dumps(own)).items() if name != "text"
    }


def test_settings_of_generation_go_by_name(runs):
    assert sb.load_translator(runs / "alignment", beam_size=3).generation.beam_size == 3
    with pytest.raises(sb.SignBindError, match="generation.beam_sizes: .*did you mean"):
        sb.load_translator(runs / "alignment", beam_sizes=2)


def test_what_is_no_clip_ends_in_one_line(runs, translator, tmp_path):
    (tmp_path / "torn.npz").write_bytes(b"PK")
    (tmp_path / "more").mkdir()
    for name in ("a", "b"):
        (tmp_path / "more" / f"{name}.npz").write_bytes((runs / "a.npz").read_bytes())
    for path, said in (
        ("torn.npz", "torn.npz: cannot be read as .npz"),
        ("none.mp4", "none.mp4: no such file"),
        ("more", "more: found 2 clips, wanted the file of one"),
    ):
        with pytest.raises(sb.SignBindError, match=said) as error:
            translator([runs / "a.npz", tmp_path / path])
        assert "\n" not in str(error.value)


def test_a_word_has_the_times_of_what_reads_as_it_does():
    T = sb.TimedToken
    read = {
        "signing": [T("HOME", 0.1, 0.4), T("BIG", 1.5, 1.9), T("HOME", 2.0, 2.5)],
        "fingerspelling": [T(c, 0.5 + i / 8, 0.5625 + i / 8) for i, c in enumerate("annabo")],
        "lipreading": [T("AH", 0.0, 0.1)],
    }
    words = time_words("Anna went home, ah, bo: home is home!", read)
    assert [(w.text, w.start_s, w.end_s) for w in words] == [
        ("Anna", 0.5, 0.9375),
        ("went", None, None),
        ("home", 0.1, 0.4),
        ("ah", None, None),
        ("bo", None, None),
        ("home", 2.0, 2.5),
        ("is", None, None),
        ("home", None, None),
    ]


def test_the_package_imports_nothing_heavy():
    code = "import sys, signbind_jax as sb; dir(sb); print({'jax', 'numpy'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


TYPED = """
from typing import assert_type

import signbind_jax as sb

translate = sb.load_translator("directory", beam_size=3)
assert_type(translate("a.mp4"), sb.Translation)
assert_type(translate(["a.mp4"], crops=True), list[sb.Translation])
assert_type(translate.translate_clips([]), list[sb.Translation])
assert_type(translate("a.mp4").words[0].start_s, float | None)
assert_type(sb.load_expert("directory")("a.npz"), list[sb.TimedToken])
assert_type(sb.load_fusion("directory")({"signing": [sb.TimedToken("A", 0.0, 1.0)]}), list[str])
streaming = sb.StreamingTranslator(translate, sb.StreamSettings(fps=25.0, look_ahead_s=0.4))
assert_type(streaming.feed(), sb.StreamUpdate)
assert_type(streaming.end().translation, sb.Translation | None)
translate("a.mp4", crop=True)  # type: ignore[call-overload]
"""
CHECKED = """
[mypy]
disallow_untyped_calls = True
warn_unused_ignores = True
[mypy-signbind_jax.*]
follow_imports = silent
[mypy-{}]
follow_imports = skip
ignore_missing_imports = True
"""
OTHERS = "etils flax grain jax jinja2 ml_collections numpy optax orbax safetensors tokenizers tqdm"


def test_a_type_checker_knows_what_is_public(tmp_path):
    package = Path(sb.__file__).parent
    assert (package / "py.typed").exists()
    (tmp_path / "typed.py").write_text(TYPED)
    others = ",".join(f"{name}.*" for name in OTHERS.split())
    (tmp_path / "mypy.ini").write_text(CHECKED.format(others))
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file=mypy.ini", "typed.py"],
        cwd=tmp_path,
        env={**os.environ, "MYPYPATH": str(package.parent)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_the_environment_says_of_jax_stays(tmp_path):
    code = "import os, signbind_jax as sb; sb.TimedToken; print(os.environ['{}'])"
    base = {n: x for n, x in os.environ.items() if not n.startswith(("JAX", "XLA", "XDG"))}
    for name, given, wanted in (
        ("JAX_COMPILATION_CACHE_DIR", "mine", "mine"),
        ("JAX_COMPILATION_CACHE_DIR", "", f"{tmp_path}/.cache/signbind_jax/xla"),
        ("XLA_FLAGS", "--xla_foo=1", "--xla_foo=1 --xla_llvm_disable_expensive_passes=true"),
    ):
        env = base | {"HOME": str(tmp_path)} | ({name: given} if given else {})
        command = [sys.executable, "-c", code.format(name)]
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == wanted
