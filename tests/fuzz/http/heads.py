"""Heads that nobody should send: lines, methods, paths, keys; and bytes that are no request."""

from __future__ import annotations

from random import Random

from tests.fuzz.damage import damaged
from tests.fuzz.http.questions import VERBS, Question, to_request
from tests.fuzz.http.site import KEY, KEY_LINE, Site, post
from tests.fuzz.values import shown

LINES = (
    *(
        b"Content-Length: " + n
        for n in (b"", b"-1", b"+5", b"0", b"0x10", b"1e3", b"5, 5", b"9" * 20)
    ),
    *(
        b"Content-Length: " + n
        for n in (b"9" * 25, b"9" * 5_000, b"\xb2", b"2 000", b"999999", b"1")
    ),
    *(
        b"Transfer-Encoding: " + n
        for n in (b"chunked", b"gzip, chunked", b"identity", b"\tChunked")
    ),
    *(
        b"Expect: 100-continue",
        b"Expect: 200-ok",
        b"Host: evil",
        b"Host:",
        b"Host: a\tb",
        b"Range: x",
    ),
    *(b"X-Request-ID: " + n for n in (b"a b", b"x" * 65, b"../x", b"\xe9", b"1\r\nX-Injected: 1")),
    *(
        b"Content-Type: " + n
        for n in (b"", b"application/json; charset=utf-16", b"text/plain", b"\xff")
    ),
    *(b"Content-Type: " + n for n in (b"APPLICATION/JSON", b"application/json+x", b"a" * 5_000)),
    *(
        b"Content-Encoding: gzip",
        b"Accept: text/html",
        b"Accept-Encoding: gzip",
        b"If-None-Match: *",
    ),
    *(b"Connection: Upgrade\r\nUpgrade: websocket", b"Connection: Upgrade\r\nUpgrade: h2c"),
    *(b"Connection: keep-alive", b"Cookie: " + b"a" * 60_000, b"A" * 70_000 + b": x", b"NoColon"),
    *(
        b": no name",
        b"X Y: z",
        b"X\0: y",
        b"X: \0",
        b"X: \xff\xfe",
        b"X: a\rb",
        b" folded: x",
        b"\tx",
    ),
    *(b"\r\n".join(b"X-%d: x" % n for n in range(500)), b"X-Forwarded-For: 127.0.0.1", b"X: y\n"),
    *(b"X-HTTP-Method-Override: DELETE", b"X-Forwarded-Prefix: /x", b"X-Original-URL: /secret.txt"),
)
METHODS = (
    *("GET", "GET", "GET", "POST", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT"),
    *("get", "PROPFIND", "G\0T", "L" * 500, ""),
)
TARGETS = (
    *("/", "/health", "/metrics", "/openapi.json", "/v1/models", "/style.css", "/docs", "/redoc"),
    *("/v1", "/v1/", *(f"/v1/{verb}" for verb in VERBS), "/v1/text/", "//v1/text", "/V1/TEXT"),
    *("/v1/%74ext", "/v1%2ftext", "/v1/text?x=1", "/v1/text;a", "/v1/models/", "/v1/../health"),
    *("/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/..%5c..%5csecret.txt", "/secret.txt"),
    *("/style.css/../secret.txt", "/style.css%00.txt", "/page.js/secret.txt", "/./secret.png"),
    *("*", "http://evil/health", "evil:80", "//evil/", "/%ff%fe", "/%", "/%zz", "/é", "/\ud800"),
    *(
        "/" + "a" * 5_000,
        "/health\t",
        "/health x",
        "/%0d%0aX-Injected:%201",
        "/v1/images/" + "a" * 64,
    ),
    *("/health#x", "/file:///etc/passwd", "?x", "", "/health/", "/favicon.ico", "/robots.txt"),
)
_GOOD = KEY.encode()
NO_KEYS = (
    *(b"X: no key", b"Authorization:", b"Authorization: Bearer", b"Authorization: Bearer x"),
    *(
        b"Authorization: Bearer " + k
        for k in (_GOOD[:-1], _GOOD + b"x", _GOOD.upper(), _GOOD * 500)
    ),
    *(
        b"Authorization: " + k + _GOOD
        for k in (b"", b"Basic ", b"bearer\t", b"Bearer x ", b"Bearer,")
    ),
    *(b"X-API-Key: " + k for k in (b"", b"x", b"\xff" * 20, b"Bearer " + _GOOD, _GOOD + b", x")),
    *(b"Authorisation: Bearer " + _GOOD, b"Cookie: key=" + _GOOD, b"X-API-Keys: " + _GOOD),
)
NO_REQUESTS = (
    *(b"", b"\r\n" * 50, b"GET /\r\n\r\n", b"GET / HTTP/0.9\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n"),
    *(
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" + b"\0" * 500,
    ),
    *(
        b"\0" * 70_000,
        b"A" * 70_000,
        b"\xff\xfe\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"SSH-2.0-x\r\n",
    ),
)
CHUNKS = (
    *(
        b"0\r\n\r\n",
        b"5\r\n{}   \r\n0\r\n\r\n",
        b"-1\r\n",
        b"zz\r\nab\r\n0\r\n\r\n",
        b"5\r\nab\r\n0\r\n",
    ),
    *(
        b"FFFFFFFFFFFFFFFF\r\nab",
        b"F" * 30 + b"\r\n",
        b"2;x=" + b"y" * 9_000 + b"\r\n{}\r\n0\r\n\r\n",
    ),
    *(
        b"2\r\n{}\r\n0\r\nX: y\r\n\r\n",
        b"2\n{}\n0\n\n",
        b"1\r\n{\r\n1\r\n}\r\n0\r\n\r\n",
        b"2\r\n{}X\r\n",
    ),
)


def lines(rng: Random, question: Question, site: Site) -> tuple[str, bytes]:
    """A good request with a line of its head more, twice, gone, or another."""
    head, _, body = to_request(rng, question, site).partition(b"\r\n\r\n")
    first, *rest = head.split(b"\r\n")
    line, place = rng.choice(LINES), rng.randrange(len(rest))
    way = rng.choice(("more", "more", "instead", "first", "twice", "gone"))
    if way in ("instead", "gone"):
        name = line.partition(b":")[0].lower()
        rest = [each for each in rest if not each.lower().startswith(name + b":")]
    if way == "twice":
        line = rest[place]
    if way != "gone":
        rest.insert(0 if way == "first" else place, line)
    if line == b"Transfer-Encoding: chunked" and rng.random() < 0.8:
        rest = [each for each in rest if not each.startswith(b"Content-Length")]
        body = rng.choice((*CHUNKS, b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)))
    said = f"{question.verb}, {shown(line[:60])} {way}"
    return said, b"\r\n".join([first, *rest, b"", body])


