"""The hard preset's table: which commands its rows need, which they share, and what pays."""

import subprocess
import time

import pytest

from benchmarks import once
from benchmarks.hard import table
from benchmarks.hard.elements import ELEMENTS, OTHERS, PLAIN
from benchmarks.hard.plan import Plan
from benchmarks.hard.recipe import STAGES, Recipe, of_stages
from benchmarks.real.work import Work
from signbind_jax import files
from signbind_jax.config import load_config
from signbind_jax.errors import SignBindError
from signbind_jax.processes import child
from signbind_jax.stages.sections import check_sections

BEHIND = {"fusion", "alignment", "translation"}
SENTENCES = {"alignment", "translation"}
# element -> the stages that are trained anew; the others are those of the plain recipe
TOUCHES = {
    "short_first": {"signing"} | BEHIND,
    "labelled_first": {"signing"} | BEHIND,
    "ordered": {"signing"} | BEHIND,
    "labelled_lips": {"lipreading"} | BEHIND,
    "weak": {"signing", "lipreading"} | BEHIND,
    "min_count": {"signing"} | BEHIND,
    "crossfit": BEHIND,
    "unread": BEHIND,
    "spellings": {"fingerspelling", "language_model"} | BEHIND,
    "more_letters": {"fingerspelling"} | BEHIND,
    "all_parts": {"signing"} | BEHIND,
    "made_up_names": {"language_model"} | SENTENCES,
    "regularised": {"language_model"} | SENTENCES,
    "whole_words": {"language_model"} | SENTENCES,
    "longer_alignment": SENTENCES,
    "slow_translation": {"translation"},
    "no_loops": set(),
    "longer_decoder": {"language_model"} | SENTENCES,
    "ordered_targets": {"language_model"} | BEHIND,
    "more_text": {"language_model"} | BEHIND,
    "noisy_prompts": {"language_model"} | SENTENCES,
    "spelled_text": SENTENCES,
    "smoothing": {"language_model"} | SENTENCES,
    "slow_decoder": {"translation"},
    "best_step": {"translation"},
    "mixture": {"signing", "lipreading"} | BEHIND,
    "end_to_end": {"signing", "lipreading", "translation"},
    "beams": set(),
}


@pytest.fixture
def plan(tmp_path):
    return Plan(tmp_path)


@pytest.mark.parametrize("element", TOUCHES)
def test_what_an_element_does_not_touch_is_shared(plan, element):
    plain = plan.system(PLAIN, 0)
    changed = plan.system(PLAIN | ELEMENTS[element].adds, 0)
    assert {s for s in STAGES if plain.trained[s] != changed.trained[s]} == TOUCHES[element]
    for stage in {"signing", "fusion"} - TOUCHES[element]:
        assert plain.scored[stage] == changed.scored[stage]
    assert plain.scored["translation"] != changed.scored["translation"]


def test_a_stage_behind_a_changed_one_is_another(plan):
    plain = plan.system(PLAIN, 0).trained
    changed = plan.system(PLAIN | of_stages(("signing",), steps=7), 0).trained
    differ = {stage for stage in STAGES if plain[stage] != changed[stage]}
    assert differ == {"signing"} | BEHIND
    assert not set(plain.values()) & set(plan.system(PLAIN, 1).trained.values())


def test_names_are_the_same_in_every_directory(tmp_path):
    here, there = (Plan(tmp_path / name).system(PLAIN, 0) for name in ("here", "there"))
    assert here == there


def test_every_job_comes_behind_those_it_needs(plan):
    for element in ELEMENTS.values():
        plan.system(PLAIN | element.adds, 0)
    seen = set()
    for job in plan.jobs.values():
        assert set(job.needs) <= seen, job.name
        seen.add(job.name)


def test_experts_of_folds_are_needed_by_what_reads_their_streams(plan):
    system = plan.system(PLAIN | ELEMENTS["crossfit"].adds, 0)
    fusion = plan.jobs[system.trained["fusion"]]
    folds = [job for job in plan.jobs.values() if "--config.data.fold_by=signer" in job.command]
    assert len(folds) == 8 and {job.name for job in folds} <= set(fusion.needs)
    places = {a.rpartition("/")[0] for job in folds for a in job.command if "--workdir" in a}
    named = {a.replace("--config.crossfit.", "") for a in fusion.command if ".crossfit." in a}
    assert {place.partition("=")[2] for place in places} == {a.partition("=")[2] for a in named}


def test_runs_before_an_expert_start_from_each_other(plan):
    system = plan.system(PLAIN | ELEMENTS["short_first"].adds | ELEMENTS["weak"].adds, 0)

    def start_of(run: str) -> str:
        told = [a for a in plan.jobs[run].command if a.startswith("--config.init.from=")]
        return told[0].rpartition("/")[2] if told else ""

    weak = start_of(system.trained["signing"])
    short = start_of(weak)
    assert "--config.data.longest_s=2.6" in plan.jobs[short].command and not start_of(short)
    assert "--config.data.longest_s=2.6" not in plan.jobs[weak].command
    data = [plan.jobs[run].needs[0].split("_")[1] for run in (short, weak)]
    assert data == ["main", "weak"]


