"""`python -m benchmarks words`: what a model reads everyday words as, by the list of this room."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.figures import NONE
from benchmarks.suite import Measuring, ModelName, Runtime, Seed
from benchmarks.words.absent import add_absent, without_table
from benchmarks.words.commonest import count_kinds, draw_sample, find_common, sample_line
from benchmarks.words.everyday import (
    BEFORE,
    COMMON_BEFORE,
    HALVES,
    LIST,
    EverydayWord,
    of_halves,
    read_before,
    read_everyday,
)
from benchmarks.words.faults import Share, count, faults_of
from samclip_sdk import SamClip
from samclip_sdk.bundle.open import DEFAULT_MODEL
from samclip_sdk.text.word_table import Reading
from training.text.wordnet import WORDNET

MODEL = "model"

Halves = Enum("Halves", {each: each for each in (*HALVES, "both")}, type=str)


def words_suite(options: Mapping[str, Any]) -> str:
    """The table's name; raises ValueError for what may not be told or published."""
    half, aside = str(options["half"].value), options["aside"]
    if options["write"] and (half != "both" or options["judged"] != LIST):
        raise ValueError(
            f"--write publishes the whole list, not --half {half}: leave --half and --judged out"
        )
    if options["listed"] and half == "aside" and not aside:
        raise ValueError(
            "--list would name words that are set aside from whoever makes a table of words: "
            "say --aside too"
        )
    return "words"


@dataclass(frozen=True)
class ListOptions:
    """Which words are counted, and which of them are named."""

    judged: Annotated[
        Path, typer.Option(help="the words with their judgements: fresh.json, or a list of yours")
    ] = LIST
    half: Annotated[Halves, typer.Option(help="which words are counted")] = Halves.both
    listed: Annotated[
        bool, typer.Option("--list", help="name words whose readers disagree, or with a fault")
    ] = False
    aside: Annotated[bool, typer.Option("--aside", help="name words of the half set aside too")] = (
        False
    )

    @property
    def halves(self) -> Sequence[str]:
        """The halves that are counted."""
        return HALVES if self.half is Halves.both else [self.half.value]


@dataclass(frozen=True)
class CommonOptions:
    """The commonest nouns."""

    common: Annotated[
        bool, typer.Option("--common", help="count the 2,000 commonest nouns too")
    ] = False
    sample: Annotated[
        int | None, typer.Option(min=1, help="print so many of these to be judged, and stop")
    ] = None
    wordnet: Annotated[Path, typer.Option(help="WordNet's folder")] = WORDNET


def words(
    measured: Measuring,
    model: ModelName = DEFAULT_MODEL,
    runtime: Runtime = "onnx",
    *,
    chosen: ListOptions,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON lines")] = False,
    commonest: CommonOptions,
    held_out_sets: Annotated[
        Path | None, typer.Option(help="sets that benchmarks quality takes: ask absent compounds")
    ] = None,
    seed: Seed = 0,
) -> None:
    """Counts what everyday words are read as, and what is wrong with it, as two readers judge.

    Of the half that is set aside totals are told, and no word without --aside.
    """
    samclip = measured.of(SamClip.load(runtime, model=model))
    every, published = read_everyday(chosen.judged), chosen.judged == LIST
    if commonest.sample is not None:
        hidden = () if chosen.aside else every
        _print_sample(samclip, commonest.wordnet, size=commonest.sample, seed=seed, hidden=hidden)
        raise typer.Exit
    counted, readings = of_halves(every, chosen.halves), read_before()
    if published:
        add_counts(measured, BEFORE, counted, readings, taught=taught_before(readings))
    if has_table(samclip):
        readings = read_all(samclip, [each.word for each in counted])
        add_counts(measured, MODEL, counted, readings, taught=samclip.words)
        if commonest.common:
            add_common(measured, samclip, wordnet=commonest.wordnet)
        if held_out_sets is not None:
            before = without_table(samclip)
            add_absent(measured, samclip, before, counted, root=held_out_sets, seed=seed)
    else:
        measured.tell(f"{samclip.manifest.name} has no table of words: counted is {BEFORE} alone")
    if chosen.listed:
        named = counted if chosen.aside else of_halves(counted, ["seen"])
        _print_rows(list_words(named, readings, taught=samclip.words), as_json=as_json)
    if as_json or not published:
        measured.shows = ["words_json" if as_json else "words_judged"]


