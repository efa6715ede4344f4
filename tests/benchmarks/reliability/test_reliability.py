"""Small editions of the campaigns, that each sees a planted fault, and their tables."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from benchmarks.pages import PAGES, render
from benchmarks.reliability import memory as memory_campaign
from benchmarks.reliability.memory import growth, sample_annotation, sample_calls, sample_server
from benchmarks.reliability.questions import (
    TINY_BUNDLE,
    VERBS,
    digest_answer,
    load_exact,
    make_subjects,
    write_images,
)
from benchmarks.reliability.threads import IMAGES, plan_calls, run_threads
from benchmarks.suite import Measuring
from benchmarks.table import Part, Table, read_table
from samclip_sdk import SamClip
from samclip_sdk.engine.one_pass import Pass
from tests.benchmarks.measured import found_by, measure
from tests.fake_source import HeadsDiffer, fake_client, sample_image


def load() -> SamClip:
    return load_exact(TINY_BUNDLE)


@pytest.mark.slow
def test_every_verb_tells_every_image_apart() -> None:
    """Else an answer of another image could not be seen."""
    with load() as model:
        subjects = make_subjects(model, images=IMAGES, seed=0)
        for verb, ask in VERBS.items():
            answers = [digest_answer(ask(model, subject)) for subject in subjects]
            assert len(set(answers)) == IMAGES, verb
            assert digest_answer(ask(model, subjects[0])) == answers[0], verb


def test_the_mix_has_every_verb_and_so_many_calls() -> None:
    plan = plan_calls(20, seed=0)
    assert (len(plan), {verb for verb, _ in plan}) == (20, set(VERBS))
    assert plan_calls(100, seed=1) == plan_calls(100, seed=1) != plan_calls(100, seed=2)


@pytest.mark.slow
def test_threads_get_what_one_gets_alone() -> None:
    found = [*run_threads(load, plan_calls(60, seed=0), threads=8, seed=0)]
    assert {what for _, what in found} == {"same"}
    assert len(found) == 60


def test_a_model_that_mixes_images_up_is_caught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model that is shared gives every image the first one's head, and cannot segment."""
    loaded: list[SamClip] = []

    def load_faulty() -> SamClip:
        loaded.append(SamClip(HeadsDiffer(tmp_path)))
        if len(loaded) == 2:
            engine = loaded[1]._engine
            first = Pass(engine, loaded[0].encode_image(sample_image())).head
            monkeypatch.setattr(engine, "head_of", lambda embedding, run: first)
            monkeypatch.setattr(loaded[1], "segment", lambda *args, **kwargs: 1 / 0)
        return loaded[-1]

    plan = plan_calls(60, seed=0)
    found = Counter(run_threads(load_faulty, plan, threads=2, seed=0))
    assert found["embed_image", "other"] > found["embed_image", "same"]
    assert found["embed_text", "other"] == 0
    assert {verb for verb, what in found if what == "failed"} == {"segment"}
    assert found["segment", "same"] == 0


def test_memory_that_grows_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[np.ndarray] = []

    def leak(model: SamClip, subject: Any) -> None:
        kept.append(np.ones(5_000_000))  # 40 MB, which no heap has left

    # Tests have so much in memory that looking for circles takes long.
    monkeypatch.setattr(memory_campaign, "gc", SimpleNamespace(collect=lambda: 0))
    model, _ = fake_client(tmp_path)
    asked = {"calls": 6, "warm_up": 2, "seed": 0}
    steady = list(sample_calls(model, "embed_text", **asked))
    monkeypatch.setitem(VERBS, "embed_text", leak)
    growing = list(sample_calls(model, "embed_text", **asked))
    assert len(steady) == len(growing) == 7
    assert growth(steady)["growth_mb"] < 10 < 120 < growth(growing)["growth_mb"]
    assert growth(growing)["slope_mb"] == pytest.approx(40, rel=0.3)


def test_a_long_run_is_sampled(tmp_path: Path) -> None:
    write_images(tmp_path / "images", 20, seed=0, size=(40, 30))
    model, _ = fake_client(tmp_path)

    def work(measured: Measuring) -> None:
        samples = sample_annotation(measured, model, tmp_path / "images", tmp_path / "out.json")
        assert [each.at for each in samples] == list(range(2, 21))
        measured.add("annotate", **growth(samples))

    # What an earlier test left open may be closed meanwhile.
    assert measure(work).value("annotate", "more_handles") <= 0
    assert len(json.loads((tmp_path / "out.json").read_bytes())["images"]) == 20


@pytest.mark.slow
def test_a_server_is_asked_and_sampled() -> None:
    samples = list(sample_server(TINY_BUNDLE, minutes=0.1, seed=0))
    assert samples[-1].rss_mb > 50
    assert growth(samples)["more_handles"] < 10


@pytest.mark.slow
def test_the_commands_keep_what_earlier_ones_found(tmp_path: Path) -> None:
    path = tmp_path / "reliability.jsonl"

    def reliability(*words: object) -> Part:
        return found_by(path, "reliability", *words)

    found = reliability("threads", "--size", 30, "--threads", 2)
    assert found.get("threads", "failed").n == 30
    reliability("memory", "--size", 5, "--verb", "embed_text", "--verb", "segment", "--warm-up", 1)
    reliability("memory", "--size", 6, "--verb", "embed_text", "--warm-up", 1, "--seed", 3)
    reliability("long-run", "--images", 4, "--minutes", 0)
    table = read_table(path)
    memory = [part for part in table.parts if "memory: " in part.subjects[0]]
    found = [(part.subjects, part.run.settings["size"]) for part in memory]
    assert found == [(["memory: segment"], 5), (["memory: embed_text"], 6)]
    shown = render("reliability", lambda _suite: table)
    for row in (
        "| 2 threads on one model, 30 calls | 0 answers other than alone, 0 errors | 0 answers,",
        "| 5 calls of each of 2 verbs | memory grows by 5 MB or less |",
        "| long run: annotate, 4 images | memory and file handles stay |",
    ):
        assert row in shown
    assert "kill -9" not in shown


def test_nothing_is_shown_that_was_not_measured() -> None:
    for name in PAGES["docs/reliability.md"].values():
        text = render(name, lambda _suite: Table())
        assert "|" not in text
        assert "ecorded yet" in text or "is recorded yet" in text


def test_faults_of_kills_are_told() -> None:
    def work(measured: Measuring) -> None:
        measured.settings["faults"] = ["after 4 kills: other: result"]
        figures = {"kills": 4, "early": 0, "restarts": 1, "whole": 0}
        measured.add("kills: export", alone_s=1.25, **figures)

    part = measure(work, suite="reliability")
    text = render("reliability_kills", lambda _suite: Table((part,)))
    assert "| export | 1.2 | 4 | 0 | 1 | 0 |" in text
    assert "\n* export: after 4 kills: other: result\n" in text
    assert "| 0 of 1 restarts |" in render("reliability", lambda _suite: Table((part,)))
