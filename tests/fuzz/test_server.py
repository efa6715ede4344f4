"""HTTP: what the document allows, and what it does not; the server stays well all the time."""

from __future__ import annotations

import base64
import functools
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any, NamedTuple

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
from tests.fuzz.picture_files import picture_files
from tests.fuzz.site import DOCUMENT, KEY, SECRET_FILES, SIZES, Site, post
from tests.fuzz.wire import Reply, Then

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
BOUNDARY = b"----a-boundary-that-is-in-no-picture"
FORM = f"multipart/form-data; boundary={BOUNDARY.decode()}"
Part = tuple[bytes, bytes]
"""What stands in a part's Content-Disposition, and its content."""


def to_form(parts: Sequence[Part], *, boundary: bytes = BOUNDARY) -> bytes:
    head = b"--%b\r\nContent-Disposition: form-data; %b\r\n\r\n%b\r\n"
    return b"".join([*(head % (boundary, *each) for each in parts), b"--%b--\r\n" % boundary])


class Question(NamedTuple):
    """What is asked of which of the pictures that the server keeps, and how they are given."""

    verb: str
    asked: dict[str, Any]
    places: Sequence[int]
    way: str

    def body(self, site: Site) -> dict[str, Any]:
        contents = [base64.b64encode(site.pictures[place]).decode() for place in self.places]
        ids = [site.ids[place] for place in self.places]
        found = [{"id": each} for each in ids]
        if self.way == "base64":
            found = [{"base64": each} for each in contents]
        return {**self.asked, "images": found}

    def parts(self, site: Site) -> list[Part]:
        files = [(b'name="image"; filename="x.png"', site.pictures[each]) for each in self.places]
        return [*files, (b'name="request"', json.dumps(self.asked).encode())]

    def request(self, site: Site, *, close: bool = True) -> bytes:
        if self.way == "form":
            return post(self.verb, to_form(self.parts(site)), kind=FORM, close=close)
        return post(self.verb, json.dumps(self.body(site)).encode(), close=close)

    def check(self, reply: Reply) -> None:
        refused = check_reply(reply, verb=self.verb, sizes=[SIZES[each] for each in self.places])
        assert not refused, f"{self} is refused: {refused}"


@st.composite
def questions(draw: st.DrawFn) -> Question:
    verb, asked = draw(st.sampled_from(ASKED))
    places = draw(st.lists(st.integers(0, LAST), min_size=1, max_size=3))
    if "tiles" in asked:
        places = [LAST]  # the others are too small
    return Question(verb, asked, places, draw(st.sampled_from(("id", "base64", "form"))))


MANY_POINTS = Question("everything", {**EVERYTHING, "labels": ["dog"]}, [0], "id")


def ask(site: Site, verb: str, content: bytes, then: Then = "wait") -> None:
    """Whatever is sent, what comes back keeps the promises."""

    def asked() -> list[str]:
        replies = site.send(content, then=then)
        if not replies:
            assert then != "wait" or len(content) > 1_000_000, "it closes without an answer"
            return ["the connection was closed"]
        return [each for each in (check_reply(reply, verb=verb) for reply in replies) if each]

    site.ask(asked)


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
@fuzz(4, case=st.deferred(requests_of_the_document), place=st.none() | st.integers(0, LAST))
def test_the_document(site: Site, case: Any, place: int | None) -> None:
    """Schemathesis sends what it allows, and what it does not: the answer is as it says."""
    from schemathesis.specs.openapi import checks

    if place is not None and isinstance(case.body, dict):
        case.body["images"] = [{"id": site.ids[place]}]  # else no picture would be one
    response = case.call(base_url=site.server.url, headers={"X-API-Key": KEY}, timeout=60)
    conforms = (
        checks.content_type_conformance,
        checks.response_schema_conformance,
        checks.status_code_conformance,
    )
    case.validate_response(response, checks=conforms)
    headers = {name: values[0] for name, values in response.headers.items()}
    reply = Reply(response.status_code, headers, response.content)
    verb = case.path.rpartition("/v1/")[2].replace("models", "").replace("/health", "")
    site.ask(lambda: [each for each in [check_reply(reply, verb=verb)] if each])


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
    body = edited(question.body(site), edit)
    if more:
        body[more[0]] = more[1]
    content = json.dumps(body, ensure_ascii=ascii).encode("utf-8", "surrogatepass")
    ask(site, question.verb, post(question.verb, content))


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