def test_the_order_of_the_signs_is_found_by_the_run_before(plan):
    system = plan.system(PLAIN | ELEMENTS["ordered"].adds, 0)
    signing = plan.jobs[system.trained["signing"]]
    (order,) = [plan.jobs[name] for name in signing.needs if name.startswith("order")]
    assert f"--config.data.sign_order={plan.at(order.name)}" in signing.command
    (start,) = [a for a in signing.command if a.startswith("--config.init.from=")]
    before = start.partition("=")[2]
    assert f"--checkpoint={before}" in order.command


@pytest.mark.parametrize(
    ("element", "starts"), [("short_first", False), ("labelled_first", True), ("ordered", False)]
)
def test_experts_of_folds_start_from_none_that_saw_their_clips(plan, element, starts):
    plan.system(PLAIN | ELEMENTS[element].adds | ELEMENTS["crossfit"].adds, 0)
    folds = [job for name, job in plan.jobs.items() if name.startswith("folds_signing")]
    started = {any("init.from" in argument for argument in job.command) for job in folds}
    assert len(folds) == 4 and started == {starts}


def test_noise_waits_for_the_errors_that_it_is_fitted_to(plan):
    recipe = PLAIN | ELEMENTS["matched_noise"].adds
    assert plan.system(recipe, 0) is None
    assert not any(job.name.startswith("fusion") for job in plan.jobs.values())
    plain = plan.system(PLAIN, 0)
    counts = {"deletions": 10, "insertions": 0, "reference_tokens": 100}
    for name in ("signing", "lipreading"):
        for split, wrong in (("train", 5), ("validation", 45)):
            path = plan.directory / f"{plain.scored[name][split]}.json"
            files.write_json(path, {"scores": counts | {"substitutions": wrong}})
    noisy = plan.system(recipe, 0)
    command = plan.jobs[noisy.trained["fusion"]].command
    assert "--config.augment.substitute.signing=0.400" in command
    assert "--config.augment.drop.lipreading=0.000" in command
    assert noisy.trained["signing"] == plain.trained["signing"]
    assert noisy.trained["fusion"] != plain.trained["fusion"]


def test_found_words_reach_all_that_writes_or_reads_letters(plan):
    system = plan.system(PLAIN | ELEMENTS["spellings"].adds, 0)
    told = f"--config.data.spellings={plan.at(system.spellings)}"
    having = {stage for stage in STAGES if told in plan.jobs[system.trained[stage]].command}
    assert having == {"fingerspelling", "language_model"} | BEHIND
    # They were found with an expert that had not been told of them.
    read = plan.jobs[plan.jobs[system.spellings].needs[0]]
    assert not any("spellings" in argument for argument in plan.jobs[read.needs[0]].command)


def test_another_expert_may_read_what_words_are_looked_for_in(plan):
    elements = ELEMENTS["spellings"].adds | ELEMENTS["shape_reader"].adds
    for recipe in (PLAIN | elements, PLAIN | ELEMENTS["shape_reader"].adds | elements):
        system = plan.system(recipe, 0)
        read = plan.jobs[plan.jobs[system.spellings].needs[0]]
        reader, learner = plan.jobs[read.needs[0]], plan.jobs[system.trained["fingerspelling"]]
        assert "--config=fingerspelling:frontend=hand_shape" in reader.command
        assert "--config=fingerspelling" in learner.command


@pytest.mark.parametrize("name", [*ELEMENTS, *OTHERS])
@pytest.mark.parametrize("trial", [False, True])
def test_every_training_has_a_config_that_goes(tmp_path, name, trial):
    plan = Plan(tmp_path, trial)
    plan.system(PLAIN | (ELEMENTS | OTHERS)[name].adds, 0)
    for job in plan.jobs.values():
        if job.command[0] == "train":
            spec, *options = (a.removeprefix("--config").lstrip(".=") for a in job.command[1:])
            given = dict(a.split("=", 1) for a in options if not a.startswith("--"))
            check_sections(load_config(spec, given))


