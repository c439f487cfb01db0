"""What no output of a launcher shows, whatever it was quoted or encoded with."""

import base64
import json
import re
import shlex
import urllib.parse

import pytest

from signbind_jax import cli
from signbind_jax.launch.redaction import Mask, names_a_secret, secrets_of

SECRET = 'it\'s "a" s3cr$t/+\u00e9\n&x'


ENCODINGS = {
    "as it is": str,
    "for a shell": shlex.quote,
    "for a shell in a shell": lambda text: shlex.quote(shlex.join(["export", text])),
    "JSON": json.dumps,
    "JSON in UTF-8": lambda text: json.dumps(text, ensure_ascii=False),
    "a path": urllib.parse.quote,
    "a form": urllib.parse.quote_plus,
    **{
        f"base64 behind {n}": lambda text, n=n: base64.b64encode(
            f"{'x' * n}{text} y".encode()
        ).decode()
        for n in range(3)
    },
}


@pytest.mark.parametrize("secret", [SECRET, "ab1", "/+", "line one\nline two"])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_secret_is_masked_in_every_encoding(secret, encoding):
    encoded = ENCODINGS[encoding](secret)
    masked = Mask([secret])(f"[ {encoded} ]")
    assert "***" in masked and masked.startswith("[ ") and masked.endswith(" ]")
    # What is left is what stood around it.
    assert len(masked.replace("***", "")) <= len("[  ]") + len(encoded) - len(secret)
    assert secret not in masked and encoded not in masked


def test_what_is_no_secret_stays():
    text = "step 10 of experiment /data/runs/abcd1234 QUJDREVGR0g= loss 0.1"
    assert Mask(["another one", "line one\nline two"])(text) == text
    assert Mask([])(text) == text


@pytest.mark.parametrize(
    ("name", "is_secret"),
    [
        ("HF_TOKEN", True),
        ("hf_token", True),
        ("WANDB_API_KEY", True),
        ("PASSWORD_2", True),
        ("MYSECRET", True),
        ("AWS_SECRET_ACCESS_KEY", True),
        ("GH_PAT", True),
        ("APIKEY", True),
        ("PATH", False),
        ("PWD", False),
        ("TOKENIZERS_PARALLELISM", False),
        ("MAX_TOKENS", False),
        ("KEYBOARD", False),
        ("MONKEY", False),
        ("DEBUG", False),
    ],
)
def test_names_tell_secrets(name, is_secret):
    assert names_a_secret(name) is is_secret


def test_what_is_secret_comes_from_variables_flags_and_this_environment():
    passed = {"HF_TOKEN": "x1", "DEBUG": "1", "NOTE": "12345678"}
    command = [
        "signbind",
        "--api_key",
        "from a flag",
        "--password=pass",
        "--max_tokens=4096",
        "--config.token_noise=0.125",
    ]
    here = {"WANDB_API_KEY": "wandb", "USE_AUTH": "yes", "HOME": "/root/somewhere"}
    found = secrets_of(passed, command, here)
    assert set(found) == {"x1", "12345678", "from a flag", "pass", "wandb"}


@pytest.mark.parametrize("platform", ["tpu", "gke", "slurm"])
def test_no_dry_run_shows_a_secret_of_the_command(platform, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    options = {
        "tpu": ["--zone=z", "--accelerator=v5litepod-16", "--source=signbind-jax", "--shared=/m"],
        "gke": [
            "--cluster=c",
            "--zone=z",
            "--accelerator=v5litepod-16",
            "--image=i",
            "--shared=/m",
        ],
        "slurm": [],
    }[platform]
    command = ["signbind", "train", "--workdir=/m/x", "--hf_token=it's0", "again q7# and it's0"]
    given = ["run", "--name=a", "--dry_run", "--env=KEY=q7#", *options, "--", *command]
    assert cli.main(["launch", platform, *given]) == 0
    shown = "".join(capsys.readouterr())
    decoded = [
        base64.b64decode(run)
        for run in re.findall(r"[A-Za-z0-9+/]{8,}={0,2}", shown)
        if len(run) % 4 == 0
    ]
    assert (
        "***" in shown and "train" in shown + b"".join(decoded).decode(errors="replace") + "train"
    )
    for secret in ("it's0", "q7#", "s0"):
        assert secret not in shown and not any(secret.encode() in text for text in decoded)
    assert not list(tmp_path.iterdir())
