"""Forms (multipart/form-data) that nobody should send."""

from __future__ import annotations

import json
from random import Random

from tests.fuzz.damage import damaged
from tests.fuzz.http.bodies import PATHS
from tests.fuzz.http.questions import BOUNDARY, Question, form_kind, to_form
from tests.fuzz.http.site import Site, post
from tests.fuzz.values import TEXTS, shown

CHARSETS = (
    *("utf-8", "utf-7", "utf-16", "utf-32", "latin-1", "cp037", "punycode", "idna", "rot13", "hex"),
    *("zlib", "base64", "unicode_escape", "raw_unicode_escape", "undefined", "mbcs", "x", "", "\0"),
)
KINDS = (
    *("multipart/form-data", "multipart/form-data; boundary=", 'multipart/form-data; boundary="'),
    *(
        "multipart/form-data; boundary=other",
        "multipart/form-data;boundary=\xe9",
        "multipart/mixed",
    ),
    *(
        "multipart/form-data; boundary=" + "b" * 300,
        "multipart/form-data; boundary*0=a; boundary=b",
    ),
    *("multipart/form-data; charset=utf-8", "multipart/form-data; =; ;;", "MULTIPART/FORM-DATA"),
    *("multipart/form-data, application/json", "application/x-www-form-urlencoded", "multipart/"),
    *("multipart/form-data; boundary=a\tb", "multipart/form-data; boundary=----", "text/plain"),
)
SAID = (
    *(b"", b"name", b"name=", b'name=""', b'name="image"', b"name=image", b'name="request"; a=b'),
    *(b'name="request"; filename="x.json"', b'name="image"; filename=""', b'filename="x.png"'),
    *(b"name=\"image\"; filename*=utf-8''%2fetc%2fpasswd", b'name="image"; filename="a\\"b"'),
    *(
        b'name="image[]"; filename="x"',
        b'name="images"; filename="x"',
        b'name="\xff"; filename="x"',
    ),
    *(b'name="image"; name="request"', b'name="image"; filename="x"; filename="secret.png"'),
    *(b'name="image"; filename="' + b"x" * 9_000 + b'"', b'name="' + b"x" * 9_000 + b'"'),
    *(b'name="image"; filename="x"\r\nContent-Transfer-Encoding: base64', b'name="im\0age"'),
    *(b'name="image"; filename="x"\r\nContent-Length: 5', b'name="image"; filename="x"\r\n: x'),
    *(
        b'name="image"; filename="x"\r\nContent-Type: ' + b"a" * 9_000,
        b'name="image"; filename="x"\n',
    ),
)
REQUESTS = (
    *(b"", b"{}", b"[]", b"null", b"{", b"\xff", b"\0", b"+2AA-", b'{"labels": ["+2AA-"]}', b"NaN"),
    *(b'{"labels": ["\\ud800"]}', b'{"images": []}', b'{"images": [{"id": "x"}]}', b"[" * 50_000),
    *(b'{"labels": ["\\\\ud800"]}', b'{"labels": ["dog"]}', b"\\ud800", b'"\xed\xa0\x80"'),
)


def form(rng: Random, question: Question, site: Site) -> tuple[str, bytes]:
    """A form with something odd in it."""
    way = rng.choice((_damaged, _damaged, _parts, _parts, _kind, _charset, _charset, _many))
    said, kind, body = way(rng, _whole(question, site))
    return f"{question.verb}, a form, {said}", post(question.verb, body, kind=kind)


def _whole(question: Question, site: Site) -> list[tuple[bytes, bytes]]:
    files = [(b'name="image"; filename="x.png"', site.pictures[place]) for place in question.places]
    return [*files, (b'name="request"', json.dumps(question.asked).encode())]


def _damaged(rng: Random, parts: list[tuple[bytes, bytes]]) -> tuple[str, str, bytes]:
    rng.shuffle(parts)
    way, body = damaged(to_form(parts), rng)
    if rng.random() < 0.2:
        way, body = "ends of lines", to_form(parts).replace(b"\r\n", rng.choice((b"\n", b"\r")))
    return way, form_kind(), body


def _parts(rng: Random, parts: list[tuple[bytes, bytes]]) -> tuple[str, str, bytes]:
    """A part that is called, or holds, something else; or one more."""
    names = tuple(f'name="image"; filename="{path}"'.encode() for path in PATHS)
    said = rng.choice(rng.choice((SAID, SAID, names)))
    content = rng.choice((rng.choice(REQUESTS), parts[0][1]))
    place = rng.randrange(len(parts) + 1)
    parts[place : place + rng.randrange(2)] = [(said, content)]
    return f"a part {shown(said[:60])}", form_kind(), to_form(parts)


def _kind(rng: Random, parts: list[tuple[bytes, bytes]]) -> tuple[str, str, bytes]:
    kind = rng.choice(KINDS)
    boundary = rng.choice((BOUNDARY, b"", b"other", b"b" * 300, b"a\tb", b"----"))
    return f"as {shown(kind[:60])}", kind, to_form(parts, boundary=boundary)


def _charset(rng: Random, parts: list[tuple[bytes, bytes]]) -> tuple[str, str, bytes]:
    charset = rng.choice(CHARSETS)
    long = b"a" * rng.choice((1_000, 100_000))
    wanted = (*REQUESTS, parts[-1][1], long + b"-" + long, b'{"labels": ["%b"]}' % long)
    parts[-1] = (b'name="request"', rng.choice(wanted))
    if rng.random() < 0.3:
        parts[-1] = (f'name="{rng.choice(TEXTS)}"'.encode("utf-8", "replace"), parts[-1][1])
    return f"in {shown(charset)}", f"{form_kind()}; charset={charset}", to_form(parts)


def _many(rng: Random, parts: list[tuple[bytes, bytes]]) -> tuple[str, str, bytes]:
    place, times = rng.randrange(len(parts)), rng.choice((2, 4, 2_000))
    body = to_form([*parts, *[(parts[place][0], b"x")] * times])
    return f"part {place} {times} times more", form_kind(), body
