"""Writes model/chat/testdata/chat.json: chat templates, conversations, and what Jinja makes of them.

    python chat.py MODEL.gguf OUT.json        (pip install -r requirements.txt)

Jinja is set up as transformers sets it up (utils/chat_template_utils.py): a sandbox with trim_blocks, lstrip_blocks and
loop controls, and the functions raise_exception and strftime_now. The template named "gguf" is the model's own and is not
written out: the Go test reads it from the model file too.
"""

import json
import sys
from datetime import datetime

from gguf import GGUFReader
from jinja2.exceptions import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

NOW = datetime(2026, 3, 7, 4, 5, 9)
SPECIALS = {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>"}

# In the style of Llama 3: headers for each turn, a date, system text first.
HEADERS = """{{- bos_token }}
{%- if not date_string is defined %}
    {%- set date_string = strftime_now("%d %b %Y") %}
{%- endif %}
{#- The system message is taken out of the list. #}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{{- "Today Date: " + date_string + "\\n\\n" }}
{{- system_message }}
{{- "<|eot_id|>" }}
{%- for message in messages %}
    {%- if message.role not in ['user', 'assistant', 'tool'] %}
        {{- raise_exception('Unknown role ' + message.role + '!') }}
    {%- endif %}
    {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' + message['content'] | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
"""

# Strict about who speaks when, as several models' templates are.
ALTERNATING = """{{ bos_token }}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Roles take turns, user first') }}{% endif %}{% if message['role'] == 'user' %}{{ '[I] ' + message['content'] + ' [/I]' }}{% elif message['role'] == 'assistant' %}{{ message['content'] + eos_token }}{% else %}{{ raise_exception('Only user and assistant') }}{% endif %}{% endfor %}"""

# Qwen's way of finding the last question with a namespace, and thoughts cut out of earlier answers.
NAMESPACE = """{%- set ns = namespace(last=-1, n=0) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if message.role == "user" and ns.last < 0 %}
        {%- set ns.last = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- set content = message.content if message.content is string else '' %}
    {%- if message.role == "assistant" and '</think>' in content and loop.index0 < ns.last %}
        {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
    {%- endif %}
    {%- set ns.n = ns.n + 1 %}
    {{- '<|im_start|>' + message.role + '\\n' + content.strip('\\n') + '<|im_end|>' + '\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}
[{{ ns.last }} of {{ ns.n }}]
"""

# White space, loop controls, filters and tests, one after the other.
FEATURES = """  {% if true %}
  kept line
    {% endif %}
{% for m in messages if m.content %}
  {%+ if loop.first +%} first {% endif %}
  {% if m.role == 'stop' %}{% break %}{% endif %}
  {% if m.role == 'skip' %}{% continue %}{% endif %}
  {{ loop.index }}/{{ loop.length }}{{ "," if not loop.last else "" }} {{ m.role | upper }}: {{ m.content | replace("a", "A") | trim }}
{% else %}
  nobody
{% endfor %}
{% for i in range(3) %}{{ i }}{% endfor %} {% for i in range(10, 0, -4) %}{{ i }}.{% endfor %}
{{ messages | map(attribute='role') | join('|') }}
{{ messages | selectattr('role', 'equalto', 'user') | list | length }}
{{ messages[-1]['content'][:3] if messages else 'none' }}
{{ "it's <b> & \\"q\\" \\n é" | tojson }} {{ [1, 2.5, true, none, {'k': 'v:,'}] | tojson }}
{{ nothing }}{{ nothing is defined }} {{ nothing | default('d') }} {{ messages is iterable }} {{ 7 // 2 }} {{ 'a' ~ 1 }}
{{ messages[0].content.startswith('a') }} {{ 'x' in messages[0].content }} {{ messages[0].role == 'user' and not false }}
{% raw %}{{ not run }}{% endraw %} {#- gone -#} end
{% set block %}captured {{ 1 + 1 }}{% endset %}{{ block }}{{ strftime_now("%Y-%m-%d %H:%M:%S %j %% %A") }}

"""

TEMPLATES = {"headers": HEADERS, "alternating": ALTERNATING, "namespace": NAMESPACE, "features": FEATURES}


def conversations():
    turn = lambda role, content: {"role": role, "content": content}
    user, bot, system = (lambda c: turn("user", c)), (lambda c: turn("assistant", c)), (lambda c: turn("system", c))
    return [
        [user("Hello")],
        [system("  Be brief.\n"), user("What's 2 + 2?")],
        [user("a\nb\n"), bot("<think>\nhm\n</think>\n\nyes"), user("  and 'then'? <|im_end|> ")],
        [user("one"), bot("<think>x</think>two"), user("three"), bot("<think>y</think>four")],
        [system("s"), user("é 😀 {{ not a template }} {% nor this %}"), bot(""), user("a & <b>")],
        [user("apart"), turn("skip", "this"), bot("a banana"), turn("stop", "here"), user("unseen")],
        [user("two"), user("in a row")],
        [bot("I begin")],
        [turn("critic", "who?")],
    ]


def raise_exception(message):
    raise TemplateError(message)


def environment():
    env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"])
    env.filters["tojson"] = lambda x: json.dumps(x, ensure_ascii=False)
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = NOW.strftime
    return env


def main():
    fields = GGUFReader(sys.argv[1]).fields
    own = {"gguf": fields["tokenizer.chat_template"].contents()}
    cases = []
    for name, text in {**own, **TEMPLATES}.items():
        template = environment().from_string(text)
        for messages in conversations():
            for prompt in (False, True):
                case = {"template": name, "messages": messages, "prompt": prompt}
                try:
                    case["want"] = template.render(messages=messages, add_generation_prompt=prompt, **SPECIALS)
                except TemplateError as e:
                    case["raises"] = e.message
                cases.append(case)
    with open(sys.argv[2], "w", encoding="utf-8", newline="\n") as f:
        json.dump({"now": NOW.isoformat() + "Z", "specials": SPECIALS, "templates": TEMPLATES, "cases": cases}, f, ensure_ascii=False, indent=1)
        f.write("\n")


if __name__ == "__main__":
    main()
