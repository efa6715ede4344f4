"""HTTP: what the document allows, and what it does not; the server stays well all the time."""

from __future__ import annotations

import base64
import functools
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, NamedTuple

import httpx
import pytest
from hypothesis import strategies as st

from tests.fuzz.answers import check_reply
from tests.fuzz.cases import (
    Damage,
    Edit,
    damage,
    damaged,
    edited,
    edits,
    fuzz,
    json_values,
    odd_texts,
)
from tests.fuzz.image_files import image_files
from tests.fuzz.site import DOCUMENT, KEY, SECRET_FILES, SIZES, Site

LAST = len(SIZES) - 1
EVERYTHING: dict[str, Any] = {"points_per_side": 2, "pred_iou_thresh": 0, "box_nms_thresh": 1}
ASKED: tuple[tuple[str, dict[str, Any]], ...] = (
    ("images", {}),
    ("classify", {"labels": ["dog", "a red car"]}),
    ("segment", {"points": [[1, 1], [2, 0.5]]}),
    ("segment", {"points": [[[1, 1]], [[0, 2]]], "point_labels": [[1], [0]], "format": "png"}),
    ("segment", {"boxes": [[0, 0, 9.5, 3]], "multimask_output": True, "format": "polygon"}),
    ("text", {"labels": ["dog"], "threshold": 0, "points_per_class": 1, "refine": False}),
    ("text", {"labels": ["dog", "sky"], "threshold": 0.0, "stream": True, "format": "polygon"}),
    ("text", {"labels": ["dog"], "threshold": 0, "tiles": [2, 1], "tile_overlap": 0.2}),
    ("instances", {"labels": ["dog"], "threshold": 0, "max_instances": 7, "mask_threshold": -1.5}),
    ("everything", {**EVERYTHING, "labels": ["dog", "sky"], "stability_score_thresh": 0}),
    ("everything", {**EVERYTHING, "labels": ["dog"], "stream": True, "format": "png"}),
)
BOUNDARY = b"----a-boundary-that-is-in-no-image"
JSON, FORM = "application/json", f"multipart/form-data; boundary={BOUNDARY.decode()}"
Part = tuple[bytes, bytes]
"""What stands in a part's Content-Disposition, and its content."""


def to_form(parts: Sequence[Part]) -> bytes:
    head = b"--%b\r\nContent-Disposition: form-data; %b\r\n\r\n%b\r\n"
    return b"".join([*(head % (BOUNDARY, *each) for each in parts), b"--%b--\r\n" % BOUNDARY])


def of_kind(kind: str, content: Any) -> dict[str, Any]:
    """A body, as httpx takes it."""
    return {"content": content, "headers": {"Content-Type": kind.encode("latin-1")}}


class Question(NamedTuple):
    """What is asked of which of the images that the server keeps, and how they are given."""

    verb: str
    asked: dict[str, Any]
    indices: Sequence[int]
    way: str

    def json(self, site: Site) -> dict[str, Any]:
        name, values = ("base64", site.images) if self.way == "base64" else ("id", site.ids)
        return {**self.asked, "images": [{name: values[each]} for each in self.indices]}

    def parts(self, site: Site) -> list[Part]:
        files = [base64.b64decode(site.images[each]) for each in self.indices]
        asked = json.dumps(self.asked).encode()
        return [
            *((b'name="image"; filename="x.png"', each) for each in files),
            (b'name="request"', asked),
        ]

    def body(self, site: Site) -> dict[str, Any]:
        if self.way == "form":
            return of_kind(FORM, to_form(self.parts(site)))
        return of_kind(JSON, json.dumps(self.json(site)).encode())

    def check(self, reply: httpx.Response) -> None:
        refused = check_reply(reply, verb=self.verb, sizes=[SIZES[each] for each in self.indices])
        assert not refused, f"{self} is refused: {refused}"


@st.composite
def questions(draw: st.DrawFn) -> Question:
    verb, asked = draw(st.sampled_from(ASKED))
    indices = draw(st.lists(st.integers(0, LAST), min_size=1, max_size=3))
    if "tiles" in asked:
        indices = [LAST]  # the others are too small
    return Question(verb, asked, indices, draw(st.sampled_from(("id", "base64", "form"))))


MANY_POINTS = Question("everything", {**EVERYTHING, "labels": ["dog"]}, [0], "id")


@functools.cache
def operations() -> dict[str, Any]:
    """Those of the committed document, by name."""
    import schemathesis

    schema = schemathesis.openapi.from_dict(json.loads(DOCUMENT.read_bytes()))
    return {each.ok().label: each.ok() for each in schema.get_all_operations()}


