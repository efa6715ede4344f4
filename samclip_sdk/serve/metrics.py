"""Metrics for Prometheus, at /metrics."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
    """The metrics of one server, in a registry of their own.

    Attributes:
        requests: the number of requests, by route and status.
        seconds: the time of requests, by route.
        images: the number of batches, by whether their image was encoded before.
        together: the number of questions in a batch.
        in_progress: the number of requests that are being read or answered.
    """

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "samclip_requests",
            "Requests that were answered",
            ["route", "status"],
            registry=self._registry,
        )
        self.seconds = Histogram(
            "samclip_request_seconds",
            "From the first byte of a request to the last of its answer",
            ["route"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self.images = Counter(
            "samclip_images",
            "Batches of questions about an image, by whether it had been encoded before",
            ["encoded"],
            registry=self._registry,
        )
        self.together = Histogram(
            "samclip_batch_questions",
            "Questions about an image that were answered together",
            buckets=(1, 2, 4, 8, 16, 32),
            registry=self._registry,
        )
        self.in_progress = self._gauge(
            "samclip_requests_in_progress", "Requests read or answered now"
        )
        self._waiting = self._gauge("samclip_waiting_images", "Images that no worker has yet")
        self._ready = self._gauge("samclip_workers_ready", "Workers whose model is open")
        self._restarts = self._gauge("samclip_worker_restarts", "Workers that have died so far")
        self._stored = self._gauge("samclip_stored_image_bytes", "Uploaded images that are kept")

    def note_batch(self, jobs: int, seconds: float, cached: bool) -> None:
        """Counts a batch that a worker has finished."""
        self.together.observe(jobs)
        self.images.labels("before" if cached else "now").inc()

    def read(self, *, waiting: int, ready: int, restarts: int, stored_bytes: int) -> bytes:
        """All metrics in the text format of Prometheus, with the given current values."""
        self._waiting.set(waiting)
        self._ready.set(ready)
        self._restarts.set(restarts)
        self._stored.set(stored_bytes)
        return generate_latest(self._registry)

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(name, text, registry=self._registry)
