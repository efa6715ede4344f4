"""Annotation by the workers of a Ray cluster: each is an actor of Ray Data with its own model."""

from __future__ import annotations

import json
import logging
import os
import re
import socket
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from samclip_sdk.annotate.annotation_log import AnnotationSettings
from samclip_sdk.annotate.annotator import Annotator, annotate_images
from samclip_sdk.annotate.image_sources import IMAGES, SourceImage
from samclip_sdk.errors import ClusterError, ImageError, OptionError, SamClipError, one_line
from samclip_sdk.system.packages import import_runtime
from samclip_sdk.system.reading_ahead import READERS

HERE = "local"
"""The address of a cluster on this machine alone, which ends with the run."""

IMAGES_A_TASK = 16
"""The number of images that a worker gets at once, at most. Their answers come back together: so
many are lost with a worker, or done twice after a run was stopped."""

_OBJECT_STORE_BYTES = 200 * 2**20  # For a cluster that starts here; it holds names and answers.
_SECONDS = 5.0
_HOST_PORT = re.compile(r"(?P<host>[\w.-]+|\[[0-9a-fA-F:]+\]):(?P<port>\d{1,5})")


class RayWorkers:
    """Workers on a cluster. A context manager; give its `annotate` to `annotate_listing`.

    Every node needs this package in the same version, and the model and the images under the same
    paths or URLs. Answers come back to this process, which alone writes. If a node dies, Ray gives
    its images to other nodes.

    Args:
        open_annotator: called once in each worker; it must be picklable.
        settings: the settings of the annotator here; a worker with other settings is refused.
        workers: the number of workers.
        cpus: the CPUs that a worker uses: as many as its runtime has threads.
        gpus: the GPUs that a worker uses.
        readers: the reading threads of each worker; see `annotate_images`.
        address: HOST:PORT of a node of the cluster, "auto" for the cluster that this machine is in,
            or "local". The default is RAY_ADDRESS if it is set, else "local".

    Raises:
        RuntimeMissingError: Ray is missing.
        OptionError: the address is not valid, or `workers` is below 1.
    """

    def __init__(
        self,
        open_annotator: Callable[[], Annotator],
        *,
        settings: AnnotationSettings,
        workers: int,
        cpus: int = 1,
        gpus: int = 0,
        readers: int = READERS,
        address: str | None = None,
    ) -> None:
        if workers < 1:
            raise OptionError(f"workers={workers}: there must be 1 at least")
        self._address = check_address(address)
        self._open, self._settings, self._workers = open_annotator, settings, workers
        self._cpus, self._gpus, self._readers = cpus, gpus, readers
        self._ray = import_ray()
        self._joined = False

    def __enter__(self) -> RayWorkers:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leaves the cluster, and ends it if it was started here."""
        if self._joined:
            self._ray.shutdown()

    def join(self) -> None:
        """Joins the cluster, or starts one here; `annotate` does so when it has images.

        Raises:
            ClusterError: there is no cluster at the address, or it cannot be joined.
        """
        if not self._ray.is_initialized():
            self._connect()
            self._joined = True
        # Ray Data logs every step on standard error, and errors with their whole trace.
        logging.getLogger("ray.data").setLevel(logging.CRITICAL)

    def annotate(
        self, images: Sequence[SourceImage]
    ) -> Generator[tuple[SourceImage, dict[str, Any] | ImageError], None, None]:
        """Annotates images, each exactly once, in the order in which workers are done.

        Yields:
            Each image with its answer, or with the reason why it cannot be read.

        Raises:
            ClusterError: the cluster cannot be joined, a worker cannot be started or cannot open
                its model, or the cluster is lost; answers that came before stay valid.
        """
        waiting = dict(enumerate(images))
        if not waiting:
            return
        self.join()
        self._check_room()
        with _translated():
            for row in self._rows(images):
                # An answer comes twice if its worker was wrongly taken for dead.
                image = waiting.pop(row["index"], None)
                answer = json.loads(row["answer"])
                if isinstance(answer, dict) and "fault" in answer:
                    raise ClusterError(f"the worker on {answer['host']}: {answer['fault']}")
                if image is not None:
                    yield image, ImageError(answer) if isinstance(answer, str) else answer
        if waiting:
            raise ClusterError(
                f"{len(waiting)} of {len(images)} images came back from no worker: the same "
                "command goes on from there"
            )

    def _rows(self, images: Sequence[SourceImage]) -> Iterator[dict[str, Any]]:
        data = import_runtime("ray.data", extra="ray")
        data.DataContext.get_current().enable_progress_bars = False
        rows = [
            {"index": index, "image": IMAGES.dump_json(image).decode()}
            for index, image in enumerate(images)
        ]
        size = min(IMAGES_A_TASK, -(-len(rows) // (4 * self._workers)))
        tasks = -(-len(rows) // size)
        answers = data.from_items(rows, override_num_blocks=tasks)
        found: Iterator[dict[str, Any]] = answers.map_batches(
            _Worker,
            fn_constructor_args=(self._open, self._settings, self._readers),
            compute=data.ActorPoolStrategy(size=min(self._workers, tasks)),
            batch_size=None,
            num_cpus=self._cpus,
            num_gpus=self._gpus,
        ).iter_rows()
        return found

    def _connect(self) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        own = {}
        if self._address == HERE:
            own = {
                # Ray Data's own tasks need one more, however few cores there are.
                "num_cpus": max(self._workers * self._cpus + 1, os.cpu_count() or 1),
                "object_store_memory": _OBJECT_STORE_BYTES,
                "include_dashboard": False,
            }
        else:
            find_cluster(self._address)
        try:
            self._ray.init(self._address, log_to_driver=False, logging_level=logging.ERROR, **own)
        except Exception as error:  # Ray's own errors, and any that its start raises.
            raise ClusterError(
                f"the Ray cluster at {self._address} cannot be joined: {one_line(error)}"
            ) from error

    def _check_room(self) -> None:
        """Refuses a worker that fits on no node: Ray would wait for such a node for ever."""
        alive = [each["Resources"] for each in self._ray.nodes() if each["Alive"]]
        if not any(
            each.get("CPU", 0) >= self._cpus and each.get("GPU", 0) >= self._gpus for each in alive
        ):
            gpus = f" and {self._gpus} GPUs" if self._gpus else ""
            raise ClusterError(
                f"no node of the cluster has the {self._cpus} CPUs{gpus} that a worker takes"
            )


class _Worker:
    """One model with its labels, for all images that Ray sends to this worker.

    An error while the model opens is sent as an answer, because Ray turns an exception into a page.
    """

    def __init__(
        self, open_annotator: Callable[[], Annotator], settings: AnnotationSettings, readers: int
    ) -> None:
        self._readers = readers
        self._annotator: Annotator | None = None
        try:
            self._annotator = open_annotator()
            if self._annotator.settings != settings:
                raise ClusterError(
                    "its model, runtime or vocabulary is another one than on the machine that "
                    "asks: give every node the same"
                )
        except SamClipError as error:
            self._fault = str(error)
            self._annotator = None

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        if self._annotator is None:
            fault = {"host": socket.gethostname(), "fault": self._fault}
            return {"index": batch["index"], "answer": [json.dumps(fault)] * len(batch["index"])}
        images = [IMAGES.validate_json(each) for each in batch["image"]]
        answers = [
            json.dumps(str(answer) if isinstance(answer, ImageError) else answer)
            for _, answer in annotate_images(self._annotator, images, readers=self._readers)
        ]
        return {"index": batch["index"], "answer": answers}


def import_ray() -> Any:
    """Imports Ray.

    Raises:
        RuntimeMissingError: Ray, or a package that Ray Data needs, is not installed.
    """
    import_runtime("ray.data", extra="ray")
    return import_runtime("ray", extra="ray")


def check_address(address: str | None) -> str:
    """The address of the cluster: the given one, else that of RAY_ADDRESS, else "local".

    Raises:
        OptionError: it is no address of a cluster.
    """
    found = address or os.environ.get("RAY_ADDRESS") or HERE
    if found not in (HERE, "auto") and not _HOST_PORT.fullmatch(found):
        raise OptionError(
            f"{one_line(found)} is not the address of a Ray cluster: give HOST:PORT of its head, "
            "on a machine of the cluster, or auto, or local"
        )
    return found


def find_cluster(address: str) -> None:
    """Refuses an address where nothing listens, at once: Ray itself would try for a minute.

    Raises:
        ClusterError: nothing listens there.
    """
    parts = _HOST_PORT.fullmatch(address)
    if parts is None:
        return
    try:
        host, port = parts["host"].strip("[]"), int(parts["port"])
        socket.create_connection((host, port), timeout=_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise ClusterError(
            f"no Ray cluster answers at {address} ({one_line(error)}): start one there with `ray "
            "start --head --port=PORT`, or leave the address out to use this machine"
        ) from error


@contextmanager
def _translated() -> Iterator[None]:
    """Turns errors of Ray into a ClusterError of one line."""
    errors = import_runtime("ray.exceptions", extra="ray")
    try:
        yield
    except errors.RayError as error:
        last = str(error).strip().splitlines()[-1:] or [type(error).__name__]
        raise ClusterError(
            f"the workers failed ({one_line(last[0])}): the same command goes on from there"
        ) from error