@fuzz(1, question=questions(), ways=damage, raw=st.none() | st.integers(0, len(RAW) - 1))
def test_bodies_that_are_no_json(
    site: Site, question: Question, ways: Damage, raw: int | None
) -> None:
    whole = json.dumps(question.body(site)).encode()
    content = damaged(whole, ways) if raw is None else RAW[raw]
    ask(site, question.verb, post(question.verb, content))


@fuzz(
    1.5,
    question=questions(),
    name=st.sampled_from(sorted(picture_files())),
    ways=damage | damage | st.just([]),
)
def test_pictures_that_are_sent(site: Site, question: Question, name: str, ways: Damage) -> None:
    content = damaged(picture_files()[name], ways)
    if question.way == "form":
        part = (f'name="image"; filename="{name}"'.encode(), content)
        form = to_form([part, question.parts(site)[-1]])
        ask(site, question.verb, post(question.verb, form, kind=FORM))
        return
    body = {**question.asked, "images": [{"base64": base64.b64encode(content).decode()}]}
    ask(site, question.verb, post(question.verb, json.dumps(body).encode()))


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
        place, instead, odd = part
        found[place : place + instead] = [odd]
    found += [(found[0][0], b"x")] * times
    body = damaged(to_form(found).replace(b"\r\n", ends), ways)
    ask(site, question.verb, post(question.verb, body, kind=kind))


LINE_NAMES = (
    *("Content-Length", "Content-Length", "Transfer-Encoding", "Transfer-Encoding", "Content-Type"),
    *("Host", "Expect", "Connection", "Upgrade", "X-Request-ID", "Content-Encoding", "Cookie", ""),
    *("Accept-Encoding", "Range", "If-None-Match", "X-Forwarded-Prefix", "X-HTTP-Method-Override"),
    *("X-Original-URL", " folded", "X Y", "X\0", "A" * 70_000),
)
LINE_VALUES = (
    *(b"", b"-1", b"+5", b"0", b"0x10", b"5, 5", b"9" * 20, b"1", b"9" * 5_000, b"\xb2", b"999999"),
    *(b"chunked", b"chunked", b"gzip, chunked", b"\tChunked", b"gzip", b"100-continue", b"evil"),
    *(b"a\tb", b"x" * 65, b"../x", b"1\r\nX-Injected: 1", b"application/json; charset=utf-16"),
    *(b"application/json+x", b"text/plain", b"keep-alive", b"h2c", b"websocket", b"*", b"DELETE"),
    *(b"a" * 60_000, b"\0", b"\xff\xfe", b"a\rb", b"y\n", b"/secret.txt", b"x\r\nNoColon"),
    b"x\r\n" + b"\r\n".join(b"X-%d: x" % number for number in range(500)),
)
CHUNKED = b"Transfer-Encoding: chunked"
head_lines = st.just(CHUNKED) | st.builds(
    lambda name, value: name.encode() + b": " + value,
    st.sampled_from(LINE_NAMES),
    st.sampled_from(LINE_VALUES),
)
CHUNKS = (
    *(b"0\r\n\r\n", b"5\r\n{}   \r\n0\r\n\r\n", b"zz\r\nab\r\n0\r\n\r\n", b"-1\r\n"),
    *(b"FFFFFFFFFFFFFFFF\r\nab", b"F" * 30 + b"\r\n", b"5\r\nab\r\n0\r\n", b"2\n{}\n0\n\n"),
    *(b"2\r\n{}\r\n0\r\nX: y\r\n\r\n", b"2;x=" + b"y" * 9_000 + b"\r\n{}\r\n0\r\n\r\n"),
)
ODD_IDS = {"question": MANY_POINTS, "place": 1, "way": "more", "chunks": None, "ways": []}


