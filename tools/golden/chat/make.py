"""Writes model/chat/testdata/families.json: chat templates, conversations, and what transformers makes of them.

    python make.py FOLDER OUT.json        (pip install transformers jinja2)

FOLDER has templates, NAME.jinja each: model/chat/testdata/families for the golden data; a folder of models'
own templates to compare those (TestFamilies reads one more file, which HEADINFER_CHAT_GOLDEN names).
"""

import datetime
import json
import pathlib
import sys

import jinja2
from transformers.utils import chat_template_utils

from conversations import conversations

NOW = datetime.datetime(2026, 3, 7, 4, 5, 9)
SPECIALS = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
VARIABLES = [{}, {"enable_thinking": False}, {"enable_thinking": True, "custom": {"a": "é", "b": [1, 2.5, None]}}]


class Clock(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return NOW


def outcome(template, messages, prompt, variables):
    try:
        rendered, _ = chat_template_utils.render_jinja_template(
            conversations=[messages], chat_template=template, add_generation_prompt=prompt, **SPECIALS, **variables
        )
        return {"want": rendered[0]}
    except jinja2.exceptions.SecurityError:
        return {"fails": True}
    except (jinja2.exceptions.UndefinedError, jinja2.exceptions.TemplateSyntaxError):
        return {"fails": True}
    except jinja2.exceptions.TemplateError as e:
        return {"raises": str(e.message)}
    except Exception:  # what Python refuses
        return {"fails": True}


def main():
    chat_template_utils.datetime = Clock
    templates = {p.stem: p.read_bytes().decode() for p in sorted(pathlib.Path(sys.argv[1]).glob("*.jinja"))}
    cases = []
    for name, template in templates.items():
        for i, messages in enumerate(conversations()):
            for j, variables in enumerate(VARIABLES):
                # One of the variants each, but all of them on the first few.
                for prompt in (True, False):
                    if i > 4 and (prompt, j) != ((True, 0), (True, 1), (True, 2), (False, 0))[i % 4]:
                        continue
                    case = {"template": name, "messages": i, **outcome(template, messages, prompt, variables)}
                    if not prompt:
                        case["bare"] = True
                    if variables:
                        case["variables"] = variables
                    cases.append(case)
    with open(sys.argv[2], "w", encoding="utf-8", newline="\n") as f:
        json.dump({"now": NOW.isoformat() + "Z", "specials": SPECIALS, "templates": templates, "conversations": conversations(), "cases": cases}, f, ensure_ascii=False, separators=(",", ":"))
        f.write("\n")


if __name__ == "__main__":
    main()
