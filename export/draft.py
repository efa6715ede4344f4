"""What the writers of all kinds of artifacts of a new bundle share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from export.graphs import Graph
from export.options import WeightPrecision
from export.parity import BOUNDS, STORAGE_BOUNDS, check_parity
from export.probes import Probe
from export.steps import Steps
from samclip_sdk.bundle.graph_spec import Parity, Pin, Precision
from samclip_sdk.errors import VerificationError
from samclip_sdk.runtimes.session import Session


@dataclass(frozen=True)
class Draft:
    """The data of a new bundle that the writers of all kinds of artifacts share.

    Attributes:
        folder: the bundle's folder.
        probes: graph -> probes, by which its artifacts are checked.
        plan: graph -> the operations that stay in fp32 if the others are in fp16.
        random_weights: if True, only numeric gates are checked.
        steps: told each step as it begins.
    """

    folder: Path
    probes: Mapping[str, Sequence[Probe]]
    plan: Mapping[str, Sequence[Pin]]
    random_weights: bool
    steps: Steps

    def check(
        self,
        session: Session,
        *,
        graph: Graph,
        precision: Precision,
        kind: str,
        runs_on: str,
        weights: WeightPrecision = "fp32",
        probes: Sequence[Probe] | None = None,
    ) -> Parity:
        """Compares an artifact with eager torch, and closes its session.

        Args:
            session: the artifact's session.
            graph: the graph that it was made from.
            precision: the artifact's precision; decides the bounds, together with `weights`.
            kind: the name of the artifact's format, for messages.
            runs_on: the runtime and device of the session, for the record.
            weights: what an artifact in fp32 stores its weights in.
            probes: inputs and eager torch's outputs; by default the draft's own.

        Raises:
            VerificationError: the artifact does not run, or its outputs differ too much.
        """
        try:
            return check_parity(
                session,
                graph=graph,
                probes=self.probes[graph.name] if probes is None else probes,
                bounds=BOUNDS.get(precision, STORAGE_BOUNDS[weights]),
                random_weights=self.random_weights,
                runs_on=runs_on,
            )
        except VerificationError as error:
            raise VerificationError(f"{kind} {precision}: {error}") from error
        finally:
            session.close()
