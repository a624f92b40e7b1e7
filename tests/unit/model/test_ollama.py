"""A Modelfile writes a conversation as the model's own template does, or says that it cannot.

The templates are those of published models, shortened where nothing is lost. Where a Go compiler is at hand, what Ollama's
engine makes of ours is compared with what Jinja makes of theirs.
"""

# ruff: noqa: E501 - templates are quoted as they were published

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tuitrain.data.chat.template import CHATML, ChatTemplate
from tuitrain.errors import DataError, UsageError
from tuitrain.model.ollama import modelfile

S = {"bos_token": "<s>", "eos_token": "</s>"}
LLAMA = {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>"}
GEMMA = {"bos_token": "<bos>", "eos_token": "<eos>"}
CHATML_TOKENS = {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>"}

TEMPLATES = {
    "chatml": ("ChatML", CHATML, {"eos_token": "<|im_end|>"}),
    "smollm2": (
        "ChatML",
        "{% for message in messages %}"
        "{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n' }}"
        "{% endif %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
        "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
        CHATML_TOKENS,
    ),
    "llama3": (
        "Llama 3",
        "{% set loop_messages = messages %}{% for message in loop_messages %}"
        "{% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'+ message['content'] | trim + '<|eot_id|>' %}"
        "{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}"
        "{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}",
        LLAMA,
    ),
    "llama31": (
        "Llama 3",
        "{{ bos_token }}{% if messages[0]['role'] == 'system' %}"
        "{% set system_message = messages[0]['content'] %}{% set messages = messages[1:] %}{% else %}"
        "{% set system_message = '' %}"
        "{% endif %}{{ '<|start_header_id|>system<|end_header_id|>\n\n' }}{{ 'Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n' }}{{ system_message }}{{ '<|eot_id|>' }}"
        "{% for message in messages %}{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'+ message['content'] | trim + '<|eot_id|>' }}"
        "{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}",
        LLAMA,
    ),
    "gemma2": (
        "Gemma",
        "{{ bos_token }}"
        "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}"
        "{% endif %}{% for message in messages %}"
        "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}"
        "{% endif %}{% if (message['role'] == 'assistant') %}{% set role = 'model' %}{% else %}"
        "{% set role = message['role'] %}"
        "{% endif %}{{ '<start_of_turn>' + role + '\n' + message['content'] | trim + '<end_of_turn>\n' }}"
        "{% endfor %}{% if add_generation_prompt %}{{'<start_of_turn>model\n'}}{% endif %}",
        GEMMA,
    ),
    "gemma3": (
        "Gemma",
        "{{ bos_token }}{%- if messages[0]['role'] == 'system' -%}"
        "{%- set first_user_prefix = messages[0]['content'] + '\n\n' -%}"
        "{%- set loop_messages = messages[1:] -%}{%- else -%}{%- set first_user_prefix = '' -%}"
        "{%- set loop_messages = messages -%}{%- endif -%}{%- for message in loop_messages -%}"
        "{%- if (message['role'] == 'assistant') -%}{%- set role = 'model' -%}{%- else -%}"
        "{%- set role = message['role'] -%}"
        "{%- endif -%}{{ '<start_of_turn>' + role + '\n' + (first_user_prefix if loop.first else '') }}{{ message['content'] | trim }}{{ '<end_of_turn>\n' }}"
        "{%- endfor -%}{%- if add_generation_prompt -%}{{'<start_of_turn>model\n'}}{%- endif -%}",
        GEMMA,
    ),
    "mistral1": (
        "Mistral 7B 0.1",
        "{{ bos_token }}{% for message in messages %}"
        "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('alternate') }}"
        "{% endif %}{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}"
        "{% elif message['role'] == 'assistant' %}{{ message['content'] + eos_token + ' ' }}{% endif %}"
        "{% endfor %}",
        S,
    ),
    "mistral3": (
        "Mistral 7B 0.3",
        "{%- if messages[0]['role'] == 'system' %}{%- set system_message = messages[0]['content'] %}"
        "{%- set loop_messages = messages[1:] %}{%- else %}{%- set loop_messages = messages %}"
        "{%- endif %}{{- bos_token }}{%- for message in loop_messages %}{%- if message['role'] == 'user' %}"
        "{%- if loop.last and system_message is defined %}{{- '[INST] ' + system_message + '\n\n' + message['content'] + '[/INST]' }}"
        "{%- else %}{{- '[INST] ' + message['content'] + '[/INST]' }}{%- endif %}"
        "{%- elif message['role'] == 'assistant' %}{{- ' ' + message['content']|trim + eos_token}}"
        "{%- endif %}{%- endfor %}",
        S,
    ),
    "phi3": (
        "Phi 3",
        "{% for message in messages %}"
        "{% if message['role'] == 'system' %}{{'<|system|>\n' + message['content'] + '<|end|>\n'}}"
        "{% elif message['role'] == 'user' %}{{'<|user|>\n' + message['content'] + '<|end|>\n'}}"
        "{% elif message['role'] == 'assistant' %}{{'<|assistant|>\n' + message['content'] + '<|end|>\n'}}"
        "{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\n' }}"
        "{% else %}{{ eos_token }}{% endif %}",
        S,
    ),
    "zephyr": (
        "Zephyr",
        "{% for message in messages %}\n"
        "{% if message['role'] == 'user' %}\n{{ '<|user|>\n' + message['content'] + eos_token }}\n"
        "{% elif message['role'] == 'system' %}\n{{ '<|system|>\n' + message['content'] + eos_token }}\n"
        "{% elif message['role'] == 'assistant' %}\n{{ '<|assistant|>\n'  + message['content'] + eos_token }}\n"
        "{% endif %}\n{% if loop.last and add_generation_prompt %}\n{{ '<|assistant|>' }}\n{% endif %}\n"
        "{% endfor %}",
        S,
    ),
}
TURNS = [("user", "Hi"), ("assistant", "Yo"), ("user", "Go on")]


def template_of(text: str) -> str:
    found = re.search(r'TEMPLATE """(.*?)"""', text, re.DOTALL)
    assert found, text
    return found[1]


def system_of(text: str) -> str:
    found = re.search(r'SYSTEM """(.*?)"""', text, re.DOTALL)
    return found[1] if found else ""


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_known_format_is_recognised_by_what_it_writes(name: str) -> None:
    form, source, special = TEMPLATES[name]
    text = modelfile("m.gguf", source, special=special)
    assert text.startswith(f"FROM ./m.gguf\n# {form}, as the model's own template writes it.\nTEMPLATE")
    stops = re.findall(r'PARAMETER stop "(.*)"', text)
    assert all(stop in source + json.dumps(special) or "|>" in stop for stop in stops)
    assert stops


def test_chatml_with_the_system_message_the_template_falls_back_on() -> None:
    _, source, special = TEMPLATES["smollm2"]
    assert (
        modelfile("SmolLM2.gguf", source, special=special, context=8192)
        == '''FROM ./SmolLM2.gguf
# ChatML, as the model's own template writes it.
TEMPLATE """{{ range $i, $_ := .Messages }}{{ if eq .Role "user" }}<|im_start|>user
{{ .Content }}<|im_end|>
{{ else if eq .Role "assistant" }}<|im_start|>assistant
{{ .Content }}<|im_end|>
{{ else if eq .Role "system" }}<|im_start|>system
{{ .Content }}<|im_end|>
{{ end }}{{ end }}<|im_start|>assistant
"""
PARAMETER stop "<|im_start|>"
PARAMETER stop "<|im_end|>"
PARAMETER num_ctx 8192
SYSTEM """You are a helpful AI assistant named SmolLM, trained by Hugging Face"""
'''
    )


def test_a_system_message_without_its_own_turn_goes_where_the_template_puts_it() -> None:
    first = template_of(modelfile("m.gguf", TEMPLATES["gemma3"][1], special=GEMMA))
    assert "<start_of_turn>user\n{{ if and $.System (eq $i 1) }}{{ $.System }}\n\n{{ end }}{{ .Content }}" in first
    last = template_of(modelfile("m.gguf", TEMPLATES["mistral3"][1], special=S))
    assert (
        "[INST] {{ if and $.System (eq (len (slice $.Messages $i)) 1) }}{{ $.System }}\n\n{{ end }}{{ .Content }}[/INST]"
        in last
    )


def test_the_begin_token_is_written_once() -> None:
    _, source, special = TEMPLATES["llama3"]
    assert not template_of(modelfile("m.gguf", source, special=special)).startswith("<|begin_of_text|>")
    assert template_of(modelfile("m.gguf", source, special=special, adds_bos=False)).startswith("<|begin_of_text|>{{")


def test_a_given_system_message_is_set_as_the_template_would_say_it() -> None:
    assert system_of(modelfile("m.gguf", CHATML, system="Be brief.")) == "Be brief."
    _, source, special = TEMPLATES["llama31"]
    expected = "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\nBe brief."
    assert system_of(modelfile("m.gguf", source, special=special, system="Be brief.")) == expected
    with pytest.raises(UsageError, match="cannot hold"):
        modelfile("m.gguf", CHATML, system='say """')


@pytest.mark.parametrize(
    "source",
    [
        "{% for m in messages %}{{ '[' + m['role'] + '] ' + m['content'] }}{% endfor %}",
        CHATML.replace("assistant\n' }}{% endif", "assistant\n<think>\n' }}{% endif"),
        "Once upon a time" + CHATML,
        "{{ raise_exception('no') }}",
    ],
)
def test_another_template_is_not_guessed_at(source: str) -> None:
    text = modelfile("m.gguf", source, system="Be brief.")
    assert 'TEMPLATE "' not in text
    assert "none of the formats written here" in text
    assert system_of(text) == "Be brief."


def test_a_model_without_a_template_continues_text() -> None:
    assert "TEMPLATE {{ .Prompt }}\n" in modelfile("m.gguf", None)


GO = """package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"text/template"
)

type message struct{ Role, Content string }
type job struct {
	Template, System string
	Messages         []*message
}

func main() {
	var jobs []job
	data, _ := os.ReadFile("jobs.json")
	if err := json.Unmarshal(data, &jobs); err != nil {
		panic(err)
	}
	var texts []string
	for _, job := range jobs {
		var out strings.Builder
		parsed := template.Must(template.New("").Option("missingkey=zero").Parse(job.Template))
		if err := parsed.Execute(&out, map[string]any{"System": job.System, "Messages": job.Messages}); err != nil {
			panic(err)
		}
		texts = append(texts, out.String())
	}
	encoded, _ := json.Marshal(texts)
	fmt.Println(string(encoded))
}
"""


@pytest.mark.skipif(shutil.which("go") is None, reason="needs a Go compiler")
def test_go_writes_what_jinja_writes(tmp_path: Path) -> None:
    """Ollama runs the template over .Messages, system message included, with .System beside them (its template/template.go)."""
    jobs, expected = [], []
    for _, source, special in TEMPLATES.values():
        for system in (None, "Be brief."):
            for turns in (TURNS[:1], TURNS):
                text = modelfile("m.gguf", source, special=special, system=system, adds_bos=False)
                asked = [("system", system)] if system else []
                try:
                    rendered = ChatTemplate(source, special, origin="").render(
                        [{"role": role, "content": content} for role, content in [*asked, *turns]], add_generation_prompt=True
                    )
                except DataError:  # refuses system messages
                    continue
                said = [("system", system_of(text))] if system_of(text) else []
                messages = [{"Role": role, "Content": content} for role, content in [*said, *turns]]
                jobs.append({"Template": template_of(text), "System": system_of(text), "Messages": messages})
                expected.append(rendered)
    (tmp_path / "jobs.json").write_text(json.dumps(jobs), encoding="utf-8")
    (tmp_path / "main.go").write_text(GO, encoding="utf-8")
    done = subprocess.run(["go", "run", "main.go"], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert json.loads(done.stdout) == expected, done.stderr