def target(rng: Random, question: Question, site: Site) -> tuple[str, bytes]:
    """Another method, path or version; or what is no request at all."""
    if rng.random() < 0.15:
        content = rng.choice(NO_REQUESTS)
        return f"no request, {shown(content[:30])}", content
    method, path = rng.choice(METHODS), rng.choice(TARGETS)
    version = rng.choice(("HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/2", "http/1.1", ""))
    key = rng.choice((KEY, KEY, "x"))
    line = f"{method} {path} {version}".encode("utf-8", "surrogatepass")
    _, _, rest = post("x", b"{}", key=key).partition(b"\r\n")
    return f"{shown(line[:90])}, the key {key[:3]}", line + b"\r\n" + rest


def key(rng: Random, question: Question, site: Site) -> tuple[str, bytes]:
    """A good question without a key that is good, which nobody may get an answer to."""
    line = rng.choice(NO_KEYS)
    request = to_request(rng, question, site)
    return f"{question.verb}, {shown(line[:60])}", request.replace(KEY_LINE, line, 1)


def damage(rng: Random, question: Question, site: Site) -> tuple[str, bytes]:
    """Bytes of a good request damaged, anywhere or in its head."""
    whole = to_request(rng, question, site)
    if rng.random() < 0.5:
        way, content = damaged(whole, rng)
        return f"{question.verb}, {way}", content
    head, _, body = whole.partition(b"\r\n\r\n")
    way, head = damaged(head, rng)
    return f"{question.verb}, its head, {way}", head + b"\r\n\r\n" + body