@fuzz(
    1.5,
    examples=[
        {**ODD_IDS, "line": b"X-Request-ID: " + value}
        for value in (b"a b", b"x" * 65, b"../x", b"\xe9", b"1\r\nX-Injected: 1")
    ],
    question=questions(),
    line=st.none() | head_lines,
    place=st.integers(0, 5),
    way=st.sampled_from(("more", "instead", "gone")),
    chunks=st.none() | st.sampled_from(CHUNKS),
    ways=st.just([]) | damage,
)
def test_heads(
    site: Site,
    question: Question,
    line: bytes | None,
    place: int,
    way: str,
    chunks: bytes | None,
    ways: Damage,
) -> None:
    """A line of the head more, another or gone; chunks; bytes of the head damaged."""
    head, _, body = question.request(site).partition(b"\r\n\r\n")
    first, *rest = head.split(b"\r\n")
    line = rest[place % len(rest)] if line is None else line
    if way != "more":
        name = line.partition(b":")[0].lower()
        rest = [each for each in rest if not each.lower().startswith(name + b":")]
    if way != "gone":
        rest.insert(place, line)
    if line == CHUNKED:
        rest = [each for each in rest if not each.startswith(b"Content-Length")]
        body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if chunks is None else chunks
    head = damaged(b"\r\n".join([first, *rest]), ways)
    ask(site, question.verb, head + b"\r\n\r\n" + body, "end if silent")


