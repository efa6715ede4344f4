"""What a server may be told: which model it opens, and how much one request may ask for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

from samclip_sdk.errors import OptionError


@dataclass(frozen=True)
class ModelChoice:
    """What each worker opens; see `SamClip.load`.

    Attributes:
        model: a bundle's folder, .zip or name, or a checkpoint folder.
        runtime: its name, or "auto".
        precision: None is the bundle's own choice.
        device: None is the runtime's own.
        providers: onnxruntime's, instead of a device.
        compute_units: Core ML's.
        threads: how many threads a worker's runtime uses; 0 leaves it to the runtime.
        cores: how many cores a worker may take where `threads` is 0 and its runtime takes a number
            of threads; 0 stands for all.
        text_cache: whether embeddings of labels are kept in the user's cache folder.
        public_key: path of the Ed25519 key that must have signed the bundle; any will do if None.
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


@dataclass(frozen=True)
class Limits:
    """How much a request may ask for, how many may wait, and what is kept for later ones.

    Attributes:
        body_mb: of a request, as it is sent; 10^6 bytes each.
        question_kb: of the JSON of a request, without the pictures in it; 10^3 bytes each.
        megapixels: of a picture, looked at before it is decoded.
        images: pictures of a request.
        labels: of a request.
        letters: of a label.
        prompts: boxes and points of a request, all together.
        points_per_side: its square bounds the points of `/v1/everything`, those of tiles too.
        queue: requests in progress, and pictures that wait for a worker; more are answered 429.
        pictures_mb: of uploaded pictures that the front process keeps for their ids.
        embeddings_mb: of encoded pictures that each worker keeps.
        body_s: a request that has not arrived whole after so many seconds is answered 408.
        answer_s: a request that takes longer is answered 503, and a worker that says nothing for so
            long is taken for lost.
        stop_s: how long requests may still be answered after SIGTERM.

    Raises:
        OptionError: a limit below 1, or a picture that could be sent but not kept.
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
    pictures_mb: int = 256
    embeddings_mb: int = 256
    body_s: int = 30
    answer_s: int = 120
    stop_s: int = 30

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if value < 1:
                raise OptionError(f"{each.name} is {value}; it must be 1 or more")
        for held, least in (("pictures_mb", "body_mb"), ("queue", "images")):
            if getattr(self, held) < getattr(self, least):
                raise OptionError(
                    f"{held} is {getattr(self, held)}; it must be {least} or more, which is "
                    f"{getattr(self, least)}"
                )
