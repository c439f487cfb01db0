"""Run directories for the report's tests, and the page that comes out of them."""

import base64
import html.parser
import json

from signbind_jax import keypoints
from signbind_jax.report.page import write_report

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(20)).decode()
SIGNATURE = "BLEU|nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:2.6.0"
VARIANTS = {
    "signing": {"bleu4": 38.2, "name_recall": 2.0, "homonym_accuracy": 51.3},
    "signing+fingerspelling": {"bleu4": 61.4, "name_recall": 63.2, "homonym_accuracy": 52.7},
    "signing+lips": {"bleu4": 45.9, "name_recall": 1.4, "homonym_accuracy": 90.2},
    "all": {"bleu4": 74.3, "name_recall": 64.8, "homonym_accuracy": 91.6, "role": 95.3},
    "all_without_time": {"bleu4": 68.7, "name_recall": 61.0, "role": 51.2},
    "oracle_text": {"bleu4": 97.6},
}


def standing_pose() -> list:
    """Every canonical point seen, spread over a square of two shoulder widths."""
    return [[(i % 10) / 5 - 1, (i // 10) / 5 - 1, 0.9] for i in range(keypoints.K)]


def complete_results() -> dict:
    return {
        "stages": {
            "signing": {"gloss_wer": 11.8, "seconds": 122.4, "steps": 900},
            "translation": {"loss": 0.31, "bleu4": 74.3, "seconds": 61, "steps": 700},
        },
        "translation": {v: {**s, "bleu_signature": SIGNATURE} for v, s in VARIANTS.items()},
        "seconds_total": 643.2,
        "peak_rss_gb": 2.31,
        "versions": {"jax": "0.10.2"},
        "corpus": {"name": "embedded", "synthetic": True, "splits": {"train": 40, "test": 30}},
        "command": "signbind quickstart",
    }


def complete_example() -> dict:
    token = {"token": "FRIEND", "start": 0.25, "end": 1.0, "confidence": 0.93}
    return {
        "id": "test_0001",
        "split": "test",
        "signer": "s3",
        "duration_s": 2.5,
        "reference": "My friend Anna visited us.",
        "hypotheses": {"signing": "My friend visited us.", "all": "My friend Anna visited us."},
        "names": ["anna"],
        "streams": {
            "signing": [token, {**token, "token": "BANK", "start": 1.25, "end": 1.75}],
            "fingerspelling": [
                {"token": c, "start": 1 + i / 10, "end": 1.08 + i / 10, "confidence": 0.8}
                for i, c in enumerate("anna")
            ],
            "lipreading": [],
        },
        "true": {"gloss": ["FRIEND", "VISIT"], "spelled": ["anna"], "phonemes": ["AE"]},
        "fused": ["FRIEND", "a", "n", "n", "a", "VISIT"],
        "skeleton": {"times": [0.0, 1.0], "frames": [standing_pose(), standing_pose()]},
        "mouths": {"times": [0.0, 1.0], "png_base64": [PNG, PNG]},
    }


def write_run(directory, results=None, examples=None, logs=None):
    """A run directory with the files that are given."""
    if results is not None:
        (directory / "results.json").write_text(json.dumps(results))
    if examples is not None:
        (directory / "examples.json").write_text(json.dumps(examples))
    for stage, lines in (logs or {}).items():
        (directory / stage).mkdir()
        (directory / stage / "metrics.jsonl").write_text("\n".join(lines))
    return directory


def log_lines(losses, kind="train") -> list[str]:
    return [json.dumps({"step": i, "kind": kind, "loss": x}) for i, x in enumerate(losses)]


class Page(html.parser.HTMLParser):
    """Visible text, (element, attributes) pairs and the elements left open."""

    def __init__(self, path):
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.elements, self.open, self.pieces = [], [], []
        self.feed(self.source)
        self.text = " ".join(" ".join(self.pieces).split())

    def handle_starttag(self, name, attrs):
        self.elements.append((name, dict(attrs)))
        if name not in ("meta", "br"):
            self.open.append(name)

    def handle_endtag(self, name):
        assert self.open.pop() == name

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.pieces.append(data)


def report_of(directory, *args, **kwargs) -> Page:
    return Page(write_report(write_run(directory, *args, **kwargs)))
