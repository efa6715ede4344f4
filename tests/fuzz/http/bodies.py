"""Bodies of JSON that nobody should send: odd values, text that is no JSON, damaged pictures."""

from __future__ import annotations

import base64
import copy
import json
import math
from random import Random
from typing import Any

from tests.fuzz.damage import damaged
from tests.fuzz.http.questions import Question, form_kind, to_body, to_form
from tests.fuzz.http.site import SECRET_FILES, Site, post
from tests.fuzz.pictures import files
from tests.fuzz.values import TEXTS, shown

PATHS = (
    *SECRET_FILES,
    *("./secret.png", "../served/secret.png", "file:secret.png", "/etc/passwd", "/dev/zero"),
    *("/proc/self/environ", "~", "http://127.0.0.1:9/x.png", "data:image/png;base64,AAAA"),
)
HUGE = "an integer of 3,000 digits"
"""Stands for one in a body until it is written: Python reads no longer ones than 4,300 digits."""

LEAVES: tuple[object, ...] = (
    *(None, True, False, "", " ", "x", "1", "NaN", "rle", [], {}, [[]], [None], {"a": 1}, HUGE),
    *(0, 1, -1, 2, 7, 0.5, -0.0, 1.5, 1e-320, 1e38, 1e308, -1e308, 2**31, 2**63, 2**64, 10**30),
    *(math.nan, math.inf, -math.inf, "a" * 41, "a" * 20_000, [1] * 300, ["a"] * 300, [[[[[1]]]]]),
    *({"id": "0" * 64}, {"id": "x"}, {"base64": ""}, {"base64": "AAAA"}, {"base64": "§"}),
    *({"path": "secret.png"}, {"url": "http://127.0.0.1:9/"}, {"id": "a" * 64, "base64": "AAAA"}),
)
RAW = (
    *(b"", b" ", b"{}", b"[]", b"null", b"1", b'""', b"{", b"[" * 100_000, b"[" * 100 + b"]" * 100),
    *(b'{"images":' * 5_000, b'{"labels": ["a"], "labels": ["b"]}', b'{"labels": ["\\ud800"]}'),
    *(b'{"labels": ["\xed\xa0\x80"]}', b'{"labels": ["\xff"]}', b'{"labels": ["\0"]}'),
    *(b'\xef\xbb\xbf{"labels": ["dog"]}', b"\xff\xfe{\0}\0", b'{"labels": ["dog"]}\0', b"{} {}"),
    *(b'{"labels": ["dog"],}', b"{'labels': ['dog']}", b'{"labels": ["dog"]} // x', b"\0" * 1000),
    *(b'{"a": 1' + b"0" * 5_000 + b"}", b'{"a": 1e999999999}', b'{"a": -' + b"9" * 4_000 + b"}"),
    *(b'{"__proto__": {}, "labels": ["dog"]}', b"labels=dog&images=secret.png", b"<a/>"),
    *(b"x" * 1_000_001, b'{"labels": ["' + b"a" * 900_000 + b'"]}', b"\x1f\x8b\x08\0" + b"\0" * 20),
)

ITEMS = (
    *(b"0", b"null", b"[]", b"{}", b'""', b'"a"', b"[1]", b"[1,2]", b"[[1,2]]", b"[1,2,3,4]"),
    *(b'{"id":""}', b'{"base64":"AA"}', b'{"base64":0}', b'{"":0}', b"[[[[[[]]]]]]", b"1e9"),
)
"""Of lists that are as long as a body may be."""


def edited(rng: Random, question: Question, site: Site) -> tuple[str, bytes]:
    """A question in which a value somewhere is another, gone, or has a name that is not known."""
    body = copy.deepcopy(to_body(rng, question, site))
    said = ", ".join(_change(rng, body) for _ in range(rng.choice((1, 1, 1, 2))))
    text = json.dumps(body, ensure_ascii=rng.random() < 0.7)
    content = text.encode("utf-8", "surrogatepass").replace(
        json.dumps(HUGE).encode(), b"1" + b"0" * 3_000
    )
    return f"{question.verb}, {said}", post(question.verb, content)


