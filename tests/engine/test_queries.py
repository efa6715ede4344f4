"""An option of a verb is written once: whoever offers it says the same of it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest

from samclip_sdk import PromptError, SamClip, client
from samclip_sdk.annotate.annotation_log import AnnotationSettings
from samclip_sdk.engine.queries import (
    ClassifyQuery,
    EverythingQuery,
    InstanceQuery,
    OptionField,
    PromptQuery,
    Query,
    StreamQuery,
    TextQuery,
    options_of,
)
from samclip_sdk.serve import batching, schema
from samclip_sdk.serve.settings import MAX_ASKED
from tests.fake_source import FakeSource
from tests.refusals import refused

VERBS: dict[type[Query], Callable[..., Any]] = {
    ClassifyQuery: SamClip.classify,
    PromptQuery: SamClip.segment,
    TextQuery: SamClip.segment_text,
    InstanceQuery: SamClip.segment_instances,
    EverythingQuery: SamClip.segment_everything,
    StreamQuery: SamClip.stream,
}
REQUESTS = {
    PromptQuery: schema.SegmentRequest,
    TextQuery: schema.TextRequest,
    InstanceQuery: schema.InstancesRequest,
    EverythingQuery: schema.EverythingRequest,
}


@pytest.mark.parametrize("query", VERBS)
def test_a_verb_takes_what_its_query_has(query: type[Query]) -> None:
    taken = dict(inspect.signature(VERBS[query]).parameters)
    for given in ("self", "image", "source"):
        taken.pop(given, None)
    asked = inspect.signature(query).parameters
    assert {name: each.default for name, each in taken.items()} == {
        name: each.default for name, each in asked.items()
    }


@pytest.mark.parametrize("query", REQUESTS)
def test_a_request_has_the_bounds_of_the_query_or_a_named_limit(query: type[Query]) -> None:
    properties = REQUESTS[query].model_json_schema()["properties"]
    for name, known in options_of(query).items():
        if known.option.in_python_only:
            assert name not in properties
            continue
        said = properties[name]
        bounds = {**said, **next(iter(said.get("anyOf", [])), {})}
        assert said["description"] == known.option.help
        assert said["default"] == known.default
        assert bounds.get("minimum") == known.option.minimum
        assert bounds.get("maximum") == MAX_ASKED.get(name, known.option.maximum)


def test_annotations_depend_on_every_option() -> None:
    settings = AnnotationSettings.model_fields
    for query in (TextQuery, InstanceQuery):
        for name, known in options_of(query).items():
            if not known.option.in_python_only:
                assert name in settings or name == "threshold"  # of each label: thresholds


def wrong(known: OptionField) -> list[object]:
    """Values that an option refuses."""
    if known.kind is bool:
        return ["no", 1]
    minimum, maximum = known.option.minimum, known.option.maximum
    beyond = [
        minimum - 1 if minimum is not None else None,
        maximum + 1 if maximum is not None else None,
    ]
    return ["3", float("nan"), *(each for each in beyond if each is not None)]


@pytest.mark.parametrize("query", [TextQuery, InstanceQuery, StreamQuery, EverythingQuery])
def test_what_is_out_of_bounds_is_refused_by_name(query: type[Query]) -> None:
    for name, known in options_of(query).items():
        assert type(None) in get_args(known.hint) or known.default is not None
        for value in wrong(known):
            tiles = {"tiles": (2, 2)} if name == "tile_overlap" else {}
            refused(lambda: query(labels=["dog"], **{name: value}, **tiles), PromptError, name)  # noqa: B023


def another(known: OptionField) -> object:
    """A value that an option takes, and that is not its default."""
    if known.kind is bool:
        return not known.default
    return known.kind(2) if known.option.maximum != 1 else 0.125


@pytest.mark.parametrize("query", VERBS)
def test_every_option_reaches_the_model(
    query: type[Query], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = list[Query]()
    monkeypatch.setattr(
        SamClip, "_each", lambda model, image, skill, query, **task: asked.append(query)
    )
    monkeypatch.setattr(client, "Stream", lambda engine, query: asked.append(query))
    monkeypatch.setattr(client, "follow_footage", lambda *_: None)
    given = {name: another(known) for name, known in options_of(query).items()}
    if "tile_overlap" in given:
        given |= {"tiles": (2, 2), "tile_overlap": 0.5}
    things = {"boxes": [1, 2, 3, 4]} if query is PromptQuery else {"labels": ["dog"]}
    VERBS[query](SamClip(FakeSource(tmp_path)), [], **things, **given)
    (found,) = asked
    assert {name: getattr(found, name) for name in given} == given


@pytest.mark.parametrize(("verb", "query"), batching.QUERIES.items())
def test_every_option_of_a_request_reaches_the_verb(verb: str, query: type[Query]) -> None:
    options = {name: another(each) for name, each in options_of(query).items()}
    options |= {"labels": ["dog"], "tiles": [2, 2], "tile_overlap": 0.5}
    fields = {name: each for name, each in options.items() if name in REQUESTS[query].model_fields}
    request = REQUESTS[query](**fields)
    ask = {"verb": verb, **request.model_dump(exclude={"images"})}
    assert batching.arguments(ask) == {**fields, "tiles": (2, 2)}
