"""One number for a build, from phases that nest: the numbers are worked out by hand."""

from __future__ import annotations

from samclip_sdk.runtimes.tensorrt.progress import BuildProgress


def test_a_phase_counts_for_the_step_of_its_parent() -> None:
    progress = BuildProgress()
    assert progress.percent == 0
    progress.start("build", parent=None, steps=4)
    progress.reach("build", done=1)
    assert progress.percent == 25
    progress.start("optimize", parent="build", steps=2)
    progress.reach("optimize", done=1)
    assert progress.percent == 37  # 1/4 + 1/2 of 1/4
    progress.start("time", parent="optimize", steps=10)
    progress.reach("time", done=6)
    assert progress.percent == 45  # 1/4 + (1/2 + 6/10 of 1/2) of 1/4
    progress.finish("time")
    progress.reach("optimize", done=2)
    assert progress.percent == 50
    progress.finish("optimize")
    progress.reach("build", done=4)
    progress.finish("build")
    assert progress.percent == 100


def test_it_only_grows() -> None:
    progress = BuildProgress()
    progress.start("build", parent=None, steps=2)
    progress.start("first", parent="build", steps=2)
    progress.reach("first", done=2)
    assert progress.percent == 50
    progress.finish("first")  # and its parent's step is not done: a second phase belongs to it
    progress.start("second", parent="build", steps=2)
    assert progress.percent == 50
    progress.reach("second", done=1)
    assert progress.percent == 50
    progress.finish("build")  # steps that were left out are done
    assert progress.percent == 100
