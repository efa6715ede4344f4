"""HTTP: questions, and what nobody should send, to a server that must stay well all the time."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from random import Random

from samclip_sdk import SamClipError
from samclip_sdk.system.timing import peak_rss_bytes
from tests.fuzz.http import bodies, forms, heads
from tests.fuzz.http.answers import check_reply
from tests.fuzz.http.questions import Question, draw_question, to_body, to_request
from tests.fuzz.http.site import Site, opened_site, post
from tests.fuzz.http.wire import Reply, Then
from tests.fuzz.oracle import Case
from tests.fuzz.world import World

KINDS = {
    "good": 20,
    "edited": 22,
    "raw": 8,
    "many": 4,
    "picture": 12,
    "form": 13,
    "lines": 9,
    "damage": 9,
    "target": 6,
    "key": 2,
    "stops": 2,
    "in pieces": 2,
    "in a row": 2,
    "at once": 2,
    "after": 3,
}
"""How often each is drawn."""

_BODIES = {
    "edited": bodies.edited,
    "raw": bodies.raw,
    "many": bodies.many,
    "picture": bodies.picture,
    "form": forms.form,
}
_HEADS = {"lines": heads.lines, "damage": heads.damage, "target": heads.target}
_AT_ONCE = 8
"""Twice as many as may be in progress."""

_MEMORY_BYTES = 100_000_000
"""By how much a case may raise the peak of this process, whose bodies have a megabyte at most."""


def subject(world: World) -> Callable[[Random], Case]:
    site = world.opened.enter_context(opened_site(world))

    def draw(rng: Random) -> Case:
        kind = rng.choices(list(KINDS), list(KINDS.values()))[0]
        question = draw_question(rng)
        if kind in _BODIES:
            said, content = _BODIES[kind](rng, question, site)
            return _case(said, site, lambda: _odd(site, question.verb, content, then="wait"))
        if kind in _HEADS:
            said, content = _HEADS[kind](rng, question, site)
            verb = "" if kind == "target" else question.verb
            return _case(said, site, lambda: _odd(site, verb, content, then="end if silent"))
        if kind == "key":
            said, content = heads.key(rng, question, site)
            return _case(f"no key: {said}", site, lambda: _locked(site, question, content))
        if kind == "stops":
            return _stops(rng, question, site)
        if kind == "at once":
            return _at_once(rng, site)
        if kind == "after":
            return _after(rng, question, site)
        return _good(rng, question, site, kind=kind)

    return draw


def _case(said: str, site: Site, ask: Callable[[], list[str]]) -> Case:
    """A case that sends something, and then looks whether the server is well."""

    def run() -> None:
        site.errors.clear()  # those of a case that has failed are its own
        before = peak_rss_bytes() or 0
        refused = ask()
        grown = (peak_rss_bytes() or 0) - before
        assert grown < _MEMORY_BYTES, f"its memory has grown by {grown} bytes"
        site.check_health()
        if refused:
            raise SamClipError(refused[0])

    return Case(said, run)


def _odd(site: Site, verb: str, content: bytes, *, then: Then) -> list[str]:
    """Whatever is sent, what comes back keeps the promises; returns the refusals."""
    replies = site.send(content, then=then)
    if then == "wait" and not replies:
        assert len(content) > 1_000_000, "it closes the connection without an answer"
    if not replies:
        return ["the connection was closed"]
    found = [check_reply(reply, verb=verb) for reply in replies]
    return [each for each in found if each]


def _locked(site: Site, question: Question, content: bytes) -> list[str]:
    (reply,) = site.send(content)
    found = check_reply(reply, verb=question.verb)
    assert reply.status in (400, 401), f"status {reply.status}"
    return [found]


def _good(rng: Random, question: Question, site: Site, *, kind: str) -> Case:
    """A question that is answered, however it comes: in pieces, or before others were answered."""
    questions = [question]
    if kind == "in a row":
        questions += [draw_question(rng) for _ in range(rng.randrange(1, 4))]
    last = len(questions) - 1
    content = b"".join(
        to_request(rng, each, site, close=place == last) for place, each in enumerate(questions)
    )
    cuts = [0, len(content)]
    if kind == "in pieces":
        cuts += [rng.randrange(len(content)) for _ in range(rng.randrange(1, 30))]
    cuts.sort()
    pieces = [content[start:end] for start, end in pairwise(cuts)]

    def ask() -> list[str]:
        replies = site.send(*pieces)
        assert len(replies) == len(questions), f"{len(replies)} answers to {len(questions)}"
        for reply, each in zip(replies, questions, strict=True):
            _check_answered(reply, each)
        return []

    said = ", then ".join(f"{each.verb} {each.asked}" for each in questions)
    return _case(f"{kind}: {said}"[:300], site, ask)


def _after(rng: Random, question: Question, site: Site) -> Case:
    """A good question over the connection over which another was refused, its body unread maybe."""
    kind = rng.choice((*_BODIES.values(), heads.key))
    said, first = kind(rng, draw_question(rng), site)
    content = first.replace(b"Connection: close\r\n", b"", 1) + to_request(rng, question, site)

    def ask() -> list[str]:
        odd, *good = site.send(content)
        refused = check_reply(odd, verb="")
        if odd.headers.get("connection") == "close":
            assert not good, "it answers after it has said that it closes"
            return [refused]
        (reply,) = good
        _check_answered(reply, question)
        return []

    return _case(f"after {said}, {question.verb}", site, ask)


def _check_answered(reply: Reply, question: Question) -> None:
    refused = check_reply(reply, verb=question.verb, sizes=question.sizes)
    assert not refused, f"refused: {refused}"


def _stops(rng: Random, question: Question, site: Site) -> Case:
    """A client that goes before it has sent all, or before it is answered; one that waits."""
    content = to_request(rng, question, site)
    end = rng.choice((len(content), rng.randrange(1, len(content))))
    then: Then = rng.choice(("leave", "leave", "end if silent"))
    if end > content.index(b"\r\n\r\n") + 4 and rng.random() < 0.1:
        then = "wait"  # a second, after which it is told that its body is late

    def ask() -> list[str]:
        refused = _odd(site, question.verb, content[:end], then=then)
        return refused if end < len(content) else []

    return _case(f"{question.verb}, {end} of {len(content)} bytes, then {then}", site, ask)


def _at_once(rng: Random, site: Site) -> Case:
    """More requests at once than may be in progress: each is answered, or told to come again."""
    questions = [draw_question(rng) for _ in range(_AT_ONCE)]
    contents = [
        post(each.verb, json.dumps(to_body(rng, each, site)).encode()) for each in questions
    ]

    def ask() -> list[str]:
        with ThreadPoolExecutor(_AT_ONCE) as threads:
            replies = list(threads.map(site.send, contents))
        answered = 0
        for (reply,), question in zip(replies, questions, strict=True):
            if reply.status == 429:
                check_reply(reply, verb=question.verb)
            else:
                _check_answered(reply, question)
                answered += 1
        assert answered, "no one is answered"
        return []

    return _case(f"{_AT_ONCE} at once, {', '.join(each.verb for each in questions)}", site, ask)
