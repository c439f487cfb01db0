"""Streams that come with the clips: what an expert read, written to a file, translates as before;
runs without any expert train, are judged and translate."""

import argparse
import json

import numpy as np
import pytest

from signbind_jax import cli, streams
from signbind_jax.checkpoint import artefact
from signbind_jax.config import load_config
from signbind_jax.data.dataset import open_dataset
from signbind_jax.data_pipelines import clip_inputs
from signbind_jax.errors import SignBindError
from signbind_jax.sources import open_source
from signbind_jax.stages import assumed_stage, make_stage, read_streams
from signbind_jax.use.export_command import export_translator
from signbind_jax.use.parts import load_fusion
from signbind_jax.use.translator import Translator
from tests import frame_corpora, untrained_runs


@pytest.fixture(scope="module")
def expert(tmp_path_factory):
    """An alignment run on a signing expert, whose fusion reads no hidden vectors."""
    tree = tmp_path_factory.mktemp("expert")
    untrained_runs.write_alignment(tree, {"model.hidden": "False"})
    return tree


def evaluate(tree, data, *more) -> dict:
    path = tree / "scores.json"
    options = [f"--checkpoint={tree / 'alignment'}", f"--data={data}", f"--json={path}", *more]
    assert cli.main(["evaluate", *options]) == 0
    return json.loads(path.read_text())["scores"]


def translated(capsys, *arguments) -> tuple[int, dict[str, str], str]:
    """Exit code, sentence by clip, standard error."""
    capsys.readouterr()
    code = cli.main(["translate", "--format=json", *map(str, arguments)])
    out, err = capsys.readouterr()
    records = map(json.loads, filter(None, out.split("\n")))
    return code, {record["id"]: record["sentence"] for record in records}, err


def test_an_experts_streams_written_and_read_back_give_the_same_sentences(expert, capsys):
    file = expert / "read.jsonl.gz"
    scores = evaluate(expert, expert / "data", f"--streams={file}")
    run = Translator(expert / "alignment")
    clips = open_dataset(expert / "data").split("test")
    read = run.read(clips)
    wanted = dict(zip(clips.ids, run.write(read), strict=True))
    assert any(wanted.values()) and all(run.tokens(read, i)["signing"] for i in range(len(clips)))

    code, found, err = translated(capsys, f"--checkpoint={expert / 'alignment'}", file)
    assert (code, found, err) == (0, wanted, "")

    again = expert / "again"
    assert cli.main(["data", "build", "streams", f"--source={file}", f"--out={again}"]) == 0
    assert evaluate(expert, again) == scores
    stored = open_dataset(again).split("test")
    for i in range(len(clips)):
        assert list(stored[i].streams["signing"]) == run.tokens(read, i)["signing"]


def test_streams_are_written_of_any_stage_that_reads_clips(expert, capsys):
    data = [f"--data={expert / 'data'}", "--split=test"]
    for stage, told in (("signing", ""), ("language_model", "a stage that reads no clips")):
        out = expert / f"{stage}.jsonl"
        run = ["evaluate", f"--checkpoint={expert / stage}", *data, f"--streams={out}"]
        assert cli.main(run) == bool(told) and told in capsys.readouterr().err
        assert out.exists() != bool(told)
    lines = [json.loads(line) for line in (expert / "signing.jsonl").read_text().splitlines()]
    assert [line["streams"].keys() for line in lines] == [{"signing"}] * 4
    assert lines[0]["text"] == "Anna came." and lines[0]["split"] == "test"
    run = ["evaluate", f"--checkpoint={expert / 'signing'}", *data, "--streams=out.txt"]
    assert cli.main(run) == 1
    assert "out.txt: found that ending, wanted .jsonl or .jsonl.gz" in capsys.readouterr().err


