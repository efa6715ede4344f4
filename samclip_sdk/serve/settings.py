"""Settings of a server: the model that it opens, and the limits of requests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

from samclip_sdk.errors import OptionError

MAX_ASKED: Mapping[str, int] = {"points_per_class": 15, "max_instances": 1000}
"""What a request may ask at most, where the verb takes any number: it costs time and memory."""


@dataclass(frozen=True)
class ModelChoice:
    """The model that each worker opens; see `SamClip.load`.

    Attributes:
        model: a bundle's folder, .zip or name, or a checkpoint folder.
        runtime: the name of a runtime, or "auto".
        precision: the precision; None leaves it to the bundle.
        device: the device; None leaves it to the runtime.
        providers: execution providers of onnxruntime, instead of a device.
        compute_units: the compute units of Core ML.
        threads: how many threads a worker's runtime uses; 0 leaves it to the runtime.
        cores: how many cores a worker may take where `threads` is 0 and its runtime takes a number
            of threads; 0 stands for all.
        text_cache: whether embeddings of labels are kept in the user's cache folder.
        public_key: the path of an Ed25519 public key; a bundle that is not signed with it is
            refused. None takes any bundle.
        vocabulary: the path of a vocabulary pack, whose labels need no text encoder.
    """

    model: str
    runtime: str = "auto"
    precision: str | None = None
    device: str | None = None
    providers: Sequence[str] = ()
    compute_units: str = "all"
    threads: int = 0
    cores: int = 0
    text_cache: bool = True
    public_key: str | None = None
    vocabulary: str | None = None


@dataclass(frozen=True)
class Limits:
    """The limits of a server: of one request, of those that wait, and of the memory for images.

    Attributes:
        body_mb: the size of a body as it is sent, in 10^6 bytes.
        question_kb: the size of a request's JSON without its images, in 10^3 bytes.
        megapixels: the size of an image; it is checked before the image is decoded.
        images: the number of images of a request.
        labels: the number of labels of a request.
        letters: the length of a label.
        prompts: the number of boxes and points of a request, together.
        points_per_side: its square bounds the points of `/v1/everything`, those of tiles included.
        queue: the number of requests in progress, and of images that wait for a worker; more are
            answered 429.
        images_mb: the memory for uploaded images in the front process, in 10^6 bytes.
        embeddings_mb: the memory for encoded images in each worker, in 10^6 bytes.
        body_s: the seconds in which a body must arrive; a slower one is answered 408.
        answer_s: the seconds in which a request must be answered, else the answer is 503; a worker
            that is silent for so long is taken for dead.
        stop_s: the seconds that requests in progress may take after SIGTERM.

    Raises:
        OptionError: a limit is below 1, or an image could be sent but not kept.
    """

    body_mb: int = 20
    question_kb: int = 256
    megapixels: int = 50
    images: int = 16
    labels: int = 256
    letters: int = 256
    prompts: int = 256
    points_per_side: int = 64
    queue: int = 64
    images_mb: int = 256
    embeddings_mb: int = 256
    body_s: int = 30
    answer_s: int = 120
    stop_s: int = 30

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if value < 1:
                raise OptionError(f"{each.name} is {value}; it must be 1 or more")
        for held, minimum in (("images_mb", "body_mb"), ("queue", "images")):
            if getattr(self, held) < getattr(self, minimum):
                raise OptionError(
                    f"{held} is {getattr(self, held)}; it must be {minimum} or more, which is "
                    f"{getattr(self, minimum)}"
                )