def _change(rng: Random, body: dict[str, Any]) -> str:
    node: Any = body
    parent, way = node, list[str | int]()
    while isinstance(node, (dict, list)) and node and (not way or rng.random() < 0.8):
        parent = node
        way.append(rng.choice(list(node)) if isinstance(node, dict) else rng.randrange(len(node)))
        node = node[way[-1]]
    where, kind = ".".join(map(str, way)), rng.random()
    if not way:
        return "empty"
    if kind < 0.1:
        del parent[way[-1]]
        return f"{where} left out"
    value = rng.choice(rng.choice((LEAVES, LEAVES, TEXTS, PATHS)))
    if kind < 0.2:
        name = rng.choice((*TEXTS, "path", "url", "image", "mask_input", "verb", "index"))
        body[name] = value
        return f"{shown(name)} is {shown(value)[:60]}"
    if kind < 0.3 and isinstance(parent, list):
        parent[:] = [*parent, parent[way[-1]]] * rng.choice((1, 2, 30))
        return f"{where} more than once"
    parent[way[-1]] = value
    return f"{where} is {shown(value)[:60]}"


def raw(rng: Random, question: Question, site: Site) -> tuple[str, bytes]:
    """A body that may be no JSON at all."""
    content = rng.choice(RAW)
    if rng.random() < 0.6:
        whole = json.dumps(to_body(rng, question, site)).encode()
        way, content = damaged(whole, rng)
        if rng.random() < 0.1:
            way, content = "utf-16", whole.decode().encode("utf-16")
        return f"{question.verb}, JSON, {way}", post(question.verb, content)
    return f"{question.verb}, a body {shown(content[:40])}", post(question.verb, content)


def many(rng: Random, question: Question, site: Site) -> tuple[str, bytes]:
    """A list of very many items, or as many names; most are not what they are to be."""
    item, size = rng.choice(ITEMS), rng.choice((1_000, 200_000, 250_000, 900_000))
    name = rng.choice(("images", "labels", "points", "point_labels", "boxes", "tiles", "x"))
    body = to_body(rng, question, site)
    body.pop(name, None)
    if rng.random() < 0.2:
        items = b",".join(b'"%x":%b' % (number, item) for number in range(size // (len(item) + 8)))
    else:
        items = b'"%b":[%b]' % (name.encode(), b",".join([item] * (size // (len(item) + 1))))
    content = json.dumps(body).encode()[:-1] + b"," + items + b"}"
    return f"{question.verb}, {name} of {size} bytes of {shown(item)}", post(question.verb, content)


def picture(rng: Random, question: Question, site: Site) -> tuple[str, bytes]:
    """A file of a picture, whole or damaged, in base64 that may be damaged too, or as a part."""
    name = rng.choice(sorted(files()))
    way, content = damaged(files()[name], rng) if rng.random() < 0.8 else ("whole", files()[name])
    said = f"{question.verb} of {name}, {way}"
    if rng.random() < 0.5:
        part = f'name="image"; filename="{name}"'.encode()
        form = to_form([(b'name="request"', json.dumps(question.asked).encode()), (part, content)])
        return f"{said}, as a part", post(question.verb, form, kind=form_kind())
    way, text = _in_base64(rng, content)
    body = {**question.asked, "images": [{"base64": text}]}
    return f"{said}, in base64, {way}", post(question.verb, json.dumps(body).encode())


def _in_base64(rng: Random, content: bytes) -> tuple[str, str]:
    text = base64.b64encode(content).decode()
    ways = {
        "whole": text,
        "for URLs": base64.urlsafe_b64encode(content).decode(),
        "in lines": "\r\n".join(text[start : start + 76] for start in range(0, len(text), 76)),
        "without its end": text.rstrip("=")[:-1],
        "with more at its end": text + "==",
        "twice": text * 2,
        "of base64": base64.b64encode(text.encode()).decode(),
        "in hexadecimal": content.hex(),
        "with a letter of another script": text[:9] + "é" + text[9:],
        "behind a data URL's head": f"data:image/png;base64,{text}",
    }
    way = rng.choice(("whole", "whole", *ways))
    return way, ways[way]