def test_tokens_beside_a_recording_the_expert_reads_are_told(expert, tmp_path, capsys):
    tokens = {"signing": [["COME", 0.1, 0.2]]}
    line = {"id": "a", "seconds": 0.8, "streams": tokens}
    (tmp_path / "given.jsonl").write_text(json.dumps(line))
    run = f"--checkpoint={expert / 'alignment'}"
    code, found, err = translated(capsys, run, expert / "a.npz", tmp_path / "given.jsonl")
    assert code == 1 and not found and err.count("\n") == 1
    assert "clip 'a': found a recording and tokens of stream signing" in err


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """An alignment run on streams of the dataset's own, without any expert."""
    tree = tmp_path_factory.mktemp("given")
    lines = []
    for split in ("train", "validation"):
        for i, sentence in enumerate(untrained_runs.SENTENCES):
            gloss, text = sentence.split("|")
            names = gloss.lower().split() + (["new"] if split == "validation" else [])
            rows = [[name, 5 * j, 5 * j + 4] for j, name in enumerate(names)]
            mouth = [[f"m{i}", 1, 3, 0.5]] if i else []
            lines.append(
                {
                    "id": f"{split}{i}",
                    "split": split,
                    "text": text,
                    "gloss": gloss.split(),
                    "fps": 25,
                    "n_frames": 20,
                    "streams": {"by_hand": rows, "mouth": mouth},
                }
            )
    (tree / "lines.jsonl").write_text("\n".join(map(json.dumps, lines)))
    build = ["data", "build", "streams", f"--source={tree / 'lines.jsonl'}"]
    assert cli.main([*build, f"--out={tree / 'data'}", "--text_language=en"]) == 0
    streams = {"data.streams": "mouth,by_hand"}
    untrained_runs.write_run("language_model", tree)
    untrained_runs.write_run("fusion", tree, **streams)
    parents = {f"parents.{name}": str(tree / name) for name in ("language_model", "fusion")}
    untrained_runs.write_run("alignment", tree, **streams, **parents)
    return tree


def test_a_run_without_experts_has_the_datasets_streams_alone(given, caplog, capsys):
    fusion = artefact.open_artefact(given / "fusion")
    vocabularies = fusion.vocabularies
    assert fusion.config.streams == ("mouth", "by_hand")
    assert fusion.model_config.n_ids == (4, 6)
    assert vocabularies["stream mouth"].tokens[1:] == ("m1", "m2", "m3")
    read_streams._tell.cache_clear()  # it is told once, when the run began
    scores = evaluate(given, given / "data", "--split=validation")
    assert list(scores) == ["mouth", "mouth+by_hand", "all"]
    told = "stream by_hand: 4 of 11 tokens of validation are not in its vocabulary: left out"
    assert f"{told}, such as new" in caplog.text

    sentences = dict(
        zip(
            open_dataset(given / "data").split("train").ids,
            (run := Translator(given / "alignment")).write(
                run.read(open_dataset(given / "data").split("train"))
            ),
            strict=True,
        )
    )
    code, found, err = translated(
        capsys, f"--checkpoint={given / 'alignment'}", given / "lines.jsonl"
    )
    assert code == 0 and {k: v for k, v in found.items() if k in sentences} == sentences


def test_a_bundle_without_experts_keeps_its_streams(given, tmp_path):
    made = export_translator(given / "alignment", tmp_path / "out")
    assert made.experts == ()
    assert Translator(made.directory).streams == ("mouth", "by_hand")
    fused = [load_fusion(x) for x in (made.directory, given / "alignment")]
    read = {"mouth": [("m1", 0.1, 0.2)], "by_hand": [("anna", 0.1, 0.3), ("come", 0.4, 0.6)]}
    assert fused[0](read) == fused[1](read) and fused[0].streams["mouth"] == ("m1", "m2", "m3")


def test_noise_and_absent_streams_hold_for_given_streams(given):
    overrides = {"data.directory": str(given / "data"), "data.streams": "mouth,by_hand"}
    config = load_config("fusion:size=tiny", overrides | {"augment.drop.mouth": "0.5"})
    assert config.augment["drop"] == {"mouth": 0.5}
    with pytest.raises(SignBindError, match="augment.drop.moth: found 'moth'"):
        open_stage(load_config("fusion:size=tiny", overrides | {"augment.drop.moth": "0.5"}))


def test_a_stream_of_the_datasets_own_stands_behind_an_experts(tmp_path):
    untrained_runs.write_dataset(tmp_path)
    signing = untrained_runs.write_run("signing", tmp_path)
    line = {"id": "a", "fps": 30, "n_frames": 24, "streams": {"mouth": [["m1", 3, 6, 0.5]]}}
    (tmp_path / "read.jsonl").write_text(json.dumps(line))
    rows = ["id|split|text|gloss|pose|streams", "a|train|Anna.|ANNA|a.npz|read.jsonl"]
    rows += ["b|train|Bob.|BOB|a.npz|"]
    (tmp_path / "manifest.tsv").write_text("\n".join(rows).replace("|", "\t"))
    both = tmp_path / "both"
    build = ["data", "build", "folder", f"--source={tmp_path}", f"--out={both}", "--workers=1"]
    assert cli.main(build) == 0
    overrides = {"data.directory": str(both), "parents.signing": str(signing)}
    source = open_source(load_config("fusion:size=tiny", overrides | {"data.streams": "mouth"}))
    assert source.config.streams == (*streams.SHIPPED, "mouth")
    clips = source.dataset.split("train")
    read = source.reader.read(clips)
    expert, given = read.experts["signing"], read.experts["mouth"]
    assert given.n_clips == 2 and given.first.tolist() == [0, 1, 1]
    assert (given.start, given.end, given.confidence) == (np.float32(0.1), np.float32(0.2), 0.5)
    assert source.reader.without_input(clips) == {"mouth": {1}}
    tokens = read.rows([0], 64)
    own = tokens["stream_bm"][0] == 3
    assert own.sum() == 1 and not tokens["hidden_bmd"][0][own].any()
    assert tokens["hidden_bmd"].shape[-1] == expert.hidden.shape[1]
    # What a shipped stream is called: its place is that of the shipped one, its expert not needed.
    named = load_config("fusion:size=tiny", overrides | {"data.streams": "lipreading"})
    assert named.streams == streams.SHIPPED