def requests_of_the_document() -> st.SearchStrategy[Any]:
    from schemathesis import GenerationMode

    modes = (GenerationMode.POSITIVE, GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
    return st.one_of(*(each.as_strategy(mode) for each in operations().values() for mode in modes))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@fuzz(5, case=st.deferred(requests_of_the_document), index=st.none() | st.integers(0, LAST))
def test_the_document(site: Site, case: Any, index: int | None) -> None:
    """Schemathesis sends what it allows, and what it does not: the answer is as it says."""
    from schemathesis.specs.openapi import checks

    if index is not None and isinstance(case.body, dict):
        case.body["images"] = [{"id": site.ids[index]}]  # else no image would be one
    response = case.call(base_url=site.server.url, headers={"X-API-Key": KEY}, timeout=60)
    conforms = (
        checks.content_type_conformance,
        checks.response_schema_conformance,
        checks.status_code_conformance,
    )
    case.validate_response(response, checks=conforms)
    headers = {name: values[0] for name, values in response.headers.items()}
    reply = httpx.Response(response.status_code, headers=headers, content=response.content)
    verb = case.path.rpartition("/v1/")[2].replace("models", "").replace("/health", "")
    site.ask(lambda: check_reply(reply, verb=verb))


PATHS = (
    *SECRET_FILES,
    *("./secret.png", "../served/secret.png", "file:secret.png", "/etc/passwd", "/dev/zero"),
    *("/proc/self/environ", "~", "http://127.0.0.1:9/x.png", "data:image/png;base64,AAAA"),
)
values = json_values | st.sampled_from(
    (
        *(10**3000, "NaN", "rle", "a" * 41, "1", *PATHS, {"base64": ""}, {"base64": "AAAA"}),
        *({"id": "0" * 64}, {"id": "x"}, {"base64": "§"}, {"id": "a" * 64, "base64": "AAAA"}),
        *({"path": "secret.png"}, {"url": "http://127.0.0.1:9/"}),
    )
)
names = odd_texts | st.sampled_from(("path", "url", "image", "mask_input", "verb", "index"))


@fuzz(
    2.5,
    examples=[{"question": MANY_POINTS, "edit": ([3], 10**3000), "more": None, "ascii": True}],
    question=questions(),
    edit=edits(values),
    more=st.none() | st.none() | st.tuples(names, values),
    ascii=st.booleans(),
)
def test_edited_json(site: Site, question: Question, edit: Edit, more: Any, ascii: bool) -> None:
    body = edited(question.json(site), edit)
    if more:
        body[more[0]] = more[1]
    content = json.dumps(body, ensure_ascii=ascii).encode("utf-8", "surrogatepass")
    site.send(question.verb, **of_kind(JSON, content))


RAW = (
    *(b"", b" ", b"{}", b"[]", b"null", b"1", b'""', b"{", b"[" * 100_000, b"[" * 100 + b"]" * 100),
    *(b'{"images":' * 5_000, b'{"labels": ["a"], "labels": ["b"]}', b'{"labels": ["\\ud800"]}'),
    *(b'{"labels": ["\xed\xa0\x80"]}', b'{"labels": ["\xff"]}', b'{"labels": ["\0"]}'),
    *(b'\xef\xbb\xbf{"labels": ["dog"]}', b"\xff\xfe{\0}\0", b'{"labels": ["dog"]}\0', b"{} {}"),
    *(b'{"labels": ["dog"],}', b"{'labels': ['dog']}", b'{"labels": ["dog"]} // x', b"\0" * 1000),
    *(b'{"a": 1' + b"0" * 5_000 + b"}", b'{"a": 1e999999999}', b'{"a": -' + b"9" * 4_000 + b"}"),
    *(b"labels=dog&images=secret.png", b"<a/>", '{"labels": ["dog"]}'.encode("utf-16")),
    *(b"x" * 1_000_001, b'{"labels": ["' + b"a" * 900_000 + b'"]}', b"\x1f\x8b\x08\0" + bytes(20)),
)


@fuzz(1.5, question=questions(), ways=damage, raw=st.none() | st.sampled_from(RAW))
def test_bodies_that_are_no_json(
    site: Site, question: Question, ways: Damage, raw: bytes | None
) -> None:
    whole = json.dumps(question.json(site)).encode()
    content = damaged(whole, ways) if raw is None else raw
    site.send(question.verb, **of_kind(JSON, content))


@fuzz(
    1.5,
    question=questions(),
    name=st.sampled_from(sorted(image_files())),
    ways=damage | damage | st.just([]),
)
def test_images_that_are_sent(site: Site, question: Question, name: str, ways: Damage) -> None:
    content = damaged(image_files()[name], ways)
    if question.way == "form":
        part = (f'name="image"; filename="{name}"'.encode(), content)
        body = of_kind(FORM, to_form([part, question.parts(site)[-1]]))
    else:
        images = [{"base64": base64.b64encode(content).decode()}]
        body = of_kind(JSON, json.dumps({**question.asked, "images": images}).encode())
    site.send(question.verb, **body)


KINDS = (
    *("multipart/form-data", "multipart/form-data; boundary=", 'multipart/form-data; boundary="'),
    *("multipart/form-data;boundary=\xe9", "multipart/mixed", "multipart/form-data; =; ;;"),
    *(f"{FORM}, application/json", "application/x-www-form-urlencoded", "multipart/", "text/plain"),
    *("multipart/form-data; boundary=" + "b" * 300, FORM.upper(), f"{FORM}; boundary*0=a"),
    *(f"{FORM}; charset={charset}" for charset in ("utf-8", "utf-16", "rot13", "hex", "zlib", "")),
)
PART_NAMES = (b"image", b"request", b"image[]", b"im\0age", b"\xff", b"", b"x" * 9_000)
PART_TAILS = (
    *(b"", b"; a=b", b'; filename="x"', b'; filename="a\\"b"', b'; name="request"', b"; name="),
    *(b"; filename*=utf-8''%2fetc%2fpasswd", b'; filename="x"; filename="secret.png"'),
    *(b"\r\nContent-Transfer-Encoding: base64", b"\r\nContent-Length: 5", b"\r\n: x", b"\n"),
    *(b"\r\nContent-Type: " + b"a" * 9_000, b'; filename="%b"' % (b"x" * 9_000)),
    *(b'; filename="%b"' % path.encode() for path in PATHS),
)
said = st.builds(
    b'name="%b"%b'.__mod__, st.tuples(st.sampled_from(PART_NAMES), st.sampled_from(PART_TAILS))
)
REQUESTS = (
    *(b"", b"{}", b"[]", b"null", b"{", b"\xff", b"\0", b"+2AA-", b'{"labels": ["+2AA-"]}', b"NaN"),
    *(b'{"images": []}', b'{"images": [{"id": "x"}]}', b"[" * 50_000, b'{"labels": ["dog"]}'),
    *(b'{"labels": ["\\ud800"]}', b'"\xed\xa0\x80"', b'{"labels": ["%b"]}' % (b"a" * 100_000)),
)
CUT_AT_ITS_END = {
    **{"question": Question("text", {"labels": ["dog"]}, [0], "form"), "kind": FORM},
    **{"part": None, "times": 0, "ways": [("cut", 2**24 - 1, b"x")], "ends": b"\r\n"},
}
parts = st.tuples(said, st.sampled_from(REQUESTS))


@fuzz(
    1.5,
    examples=[CUT_AT_ITS_END],
    question=questions(),
    kind=st.just(FORM) | st.sampled_from(KINDS),
    part=st.none() | st.tuples(st.integers(0, 3), st.booleans(), parts),
    times=st.sampled_from((0, 0, 0, 1, 4, 2000)),
    ways=st.just([]) | damage,
    ends=st.sampled_from((*(b"\r\n",) * 8, b"\n", b"\r")),
)
def test_forms(
    site: Site, question: Question, kind: str, part: Any, times: int, ways: Damage, ends: bytes
) -> None:
    found = question.parts(site)
    if part is not None:
        index, instead, odd = part
        found[index : index + instead] = [odd]
    found += [(found[0][0], b"x")] * times
    body = damaged(to_form(found).replace(b"\r\n", ends), ways)
    site.send(question.verb, **of_kind(kind, body))


NAMES = (
    *("Content-Type", "Host", "Connection", "Upgrade", "X-Request-ID", "Content-Encoding"),
    *("Cookie", "Accept-Encoding", "Range", "If-None-Match", "X-Forwarded-Prefix", "Origin"),
    *("X-HTTP-Method-Override", "X-Original-URL", "A" * 70_000),
)
VALUES = (
    *(b"", b"-1", b"0x10", b"9" * 5_000, b"\xb2", b"gzip", b"100-continue", b"evil", b"x" * 65),
    *(b"a b", b"../x", b"application/json; charset=utf-16", b"application/json+x", b"text/plain"),
    *(b"h2c", b"websocket", b"*", b"DELETE", b"a" * 60_000, b"\xff\xfe", b"/secret.txt"),
)


@fuzz(
    1,
    examples=[{"question": MANY_POINTS, "name": "X-Request-ID", "value": each} for each in VALUES],
    question=questions(),
    name=st.sampled_from(NAMES),
    value=st.sampled_from(VALUES),
)
def test_headers(site: Site, question: Question, name: str, value: bytes) -> None:
    body = question.body(site)
    site.send(question.verb, content=body["content"], headers={**body["headers"], name: value})


STEPS = (
    *("v1", "text", "images", "models", "health", "metrics", "openapi.json", "page.js", "docs"),
    *("..", ".", "", "%2e%2e", "..%5c", "etc", "passwd", "secret.txt", "secret.png", "a" * 5_000),
    *("V1", "%74ext", "v1%2ftext", "text?x=1", "text;a", "x#x", "a%00.txt", "%ff%fe", "%"),
    *("%0d%0aX-Injected:%201", "file:"),
)
paths = st.builds(
    lambda start, steps: start + "/".join(steps),
    st.sampled_from((*"/////", "//", "http://evil/", "evil:80", "*")),
    st.lists(st.sampled_from(STEPS), max_size=4),
)


@fuzz(
    1,
    method=st.sampled_from((*("GET",) * 3, "POST", "HEAD", "PUT", "OPTIONS", "TRACE", "L" * 500)),
    path=paths,
)
def test_targets(site: Site, method: str, path: str) -> None:
    target = {"target": path.encode()}
    site.ask(lambda: check_reply(site.client.request(method, "/", extensions=target), verb=""))


NO_KEYS = (
    *({}, {"Authorization": ""}, {"Authorization": "Bearer"}, {"Authorization": "Bearer x"}),
    *({"Authorization": f"Bearer {k}"} for k in (KEY[:-1], KEY + "x", KEY.upper(), KEY * 500)),
    *({"Authorization": k + KEY} for k in ("", "Basic ", "bearer\t", "Bearer,")),
    *({"X-API-Key": k} for k in ("", "x", b"\xff" * 20, f"Bearer {KEY}", f"{KEY}, x")),
    *({"Authorisation": f"Bearer {KEY}"}, {"Cookie": f"key={KEY}"}, {"X-API-Keys": KEY}),
)


@fuzz(
    0.3,
    examples=[{"question": MANY_POINTS, "key": each} for each in NO_KEYS],
    question=questions(),
    key=st.sampled_from(NO_KEYS),
)
def test_keys(site: Site, question: Question, key: dict[str, Any]) -> None:
    """Without a good key nobody gets an answer."""
    body = question.body(site)

    def asked() -> str:
        headers = {**body["headers"], **key}
        url = f"{site.server.url}/v1/{question.verb}"
        reply = httpx.post(url, content=body["content"], headers=headers)
        assert reply.status_code in (400, 401), f"status {reply.status_code}"
        return check_reply(reply, verb=question.verb)

    site.ask(asked)


@fuzz(2.4, question=questions())
def test_what_makes_sense_is_answered(site: Site, question: Question) -> None:
    def asked() -> str:
        question.check(site.client.post(f"/v1/{question.verb}", **question.body(site)))
        return ""

    site.ask(asked)


@fuzz(0.2, question=questions(), end=st.integers(0, 20_000))
def test_clients_that_leave(site: Site, question: Question, end: int) -> None:
    """In the middle of a body."""
    body = question.body(site)
    whole = body["content"]

    def stops() -> Iterator[bytes]:
        yield whole[: end % len(whole)]
        raise ConnectionAbortedError

    def asked() -> str:
        headers = {**body["headers"], "Content-Length": str(len(whole))}
        with suppress(ConnectionAbortedError):
            site.client.post(f"/v1/{question.verb}", content=stops(), headers=headers)
        return "the client has left"

    site.ask(asked)


@fuzz(0.2, row=st.lists(questions(), min_size=8, max_size=8))
def test_many_at_once(site: Site, row: list[Question]) -> None:
    """Twice as many as may be in progress: each is answered, or told to come again."""

    def send(question: Question) -> httpx.Response:
        return site.client.post(f"/v1/{question.verb}", **question.body(site))

    def asked() -> str:
        with ThreadPoolExecutor(len(row)) as threads:
            replies = list(threads.map(send, row))
        late = 0
        for question, reply in zip(row, replies, strict=True):
            if reply.status_code == 429:
                check_reply(reply, verb=question.verb)
                late += 1
            else:
                question.check(reply)
        assert late < len(row), "no one is answered"
        return ""

    site.ask(asked)
