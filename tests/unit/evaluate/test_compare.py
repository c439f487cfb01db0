"""`signbind compare`: a page that shows two systems on the same clips."""

import re

import pytest

from signbind_jax.data.dataset import open_dataset
from signbind_jax.evaluate.compare import choose, compare_clips
from tests.conftest import signbind

REFERENCES = [f"We met {name} at the old harbour today." for name in ("Anna", "Bo", "Cy", "Di")]
FIRST = [*REFERENCES[:2], "We met Cy.", ""]
SECOND = ["We met Ana at the old <b>port</b> today.", REFERENCES[1], REFERENCES[2], "Today."]


def written(directory, **sides) -> list[str]:
    arguments = []
    for name, lines in sides.items():
        path = directory / f"{name}.txt"
        path.write_text("".join(f"{line}\n" for line in lines))
        side = "references" if name == "references" else "hypotheses"
        arguments.append(f"--{side}={path}")
    return [*arguments, f"--out={directory / 'page.html'}", "--resamples=100"]


def compare(directory, *options, **sides):
    sides = {"references": REFERENCES, "first": FIRST, "second": SECOND} | sides
    done = signbind("compare", *written(directory, **sides), *options, check=False)
    page = directory / "page.html"
    return done, page.read_text() if page.exists() else ""


def articles(page: str) -> dict[str, tuple[set[str], str]]:
    """Heading of a clip -> the kinds it is of, and what stands in it, on one line."""
    found = re.findall(r'<article class="clip ([^"]*)">\s*<h3>([^<]*)(.*?)</article>', page, re.S)
    return {head: (set(kinds.split()), " ".join(rest.split())) for kinds, head, rest in found}


def test_the_page_shows_both_systems_with_scores_and_marked_words(tmp_path):
    done, page = compare(tmp_path, "--names=ours, theirs")
    assert done.returncode == 0 and done.stdout == f"page written to {tmp_path / 'page.html'}\n"
    assert "Two systems on the same 4 clips" in page and "<script" not in page
    assert "ours is better in 1, theirs in 2, and 1 are equal" in " ".join(page.split())
    for name in ("BLEU-4", "chrF", "ROUGE-L", "CIDEr-D"):
        assert f'<th scope="row">{name}</th>' in page
    assert "not tested" in page and "bs:100|seed:12345" in page
    clips = articles(page)
    assert list(clips) == [f"Line {i}" for i in range(1, 5)]
    kinds, told = clips["Line 1"]
    assert {"first", "different", "best"} <= kinds
    assert "<del>Anna</del> <ins>Ana</ins>" in told and "&lt;b&gt;port&lt;/b&gt;" in told
    kinds, told = clips["Line 4"]
    assert {"second", "worst"} <= kinds and "<i>nothing was written</i>" in told
    assert "neither" in clips["Line 2"][0]


def test_every_choice_is_a_radio_button_that_a_rule_answers(tmp_path):
    _, page = compare(tmp_path, "--convention=phoenix")
    sets = re.findall(r"<fieldset><legend>([^<]+)</legend>(.*?)</fieldset>", page, re.S)
    assert [legend for legend, _ in sets] == ["Show", "Better sentence (chrF)"]
    for _, inside in sets:
        ids = re.findall(r'<label><input type="radio" name="\w+" id="([\w-]+)"( checked)?>', inside)
        (first, checked), *others = ids
        assert checked and f"#{first}:checked" not in page  # it hides nothing
        for name, checked in others:
            shown = name.partition("-")[2]
            assert not checked
            assert re.search(rf"section:has\(#{name}:checked\) \.clip:not\(\.{shown}\)", page)


def test_clips_are_chosen_by_what_both_and_each_wrote():
    pairs = compare_clips(REFERENCES, [FIRST, SECOND])
    found = choose(pairs, 2)
    assert found["worst"][0] == 3 and found["best"][0] == 1
    assert sorted(found["different"]) == [0, 2]  # one in favour of each
    assert found["random"] == choose(pairs, 2)["random"] and len(set(found["random"])) == 2
    assert sorted(choose(pairs, 9)["random"]) == [0, 1, 2, 3]


def test_the_clips_of_a_dataset_have_their_ids_and_skeletons(runs, tmp_path):
    clips = open_dataset(runs / "data").split("test")
    texts = [clip.text for clip in clips.labels]
    options = f"--data={runs / 'data'}", "--convention=phoenix"
    sides = {"references": texts, "first": texts, "second": texts[::-1]}
    _, page = compare(tmp_path, *options, **sides)
    assert list(articles(page)) == list(clips.ids)
    assert page.count('<svg class="timeline"') == len(clips) and "signer: kim" in page
    done, _ = compare(tmp_path, *options, **{name: s[::-1] for name, s in sides.items()})
    assert done.returncode == 1
    assert re.search(
        r"references.txt, line 1: found .* wanted the text of clip test0: ", done.stderr
    )


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--names=one"], "--names: found 'one', wanted two names that differ"),
        (["--hypotheses=third.txt"], "--hypotheses: found 3 files, wanted two, one a system"),
        (["--data=nowhere"], "nowhere is no dataset"),
    ],
)
def test_what_cannot_be_compared_is_told_in_a_line(tmp_path, options, told):
    done, page = compare(tmp_path, *options)
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and not page
    assert told in done.stderr
