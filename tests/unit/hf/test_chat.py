"""What stands beside a model's weights: chat templates and tokenizers, friendly and hostile."""

import json
import shutil
from pathlib import Path

import pytest

from signbind_jax.errors import SignBindError
from signbind_jax.hf import chat, confined, tokenizer_file
from signbind_jax.hf.chat import ChatTokenizer
from tests.unit.hf.tiny_pretrained import write_pretrained

# As SmolLM2, Gemma 2, Llama 3.2 and Qwen 3 have them, without what they do for tools.
SMOLLM2 = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are a helpful AI assistant<|im_end|>\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
GEMMA2 = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}"
    "{{ raise_exception('System role not supported') }}{% endif %}{% for message in messages %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Roles must alternate') }}{% endif %}"
    "{% if (message['role'] == 'assistant') %}{% set role = 'model' %}{% else %}"
    "{% set role = message['role'] %}{% endif %}{{ '<start_of_turn>' + role + '\n' + "
    "message['content'] | trim + '<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{'<start_of_turn>model\n'}}{% endif %}"
)
LLAMA3 = """{{- bos_token }}
{%- if custom_tools is defined %}
    {%- set tools = custom_tools %}
{%- endif %}
{%- if not date_string is defined %}
    {%- set date_string = "26 Jul 2024" %}
{%- endif %}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{%- if tools is not none %}
    {{- "Environment: ipython\\n" + tools | tojson(indent=4) }}
{%- endif %}
{{- "Today Date: " + date_string + "\\n\\n" }}
{{- system_message }}
{{- "<|eot_id|>" }}
{%- for message in messages %}
    {%- if not (message.role == 'ipython' or 'tool_calls' in message) %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' }}
        {{- message['content'] | trim + '<|eot_id|>' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
"""
QWEN3 = """{%- if messages[0].role == 'system' %}
    {{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
{%- endif %}
{%- set ns = namespace(multi_step_tool=true, last_query_index=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.multi_step_tool and message.role == "user" and message.content is string %}
        {%- set ns.multi_step_tool = false %}
        {%- set ns.last_query_index = index %}
        {%- break %}
    {%- endif %}
{%- endfor %}
{%- macro said(content) %}{% generation %}{{ content.strip('\\n').split('</think>')[-1] }}
{% endgeneration %}{%- endmacro %}
{%- for message in messages %}
    {%- if message.content is string %}
        {%- set content = message.content %}
    {%- else %}
        {%- set content = '' %}
    {%- endif %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {{- said(content) + dict(a=[1, 'ä"<']) | tojson + ns.last_query_index | string }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}
"""
USER = {"role": "user", "content": " Größe {{ signs }} <b>&\n"}
CHATS = (
    [USER],
    [{"role": "system", "content": "Translate.\n"}, USER],
    [USER, {"role": "assistant", "content": "<think>x</think>\nwho"}, USER],
)


@pytest.mark.parametrize("template", [SMOLLM2, GEMMA2, LLAMA3, QWEN3])
def test_a_template_gives_the_text_that_transformers_makes_of_it(template):
    from transformers.utils.chat_template_utils import render_jinja_template

    for messages in CHATS:
        tokens = {"bos_token": "<bos>", "eos_token": "</s>"}
        try:
            (wanted,), _ = render_jinja_template(
                [messages], chat_template=template, add_generation_prompt=True, **tokens
            )
        except Exception as error:
            wanted = f"found {type(error).__name__}: {error}"
        variables = {"messages": messages, "tools": None, "documents": None, **tokens}
        try:
            found = confined.run(
                "render",
                template=template,
                limit=10_000,
                **chat.RENDERING,
                variables=variables | {"add_generation_prompt": True},
            )
        except SignBindError as error:
            found = str(error)
        assert found == wanted


@pytest.fixture(scope="module")
def original(tmp_path_factory) -> Path:
    return write_pretrained(tmp_path_factory.mktemp("original") / "llm")


@pytest.fixture
def directory(original, tmp_path) -> Path:
    """A copy to spoil, of what a tokenizer needs."""
    copy = shutil.copytree(original, tmp_path / "llm", ignore=shutil.ignore_patterns("model*"))
    return Path(copy)


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{{ 'a' * 10**10 }}", "a need of more memory"),
        ("{{ 'a'.center(10**10) }}", "a need of more memory"),
        ("{{ '%010000000000d' % 1 }}", "a need of more memory"),
        (
            "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
            "found no end, wanted an end within 1 s",
        ),
        ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "RecursionError"),
        ("{{ 'ab' * 10**6 }}", "2,000,000 characters, wanted at most 131,072"),
        ("{% set ns = namespace(__init__=1) %}", "SecurityError"),
        ("{{ messages.__class__.__mro__[1].__subclasses__() }}", "SecurityError"),
        ("{{ '\\ud800' }}", "its result: not readable"),
        ("{% if %}", "TemplateSyntaxError"),
    ],
)
def test_a_template_that_does_not_end_well_is_refused(directory, monkeypatch, template, said):
    monkeypatch.setattr(chat, "RENDERING", chat.RENDERING | {"seconds": 1})
    change(directory / tokenizer_file.CONFIG, chat_template=template)
    with pytest.raises(SignBindError) as error:
        ChatTokenizer(directory).user_message("who")
    assert str(error.value).startswith(f"{directory}: chat template: ")
    assert said in str(error.value) and "\n" not in str(error.value)