def _print_sample(
    samclip: SamClip, wordnet: Path, *, size: int, seed: int, hidden: Sequence[EverydayWord]
) -> None:
    """Prints common nouns drawn by seed, none of them set aside, and what they are read as."""
    without = {each.word for each in of_halves(hidden, ["aside"])}
    drawn = draw_sample(find_common(wordnet), size=size, seed=seed, without=without)
    _print_lines(sample_line(*each) for each in read_all(samclip, drawn).items())


def has_table(samclip: SamClip) -> bool:
    """Whether a model tells what it reads labels as that it was not taught."""
    return samclip.source.words_path is not None


def read_all(samclip: SamClip, words: Sequence[str]) -> dict[str, Reading]:
    """What a model reads words as; raises ValueError if it does not tell."""
    if not has_table(samclip):
        raise ValueError(f"{samclip.manifest.name} has no table of words, and reads none")
    return samclip.read_labels(words)


def taught_before(readings: Mapping[str, Reading]) -> frozenset[str]:
    """The words of the list that the model of `BEFORE` was taught."""
    return frozenset(word for word, each in readings.items() if each.kind == "taught")


def add_counts(
    measured: Measuring,
    subject: str,
    words: Sequence[EverydayWord],
    readings: Mapping[str, Reading],
    *,
    taught: Collection[str],
) -> None:
    """Counts the readings of each half and kind of word."""
    for half in HALVES:
        own = of_halves(words, [half])
        for kind in ("noun", "compound"):
            of_kind = [each for each in own if each.kind == kind]
            if of_kind:
                shares = count(of_kind, readings, taught=taught)
                _add_shares(measured, subject, f"{half}, {kind}", shares)


def add_common(measured: Measuring, samclip: SamClip, *, wordnet: Path) -> None:
    """Counts what the commonest nouns are read as, and were before."""
    before = {kind: Share(own, sum(COMMON_BEFORE.values())) for kind, own in COMMON_BEFORE.items()}
    _add_shares(measured, f"common, {BEFORE}", "", before)
    found = count_kinds(read_all(samclip, find_common(wordnet)))
    _add_shares(measured, "common", "", found)


def list_words(
    words: Sequence[EverydayWord], readings: Mapping[str, Reading], *, taught: Collection[str]
) -> list[dict[str, Any]]:
    """The words whose readers disagree, and those whose reading has a fault."""
    rows = []
    for each in words:
        reading = readings[each.word]
        faults = faults_of(each, reading, taught=taught)
        if faults or each.differ:
            own = each.model_dump(exclude_defaults=True, mode="json")
            told = {"readers_differ": each.differ, "faults": faults}
            rows.append({**own, "reading": reading.to_dict(), **told})
    return rows


def _add_shares(measured: Measuring, subject: str, split: str, shares: Mapping[str, Share]) -> None:
    for metric, share in shares.items():
        measured.add(subject, split, n=share.of, **{metric: share.count})


def _print_lines(rows: Iterable[Mapping[str, Any]]) -> None:
    for row in rows:
        typer.echo(json.dumps(row, ensure_ascii=False))


def _print_rows(rows: Sequence[Mapping[str, Any]], *, as_json: bool) -> None:
    """A line a word: how it is read, what is wrong with that, and what each reader lists."""
    if as_json:
        _print_lines(rows)
    for row in () if as_json else rows:
        reading = row["reading"]
        faults = [*row["faults"], *(["readers differ"] if row["readers_differ"] else [])]
        said = [
            f"same {', '.join(each.get('same', ())) or NONE}, "
            f"acceptable {', '.join(each.get('acceptable', ())) or NONE}"
            for each in row["readers"]
        ]
        typer.echo(
            f"{row['word']} ({row['half']}, {row['kind']}): {reading['kind']} "
            f"{', '.join(reading['words'])}; {', '.join(faults)}; {'; '.join(said)}"
        )
