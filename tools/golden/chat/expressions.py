"""Writes model/chat/testdata/expressions.json: random Jinja expressions, and what transformers' Jinja makes of each.

    python expressions.py SEED COUNT OUT.json

Expressions are made from a grammar, most of them of values that fit; an expression that Python refuses is written with
"fails". The Go test runs each as a template of its own.
"""

import copy
import json
import random
import sys
import warnings

from transformers.utils import chat_template_utils

ATOMS = [
    "0", "1", "-2", "3", "2.5", "-0.5", "1e3", "true", "false", "none", "nothing", "''", "'a'", "'Hello World'", "'  x y \\n'", "'é😀ß'",
    "'12'", "'-3.5'", "'a,b,,c'", "'<think>t</think>rest'", "[]", "[3, 1, 2]", "['b', 'A', 'c']", "(1, 'x')", "(2,)", "{}", "{'k': 'v', 'n': [1, 2]}",
    "range(4) | list", "s", "l", "d", "d.a", "d['b']", "l[0]", "l[-1]", "s[1:]", "m", "m[0].role", "m[-1]['content']",
]
SLICED = ["s", "l", "m", "d.a", "d['b']", "s | trim", "l + [s]", "m | map(attribute='role') | list", "s ~ l", "(s, 1)", "nothing"]
BINARY = ["+", "-", "*", "/", "//", "%", "~", "==", "!=", "<", "<=", ">", ">=", "in", "not in", "and", "or", "**"]
FILTERS = [
    "trim", "upper", "lower", "title", "capitalize", "length", "first", "last", "list", "join", "join('-')", "sort", "sort(reverse=true)", "unique | list",
    "reverse | list", "string", "int", "int(7)", "float", "abs", "round", "round(1)", "tojson", "tojson(indent=2)", "default('z')", "default('z', true)",
    "replace('a', 'bb')", "replace('l', '', 1)", "map('upper') | list", "map(attribute='role') | list", "select | list", "reject('none') | list",
    "selectattr('role', 'equalto', 'user') | list", "selectattr('role') | list", "min", "max", "sum", "dictsort", "items | list", "wordcount", "indent(2)",
    "batch(2) | list", "count", "trim('x ')", "map('string') | join(',')", "select('string') | list", "length > 1",
]
METHODS = [
    ".strip()", ".lstrip()", ".rstrip('o d')", ".split()", ".split(',')", ".split('</think>')[-1]", ".split(' ', 1)", ".rsplit(',', 1)", ".upper()", ".lower()",
    ".title()", ".capitalize()", ".startswith('H')", ".endswith(('d', 'c'))", ".replace('l', 'L')", ".find('o')", ".rfind('l')", ".count('l')", ".splitlines()",
    ".isdigit()", ".isalpha()", ".isupper()", ".islower()", ".isspace()", ".isalnum()", ".partition(',')", ".rpartition('l')", ".removeprefix('He')",
    ".zfill(6)", ".swapcase()", ".keys() | list", ".values() | list", ".items() | list", ".get('k')", ".get('q', 5)", ".index(1)", ".role", ".missing",
    "[0]", "[-1]", "[1:]", "[:-1]", "[::-1]", "[1:3]", "[::2]", "[-2:]", "['k']", "[5]", "[2:0:-1]", ".format(1, 'b')", ".join(['p', 'q'])", ".casefold()",
]
TESTS = [
    "defined", "undefined", "none", "string", "number", "integer", "float", "boolean", "mapping", "iterable", "sequence", "true", "false", "odd", "even", "in [1, 'a']",
    "divisibleby 3", "eq 1", "ne 'a'", "gt 1", "lower", "upper", "callable", "sameas none", "equalto('a')",
]


def expression(rng, depth):
    if depth <= 0 or rng.random() < 0.1:
        return rng.choice(ATOMS)
    sub = lambda: expression(rng, depth - 1)
    wrap = lambda e: f"({e})" if rng.random() < 0.7 else e
    kind = rng.randrange(10)
    if kind < 2:
        return f"{wrap(sub())} {rng.choice(BINARY)} {wrap(sub())}"
    if kind < 5:
        return f"{wrap(sub())} | {rng.choice(FILTERS)}"
    if kind < 7:
        method = rng.choice(METHODS)
        # Jinja folds constants, and a slice of a constant that can't be sliced is then undefined, not an error.
        return f"({rng.choice(SLICED) if ':' in method else sub()}){method}"
    if kind == 7:
        return f"{wrap(sub())} is {rng.choice(['', 'not '])}{rng.choice(TESTS)}"
    if kind == 8:
        return f"{sub()} if {sub()} else {sub()}"
    return rng.choice([f"not {sub()}", f"-{wrap(sub())}", f"[{sub()}, {sub()}]", f"{{'x': {sub()}}}", f"({sub()}, {sub()})"])


VARIABLES = {
    "s": "some Text, 1\n two ", "l": [1, "two", None, 2.0, [3]], "d": {"a": "x", "b": [1, 2, 3], "c": {"k": True}},
    "m": [{"content": " Hi ", "role": "user"}, {"content": "Ok", "role": "assistant"}, {"content": "", "role": "user"}],
}


def main():
    rng = random.Random(int(sys.argv[1]))
    warnings.simplefilter("ignore")
    cases, seen = [], set()
    while len(cases) < int(sys.argv[2]):
        e = expression(rng, rng.choice([1, 2, 2, 3, 4]))
        if e in seen or len(e) > 160:
            continue
        seen.add(e)
        case = {"of": e}
        try:
            case["want"] = chat_template_utils._cached_compile_jinja_template("{{ " + e + " }}").render(**copy.deepcopy(VARIABLES))
            if " at 0x" in case["want"] or len(case["want"]) > 1000 or "dict_" in case["want"] or "range(" in case["want"].lower():
                continue
        except Exception:  # what Python refuses
            if rng.random() < 0.5:
                continue
            case["fails"] = True
        cases.append(case)
    with open(sys.argv[3], "w", encoding="utf-8", newline="\n") as f:
        json.dump({"seed": int(sys.argv[1]), "variables": VARIABLES, "cases": cases}, f, ensure_ascii=False, indent=0)
        f.write("\n")


if __name__ == "__main__":
    main()