def test_a_line_of_a_recordings_id_stands_beside_it_in_translation(tmp_path):
    frame_corpora.write_pose(tmp_path / "a.npz", 24)
    lines = [
        {"id": name, "seconds": 0.8, "streams": {"mouth": [["m1", 0, 0.5]]}} for name in ("a", "b")
    ]
    lines.append(lines[0] | {"id": "c", "streams": {"mouth": [["m1", 0, 1]]}})
    file = tmp_path / "read.jsonl"
    file.write_text("\n".join(map(json.dumps, lines)))
    parser = argparse.ArgumentParser()
    clip_inputs.add_arguments(parser)
    read = clip_inputs.read_inputs(parser.parse_args([str(tmp_path / "a.npz"), str(file)]), None)
    assert read.names == ["a.npz", "b"]
    assert [tuple(clip.modalities) for clip in read.clips] == [("pose",), ()]
    assert [clip.streams["mouth"][0].token for clip in read.clips] == ["m1", "m1"]
    (fault,) = read.faults
    assert f"{file}:3: clip 'c': stream 'mouth': token 0 'm1': end: found 1" in fault
    # Several files with the same ids: told apart by their file.
    (tmp_path / "more.jsonl").write_text(json.dumps(lines[1]))
    named = clip_inputs.read_inputs(parser.parse_args([str(tmp_path / "more.jsonl"), str(file)]), 1)
    assert named.names == [f"{tmp_path / 'more.jsonl'}:b", "a", f"{file}:b"]


def open_stage(config):
    return make_stage(config, open_source(config).shapes)


WRONG = [
    ({"data.streams": "gloss"}, "found 'gloss', of which no clip of split train has a token"),
    ({"data.streams": "mouth,mouth"}, "data.streams: found ('mouth', 'mouth'), wanted each name"),
    ({"data.streams": "fusion"}, "not the name of a stage"),
    ({"data.streams": "signing", "parents.signing": "x"}, "parents.signing: found 'x', wanted"),
    ({}, "or streams of the dataset's own as config.data.streams"),
]


@pytest.mark.parametrize(("overrides", "told"), WRONG, ids=[str(wrong) for wrong, _ in WRONG])
def test_wrong_streams_of_a_run_are_one_line(given, overrides, told):
    directory = {"data.directory": str(given / "data")}
    with pytest.raises(SignBindError) as caught:
        open_source(load_config("fusion:size=tiny", directory | overrides))
    assert told in str(caught.value) and "\n" not in str(caught.value)


def test_a_parent_of_other_streams_is_told(given):
    parents = {f"parents.{name}": str(given / name) for name in ("language_model", "fusion")}
    overrides = {"data.directory": str(given / "data"), "data.streams": "by_hand,mouth"} | parents
    with pytest.raises(SignBindError, match="streams by_hand, mouth, wanted mouth, by_hand as"):
        open_source(load_config("alignment:size=tiny", overrides))


def test_preflight_takes_their_sizes_from_the_config():
    overrides = {"data.streams": "mouth,by_hand", "assumed.streams.mouth": "77"}
    stage = assumed_stage(load_config("fusion:size=tiny", overrides))
    assert stage.model_config.n_ids == (77, 1024)
    with pytest.raises(SignBindError, match="streams.moth: found 'moth'"):
        load_config("fusion:size=tiny", {"assumed.streams.moth": "77"})


def test_configs_without_given_streams_keep_their_digest():
    config = load_config("fusion:size=tiny", {})
    assert "streams" not in config.deciding()["data"]
    assert load_config("fusion:size=tiny", {"data.streams": "mouth"}).digest != config.digest
