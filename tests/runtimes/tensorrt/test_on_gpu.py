"""TensorRT on a real GPU, where `-m gpu` is given; the contract is in test_sessions.py."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from samclip_sdk.bundle.open import open_bundle
from samclip_sdk.client import SamClip
from samclip_sdk.runtimes.onnx.session import OrtSession
from samclip_sdk.runtimes.tensorrt.cuda import CudaRuntime, import_cudart
from samclip_sdk.runtimes.tensorrt.memory import DeviceMemory
from samclip_sdk.runtimes.tensorrt.session import TrtSession, open_trt_session
from tests.drawings import TINY_BUNDLE
from tests.graph_feeds import draw_feed
from tests.runtimes.test_sessions import check, feed, open_on_gpu


class GpuSource:
    """The trained bundle on the real GPU, its engines in a folder of their own."""

    def __init__(self, cache: Path) -> None:
        self.bundle = open_bundle(TINY_BUNDLE)
        self.id, self.manifest = self.bundle.id, self.bundle.manifest
        self.tokenizer_path = self.bundle.file("tokenizer.json")
        self.nouns_path: Path | None = None
        self.words_path: Path | None = None
        self.memory = DeviceMemory(CudaRuntime(import_cudart()))
        self._cache = cache

    def session(self, graph: str) -> TrtSession:
        spec = self.manifest.graphs[graph]
        return open_trt_session(
            self.bundle.graph_files(graph, runtime="onnx")[0],
            spec=spec,
            memory=self.memory,
            cache=self._cache,
        )


@pytest.fixture(scope="module")
def gpu_source(tmp_path_factory: pytest.TempPathFactory) -> GpuSource:
    return GpuSource(tmp_path_factory.mktemp("engines"))


@pytest.mark.gpu
class TestOnGpu:
    @pytest.mark.parametrize(("count", "points"), [(1, 1), (3, 2), (20, 16)])
    @pytest.mark.parametrize("graph", sorted(open_bundle(TINY_BUNDLE).manifest.graphs))
    def test_computes_what_onnxruntime_computes(
        self, gpu_source: GpuSource, graph: str, count: int, points: int
    ) -> None:
        spec = gpu_source.manifest.graphs[graph]
        file = gpu_source.bundle.graph_files(graph, runtime="onnx")[0]
        lengths = {"num_texts": count, "num_prompts": count, "num_points": points}
        given = draw_feed(spec.inputs, seed=count, side_px=200, **lengths)
        wanted = OrtSession(file, spec=spec).run(given)
        session = gpu_source.session(graph)
        found = session.run(given)
        session.close()
        for name, array in wanted.items():
            scale = np.abs(array).max()
            np.testing.assert_allclose(found[name] / scale, array / scale, atol=2e-4)

    def test_answers_what_onnxruntime_answers(self, gpu_source: GpuSource) -> None:
        model, plain = SamClip(gpu_source), SamClip.load("onnx")
        photo = np.random.default_rng(0).integers(0, 256, size=(90, 120, 3)).astype(np.uint8)
        image, other = model.encode_image(photo), plain.encode_image(photo)
        box = [[10, 10, 60, 70]]
        found, wanted = model.segment(image, boxes=box), plain.segment(other, boxes=box)
        assert (found.masks == wanted.masks).mean() > 0.99
        np.testing.assert_allclose(
            model.classify(image, ["dog", "cat"]).probs,
            plain.classify(other, ["dog", "cat"]).probs,
            atol=1e-3,
        )
        model.close()

    def test_an_engine_that_tensorrt_refuses_is_built_again(self, tmp_path: Path) -> None:
        open_on_gpu(tmp_path).close()
        (path,) = (tmp_path / "cache").glob("*.engine")
        header = json.loads(path.read_bytes().partition(b"\n")[0])
        junk = b"an engine of another version"
        header["content_sha256"] = hashlib.sha256(junk).hexdigest()
        path.write_bytes(json.dumps(header, sort_keys=True).encode() + b"\n" + junk)
        session = open_on_gpu(tmp_path)
        check(session, feed())
        session.close()
        assert path.stat().st_size > 1000