def change(path: Path, **changes) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_which_file_a_template_comes_from(directory):
    several = [{"name": "tool_use", "template": "no"}, {"name": "default", "template": "yes"}]
    change(directory / tokenizer_file.CONFIG, chat_template=several)
    assert ChatTokenizer(directory).user_message("who") == "yes"
    (directory / tokenizer_file.TEMPLATE).write_text("{{ eos_token }}{{ messages[0].content }}")
    assert ChatTokenizer(directory).user_message("who") == "<eos>who"


def test_tokens_come_from_the_older_file_where_there_is_no_newer_record(directory):
    (directory / tokenizer_file.SPECIAL).write_text('{"eos_token": {"content": "<sep>"}}')
    assert ChatTokenizer(directory).special["eos"][0] == "<sep>"
    change(directory / tokenizer_file.CONFIG, added_tokens_decoder={})
    assert ChatTokenizer(directory).special["eos"][0] == "<eos>"


def of_tokenizer(**changes):
    return lambda d: change(d / tokenizer_file.NAME, **changes)


def of_config(**changes):
    return lambda d: change(d / tokenizer_file.CONFIG, **changes)


def of_model(**changes):
    def spoil(directory):
        path = directory / tokenizer_file.NAME
        change(path, model=json.loads(path.read_text())["model"] | changes)

    return spoil


LONG = {"type": "Replace", "pattern": {"String": "a"}, "content": "a" * 1000}


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (
            of_tokenizer(normalizer={"type": "Sequence", "normalizers": [LONG] * 9}),
            "tokenizer.json: found",
        ),
        (
            of_tokenizer(
                pre_tokenizer={
                    "type": "Split",
                    "pattern": {"Regex": "(a+)+b"},
                    "behavior": "Isolated",
                    "invert": False,
                }
            ),
            "tokenizer.json: found PanicException: Onig",
        ),
        (of_model(dropout=0.5), "tokenizer.json: model.dropout: found 0.5, wanted none"),
        (of_model(vocab=[1]), "tokenizer.json: found"),
        (of_config(eos_token=7), "tokenizer_config.json: eos_token: found int, wanted a token's"),
        (of_config(eos_token={"text": "<eos>"}), "eos_token: content: found nothing, wanted str"),
        (of_config(eos_token="</s>"), "eos_token: found '</s>', wanted a token of tokenizer.json"),
        (of_config(chat_template={"a": "b"}), "chat_template: found dict, wanted text"),
        (of_config(chat_template=[{"name": "rag", "template": ""}]), "found rag, wanted one named"),
        (of_config(chat_template="a" * 2**21), "chat_template: found 2,097,152 characters"),
        (lambda d: (d / tokenizer_file.CONFIG).write_text("[]"), "found list, wanted an object"),
        (lambda d: (d / tokenizer_file.SPECIAL).write_text("{"), "map.json: not readable as JSON"),
    ],
)
def test_a_hostile_tokenizer_is_refused_in_one_line(directory, monkeypatch, capfd, spoil, said):
    monkeypatch.setattr(tokenizer_file, "TRIAL", {"memory": 2**29, "seconds": 1})
    spoil(directory)
    with pytest.raises(SignBindError) as error:
        ChatTokenizer(directory)
    assert said in str(error.value) and "\n" not in str(error.value)
    assert capfd.readouterr().err == ""


def test_a_text_at_which_a_pattern_fails_is_named(directory):
    pattern = {
        "type": "Split",
        "pattern": {"Regex": "(q+)+z"},
        "behavior": "Isolated",
        "invert": False,
    }
    bytes_as_letters = {
        "type": "ByteLevel",
        "add_prefix_space": False,
        "use_regex": False,
        "trim_offsets": True,
    }
    change(
        directory / tokenizer_file.NAME,
        pre_tokenizer={"type": "Sequence", "pretokenizers": [pattern, bytes_as_letters]},
    )
    tokenizer = ChatTokenizer(directory).text_tokenizer("Translate.")
    with pytest.raises(SignBindError, match="tokenizer: text: found 'qqqqq.*its patterns can spl"):
        tokenizer.encode("q" * 100)


def test_a_tokenizer_that_cuts_or_pads_does_neither_here(directory):
    before = ChatTokenizer(directory).text_tokenizer("Translate.")
    change(
        directory / tokenizer_file.NAME,
        truncation={"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0},
        padding={
            "strategy": {"Fixed": 10**10},
            "direction": "Right",
            "pad_to_multiple_of": None,
            "pad_id": 0,
            "pad_type_id": 0,
            "pad_token": "<pad>",
        },
    )
    after = ChatTokenizer(directory).text_tokenizer("Translate.")
    assert after.encode("who sat on the mat") == before.encode("who sat on the mat")
    assert after.head == before.head