def test_what_is_finished_is_not_run_again(tmp_path, capfd):
    work = Work(tmp_path / "work")
    text = tmp_path / "text.txt"
    text.write_text("a b\n")
    score = ["score", f"--hypotheses={text}", f"--references={text}"]
    missing = ["score", f"--hypotheses={tmp_path / 'none'}", f"--references={text}"]
    commands = {"first": score, "fails": missing, "behind": score, "other": score}
    with pytest.raises(SignBindError, match=r"fails: .*none"):
        work.run(commands, {"behind": ["fails"], "other": ["first"]})
    done = [name for name in commands if work.is_done(name, commands[name])]
    assert done == ["first", "other"]
    record = files.read_json(work.record("first"))
    assert record["processor_seconds"] > 0 and record["command"] == score
    assert not once.finished(work.record("first"), [*score, "--more"])
    capfd.readouterr()

    (tmp_path / "none").write_text("a b\n")
    work.run(commands, {"behind": ["fails"], "other": ["first"]})
    started = [line.partition(":")[0] for line in capfd.readouterr().out.splitlines()]
    assert started == ["fails", "behind"]
    assert files.read_json(work.record("first")) == record


def test_what_reads_a_run_that_is_trained_anew_is_done_again(tmp_path):
    work, made = Work(tmp_path), {}
    for name, command in {
        "expert": ["train", "--workdir=a/expert", "--config.steps=1"],
        "other": ["train", "--workdir=a/expert2"],
        "fusion": ["train", "--workdir=a/fusion", "--config.parents.signing=a/expert"],
        "scores": ["evaluate", "--checkpoint=a/fusion", "--json=scores.json"],
        "other_scores": ["evaluate", "--checkpoint=a/expert2"],
    }.items():
        made[name] = command
        files.write_json(work.record(name), {"command": command})
    anew = ["train", "--workdir=a/expert", "--config=none"]  # which ends it at once
    with pytest.raises(SignBindError, match="none"):
        work.run({"expert": anew})
    done = {name for name, command in made.items() if work.is_done(name, command)}
    assert done == {"other", "other_scores"}


def test_a_command_ends_with_what_started_it(tmp_path):
    record, out = tmp_path / "record.json", tmp_path / "data"
    build = ["data", "build", "synthetic", "--train=100000", "--workers=1", f"--out={out}"]
    command, environment = child.python("benchmarks.once", str(record), *build)
    process = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE)
    while not (tmp_path / ".data.building").exists():
        assert process.poll() is None
        time.sleep(0.1)
    process.stdin.close()
    assert process.wait(timeout=300)
    assert not once.finished(record, build) and not out.exists()


def rows(**bleu_and_names):
    """Rows with a BLEU-4 and a name recall of the validation split for each seed."""
    return {
        row: [
            {"bleu4": {"validation": bleu}, "name_recall": {"validation": names}}
            for bleu, names in seeds
        ]
        for row, seeds in bleu_and_names.items()
    }


@pytest.mark.parametrize(
    ("without", "told"),
    [((12.9, 32.0), False), ((10.9, 32.0), True), ((14.0, 20.0), True), ((10.0, 38.0), False)],
)
def test_an_element_pays_by_more_than_the_seeds_lie_apart(without, told):
    found = rows(final=[(13.0, 32.0), (15.0, 30.0)], **{"-beams": [without]})
    assert table.pays(found, "-beams") == told


def test_a_row_of_another_seed_is_judged_by_that_seed():
    found = rows(final=[(13.0, 32.0), (15.0, 30.0)], **{"-beams@1": [(12.0, 30.0)]})
    assert table.pays(found, "-beams@1")
    assert not table.pays(found | {"-beams": found["-beams@1"]}, "-beams")


def test_a_row_has_the_seeds_that_it_says(tmp_path):
    here = table.Table(tmp_path, 2)
    recipes = {row: table.recipe_of(row) for row in ("plain", "beams@1", "beams")}
    planned = here.plan_rows(recipes)
    assert [len(systems) for systems in planned.values()] == [2, 1, 1]
    trained = [systems[-1].trained for systems in planned.values()]
    assert trained[0] == trained[1] != trained[2] == planned["plain"][0].trained
    with pytest.raises(SignBindError, match="--rows: beams@one: found 'one'"):
        here.plan_rows({"beams@one": PLAIN})


def test_the_final_recipe_without_an_element_is_all_the_others(plan):
    whole, without = table.recipe_of("final"), table.recipe_of("-beams")
    once = {"no_repeat_ngram_size": 3}
    assert whole.writing == {"beam_size": 4} | once and without.writing == once
    assert without | ELEMENTS["beams"].adds == whole
    two = table.recipe_of("-beams-no_loops")
    assert not two.writing and two | ELEMENTS["no_loops"].adds == without
    assert table.recipe_of("plain") == PLAIN
    assert table.recipe_of("beams") == PLAIN | ELEMENTS["beams"].adds
    with pytest.raises(SignBindError, match="--rows: unknown name 'final-beams'"):
        table.recipe_of("final-beams")


def test_the_order_in_which_elements_are_named_does_not_matter(plan):
    names = ("min_count", "epochs", "labelled_first", "ordered")
    one, other = PLAIN, PLAIN
    for name in names:
        one, other = one | ELEMENTS[name].adds, ELEMENTS[name].adds | other
    assert plan.system(one, 0) == plan.system(other, 0)