METHODS = (
    *("GET", "GET", "GET", "POST", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT"),
    *("get", "PROPFIND", "G\0T", "L" * 500, ""),
)
STEPS = (
    *("v1", "text", "images", "models", "health", "metrics", "openapi.json", "page.js", "docs"),
    *("..", ".", "", "%2e%2e", "..%5c", "etc", "passwd", "secret.txt", "secret.png", "a" * 5_000),
    *("V1", "%74ext", "v1%2ftext", "text?x=1", "text;a", "x#x", "a%00.txt", "%ff%fe", "%", "é"),
    *("health\t", "health x", "%0d%0aX-Injected:%201", "\ud800", "file:"),
)
paths = st.builds(
    lambda start, steps: start + "/".join(steps),
    st.sampled_from((*"/////", "", "//", "http://evil/", "evil:80", "*")),
    st.lists(st.sampled_from(STEPS), max_size=4),
)
NO_REQUESTS = (
    *(b"\r\n" * 50, b"GET /\r\n\r\n", b"GET / HTTP/0.9\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n"),
    *(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\x16\x03\x01\x02\0\x01" + bytes(500), b"\0" * 70_000),
    *(b"A" * 70_000, b"\xff\xfe\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n", b"SSH-2.0-x\r\n"),
)


@fuzz(
    1,
    method=st.sampled_from(METHODS),
    path=paths,
    version=st.sampled_from((*("HTTP/1.1",) * 3, "HTTP/1.0", "HTTP/2", "http/1.1", "")),
    key=st.sampled_from((KEY, KEY, "x")),
    instead=st.sampled_from((*(None,) * 30, *NO_REQUESTS)),
)
def test_targets(
    site: Site, method: str, path: str, version: str, key: str, instead: bytes | None
) -> None:
    line = f"{method} {path} {version}".encode("utf-8", "surrogatepass")
    _, _, rest = post("x", b"{}", key=key).partition(b"\r\n")
    content = line + b"\r\n" + rest if instead is None else instead
    ask(site, "", content, "end if silent")


GOOD = KEY.encode()
NO_KEYS = (
    *(b"X: no key", b"Authorization:", b"Authorization: Bearer", b"Authorization: Bearer x"),
    *(b"Authorization: Bearer " + k for k in (GOOD[:-1], GOOD + b"x", GOOD.upper(), GOOD * 500)),
    *(b"Authorization: " + k + GOOD for k in (b"", b"Basic ", b"bearer\t", b"Bearer,")),
    *(b"X-API-Key: " + k for k in (b"", b"x", b"\xff" * 20, b"Bearer " + GOOD, GOOD + b", x")),
    *(b"Authorisation: Bearer " + GOOD, b"Cookie: key=" + GOOD, b"X-API-Keys: " + GOOD),
)


@fuzz(
    0.3,
    examples=[{"question": MANY_POINTS, "line": line} for line in NO_KEYS],
    question=questions(),
    line=st.sampled_from(NO_KEYS),
)
def test_keys(site: Site, question: Question, line: bytes) -> None:
    """Without a good key nobody gets an answer."""
    content = question.request(site).replace(b"Authorization: Bearer " + GOOD, line, 1)

    def asked() -> list[str]:
        (reply,) = site.send(content)
        assert reply.status in (400, 401), f"status {reply.status}"
        return [check_reply(reply, verb=question.verb)]

    site.ask(asked)


@fuzz(
    2,
    row=st.lists(questions(), min_size=1, max_size=3),
    cuts=st.just([]) | st.lists(st.integers(0, 20_000), max_size=20),
)
def test_what_makes_sense_is_answered(site: Site, row: list[Question], cuts: list[int]) -> None:
    """In pieces too, or before the questions ahead of it are answered."""
    content = b"".join(each.request(site, close=each is row[-1]) for each in row)
    ends = [0, *sorted(cut % len(content) for cut in cuts), len(content)]
    pieces = [content[start:end] for start, end in pairwise(ends)]

    def asked() -> list[str]:
        for question, reply in zip(row, site.send(*pieces), strict=True):
            question.check(reply)
        return []

    site.ask(asked)


@fuzz(0.4, first=questions(), ways=damage, key=st.booleans(), question=questions())
def test_a_question_after_what_was_refused(
    site: Site, first: Question, ways: Damage, key: bool, question: Question
) -> None:
    """Over the same connection, with a body that may be unread."""
    body = damaged(json.dumps(first.body(site)).encode(), ways)
    before = post(first.verb, body, key=KEY if key else "x", close=False)

    def asked() -> list[str]:
        odd, *good = site.send(before + question.request(site))
        refused = check_reply(odd, verb="")
        if odd.headers.get("connection") == "close":
            assert not good, "it answers after it has said that it closes"
            return [refused]
        question.check(*good)
        return []

    site.ask(asked)


@fuzz(
    0.2,
    question=questions(),
    end=st.integers(1, 20_000),
    then=st.sampled_from(("leave", "leave", "end if silent")),
)
def test_clients_that_stop(site: Site, question: Question, end: int, then: Then) -> None:
    ask(site, question.verb, question.request(site)[:end], then)


@fuzz(0.1, question=questions(), end=st.integers(1, 20_000))
def test_clients_that_wait(site: Site, question: Question, end: int) -> None:
    """After a second they are told that their body is late."""
    head, _, body = question.request(site).partition(b"\r\n\r\n")
    ask(site, question.verb, head + b"\r\n\r\n" + body[: end % len(body)])


@fuzz(0.2, row=st.lists(questions(), min_size=8, max_size=8))
def test_many_at_once(site: Site, row: list[Question]) -> None:
    """Twice as many as may be in progress: each is answered, or told to come again."""

    def asked() -> list[str]:
        with ThreadPoolExecutor(len(row)) as threads:
            replies = list(threads.map(lambda each: site.send(each.request(site)), row))
        late = []
        for question, (reply,) in zip(row, replies, strict=True):
            if reply.status == 429:
                late.append(check_reply(reply, verb=question.verb))
            else:
                question.check(reply)
        assert len(late) < len(row), "no one is answered"
        return []

    site.ask(asked)
