"""`samclip tune`: finds the fastest runtime again; `samclip info` shows the choice too."""

from __future__ import annotations

from samclip_sdk.bundle.hub.opening import open_named_bundle
from samclip_sdk.bundle.open import Bundle
from samclip_sdk.cli.options import AsJson, ModelOptions, grouped
from samclip_sdk.cli.terminal import print_json, print_line, print_table, working
from samclip_sdk.device.auto import choose_again, find_candidates, remembered
from samclip_sdk.device.auto_records import AUTO, Selection, Trial
from samclip_sdk.errors import SamClipError
from samclip_sdk.runtimes.options import DEFAULT_OPTIONS


@grouped
def tune(*, opened: ModelOptions, as_json: AsJson = False) -> None:
    """Try all runtimes of a bundle, and remember the fastest for loading with the same options."""
    with working("opening") as display:
        selection = choose_again(
            open_named_bundle(opened.model, public_key=opened.key, on_progress=display.show),
            runtime=opened.runtime,
            precision=opened.precision,
            options=opened.run.for_runtime(display),
        )
    if as_json:
        print_json(selection.model_dump_json())
    else:
        print_selection(selection)


def print_selection(selection: Selection) -> None:
    """Prints the trials and the choice."""
    chosen = (selection.runtime, selection.precision)
    rows = [
        (
            trial.name,
            "" if trial.median_ms is None else f"{trial.median_ms:.1f} ms",
            "" if trial.ratio is None else f"{trial.ratio.median:.2f}",
            _worst(trial),
            trial.refused or ("chosen" if (trial.runtime, trial.precision) == chosen else ""),
        )
        for trial in selection.trials
    ]
    print_table(("runtime", "a pass", "of the first's", "goldens: worst error / bound", ""), rows)
    print_line(f"chosen on {selection.date}: {selection.reason}")


def auto_choice(bundle: Bundle) -> Selection | str:
    """The remembered choice of "auto" for a bundle, or a sentence on what "auto" will do."""
    try:
        candidates = find_candidates(bundle, runtime=AUTO, precision=None, options=DEFAULT_OPTIONS)
    except SamClipError as error:
        return str(error)
    if len(candidates) == 1:
        return f"auto runs {bundle.manifest.name} on {candidates[0]}: nothing else is installed"
    known = remembered(bundle, runtime=AUTO, precision=None, options=DEFAULT_OPTIONS)
    names = ", ".join(map(str, candidates))
    return known or f"auto will try {names} at the first load; `samclip tune` does it now"


def print_auto_choice(choice: Selection | str) -> None:
    """Prints the answer of `auto_choice`."""
    if isinstance(choice, str):
        print_line(choice)
    else:
        print_selection(choice)


def _worst(trial: Trial) -> str:
    """The largest error of a golden, as a share of its bound."""
    if not trial.goldens:
        return ""
    shares = [
        float("inf") if each.error is None else each.error / max(each.bound, 1e-12)
        for each in trial.goldens
    ]
    return f"{max(shares):.3f}"