def test_every_stage_starts_from_that_of_another_recipe(plan):
    system = plan.system(PLAIN | OTHERS["labelled_after_weak"].adds, 0)
    first = plan.system(OTHERS["labelled_after_weak"].adds.start, 0)
    assert system.trained["language_model"] == first.trained["language_model"]
    for stage in ("signing", "fusion", "alignment", "translation"):
        told = f"--config.init.from={plan.at(first.trained[stage])}"
        assert told in plan.jobs[system.trained[stage]].command


def test_experts_of_folds_start_from_another_recipe_that_has_not_seen_their_clips(plan):
    adds = OTHERS["labelled_after_weak"].adds
    assert adds.start.parts["signing"] == ("weak",)
    assert adds.start.parts["lipreading"] == ("labelled",)
    plan.system(PLAIN | adds, 0)
    first = plan.system(adds.start, 0)
    told = f"--config.init.from={plan.at(first.trained['signing'])}"
    for kind, starts in (("signing", {told}), ("lipreading", set())):
        folds = [job for name, job in plan.jobs.items() if name.startswith(f"folds_{kind}")]
        started = {a for job in folds for a in job.command if "init.from" in a}
        assert len(folds) == 4 and started == starts


def test_a_recipe_over_another_keeps_what_it_does_not_name():
    low = of_stages(("fusion",), steps=5, data__min_count=2)
    over = low | of_stages(("fusion", "signing"), steps=9) | Recipe(spellings=True)
    assert over.given == {"fusion": {"steps": 9, "data.min_count": 2}, "signing": {"steps": 9}}
    assert (PLAIN | over).parts == PLAIN.parts and over.spellings


def test_a_table_shows_means_and_what_was_not_there_to_score():
    scored = {score: {"train": 1.0, "test": 3.0} for score in table.COLUMNS}
    none = scored | {"name_recall": {"train": None, "test": 5.0}}
    text = table.markdown(
        {"plain": [scored, none | {"bleu4": {"train": 2.0, "test": 4.0}}]}, {"plain": 7.4}
    )
    cells = [cell.strip() for cell in text.splitlines()[2].strip("|").split("|")]
    assert cells[:2] == ["plain", "2"] and cells[-2:] == ["", "7"]
    assert cells[6] == "1.5 / 3.5" and cells[8] == "– / 4.0"


def test_what_was_measured_elsewhere_is_not_trained_again(tmp_path):
    recipes = {"plain": PLAIN, "beams": PLAIN | ELEMENTS["beams"].adds}
    here = table.Table(tmp_path / "here", 1)
    (system,) = here.plan_rows({"plain": PLAIN})["plain"]
    scores = {"scores": {"all": dict.fromkeys(table.COLUMNS, 7.5)}}
    measured = {job: {"minutes": 1.0} for job in here.plan.jobs}
    measured |= {job: {"minutes": 0.5, "scores": scores} for job in system.results}
    files.write_json(tmp_path / "measured.json", measured)
    there = table.Table(tmp_path / "there", 1, measured=tmp_path / "measured.json")
    assert there.left({"plain": PLAIN}) == []
    there.run({"plain": PLAIN})
    assert there.rows["plain"][0]["bleu4"]["test"] == 7.5
    assert there.minutes["plain"] == len(here.plan.jobs) - 0.5 * len(system.results)
    # What another row needs of it is trained, its scores are not made again.
    left = set(there.left(recipes))
    assert system.trained["translation"] in left and not left & {*system.results}
    again = table.Table(tmp_path / "there", 1)
    assert again.left({"plain": PLAIN}) == []


def test_what_is_done_is_kept_before_its_row_is_finished(tmp_path):
    here = table.Table(tmp_path / "here", 1)
    here.plan_rows({"plain": PLAIN})
    jobs = here.plan.jobs
    scoring = next(name for name, job in jobs.items() if job.command[0] == "evaluate")
    done = [*here.plan.with_needs([scoring])]
    for name in done:
        record = {"command": list(jobs[name].command), "processor_seconds": 90.0}
        files.write_json(here.work.record(name), record)
    files.write_json(here.directory / f"{scoring}.json", {"scores": {}})
    assert not {*here.left({"plain": PLAIN})} & {*done}
    # Another directory's is added to what this one has.
    files.write_json(tmp_path / "others.json", {"another": {"minutes": 1.0}})
    again = table.Table(tmp_path / "here", 1, measured=tmp_path / "others.json")
    again.left({"plain": PLAIN})
    kept = files.read_json(tmp_path / "here" / table.MEASURED)
    assert kept == {name: {"minutes": 1.5} for name in done} | {
        "another": {"minutes": 1.0},
        scoring: {"minutes": 1.5, "scores": {"scores": {}}},
    }
