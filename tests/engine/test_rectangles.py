"""A convolutional model sees an image without the padding to a square, where its graphs allow."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from samclip_sdk.bundle.contract import contract_graphs
from samclip_sdk.engine.classify import embed_image
from samclip_sdk.engine.engine import Engine
from samclip_sdk.engine.one_pass import Pass
from samclip_sdk.engine.point_grid import encode_grid
from samclip_sdk.engine.rectangles import covered_pixels, restore_masks, restore_patches
from samclip_sdk.errors import EmbeddingMismatchError
from samclip_sdk.image.frame import Frame
from samclip_sdk.image.image_prompts import image_prompts
from samclip_sdk.image.model_prompts import text_prompts
from samclip_sdk.modeling.build import build_model
from samclip_sdk.modeling.checkpoint import save_checkpoint
from samclip_sdk.results.image_embedding import ImageEmbedding
from samclip_sdk.runtimes.torch.session import Checkpoint, TorchSession
from tests.refusals import refused
from tests.tiny_config import PYRAMID_STUDENT

S, STEP, GRID = 64, 32, 4
RNG = np.random.default_rng(0)
WIDE = RNG.integers(0, 256, size=(30, 90, 3)).astype(np.uint8)
MASK = RNG.normal(size=(1, 4 * GRID, 4 * GRID)).astype(np.float32)
SQUARE = RNG.integers(0, 256, size=(50, 50, 3)).astype(np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pyramid")
    save_checkpoint(build_model(PYRAMID_STUDENT, seed=1), folder, provenance={})
    return folder


class Squares(Checkpoint):
    """A runtime whose graphs have one size."""

    def session(self, graph: str) -> TorchSession:
        session = super().session(graph)
        spec = contract_graphs(self.manifest.model, resolutions=[S])[graph]
        session.inputs, session.outputs = spec.inputs, spec.outputs
        return session


class SquarePrompts(Checkpoint):
    """A runtime whose prompt encoder has one size."""

    def session(self, graph: str) -> TorchSession:
        session = super().session(graph)
        if graph == "prompt_encoder":
            session.inputs = contract_graphs(self.manifest.model, resolutions=[S])[graph].inputs
        return session


def masks(one: Pass) -> tuple[np.ndarray, np.ndarray]:
    prompts = image_prompts([[10, 10], [25, 20]], point_labels=[1, 0])
    asked = prompts.in_model(one.frame, mask_side=4 * GRID)
    return one.decode(asked, tokens=slice(None))


def test_the_padding_is_left_out_and_answers_are_whole(folder: Path) -> None:
    engine = Engine(Checkpoint(folder))
    one = Pass(engine, WIDE)
    wide, head = one.embedding, one.head
    assert wide.image_tokens.shape[2:] == wide.image_embeddings.shape[2:] == (2, 4)
    assert head.patch_embeddings.shape == (1, GRID * GRID, 16)
    assert not head.patch_embeddings[:, 2 * GRID :].any()
    low_res, scores = masks(one)
    assert low_res.shape == (1, 4, 4 * GRID, 4 * GRID)
    assert scores.shape == (1, 4)
    assert (low_res[:, :, 8:] == low_res[:, :, 7:8]).all()
    asked = text_prompts([np.ones((1, 2), np.float32)], corners=None, mask_input=MASK)
    by_mask, _ = one.decode(asked, tokens=slice(1))
    squares, _ = Pass(Engine(SquarePrompts(folder)), wide).decode(asked, tokens=slice(1))
    np.testing.assert_allclose(by_mask, squares, atol=1e-5)
    tall = Pass(engine, WIDE.transpose(1, 0, 2).copy())
    assert tall.embedding.cells == (4, 2)
    assert masks(tall)[0].shape == low_res.shape
    found, _ = encode_grid(one, points_per_side=2).decode(one, np.arange(3))
    assert found.shape == (3, 3, 4 * GRID, 4 * GRID)


def test_squares_are_as_they_were(folder: Path) -> None:
    engine, squares = Engine(Checkpoint(folder)), Engine(Squares(folder))
    for image, whole in ((SQUARE, False), (WIDE, True)):
        found, wanted = Pass(engine, image, whole_square=whole), Pass(squares, image)
        assert found.embedding.cells == wanted.embedding.cells == (GRID, GRID)
        for ours, theirs in zip(masks(found), masks(wanted), strict=True):
            np.testing.assert_array_equal(ours, theirs, strict=True)
        np.testing.assert_array_equal(embed_image(found), embed_image(wanted))


def test_what_needs_squares_refuses_a_rectangle(folder: Path, tmp_path: Path) -> None:
    engine, squares = Engine(Checkpoint(folder)), Engine(Squares(folder))
    Pass(engine, WIDE).embedding.save(tmp_path / "wide.npz")
    wide = ImageEmbedding.load(tmp_path / "wide.npz")
    assert masks(Pass(engine, wide))[0].any()
    for ask in (lambda: masks(Pass(squares, wide)), lambda: Pass(squares, wide).head):
        refused(ask, EmbeddingMismatchError, "2 x 4 cells")
    assert masks(Pass(engine, Pass(squares, WIDE).embedding))[0].any()  # the padding does no harm


@given(st.integers(1, 3000), st.integers(1, 3000))
def test_whole_steps_hold_the_image_and_no_more(height: int, width: int) -> None:
    frame = Frame.fit(height, width, resolution=S)
    sides = covered_pixels(frame, step=STEP)
    for covered, filled in zip(
        sides, (frame.resized_height_px, frame.resized_width_px), strict=True
    ):
        assert covered % STEP == 0
        assert filled <= covered < filled + STEP
    assert max(sides) == S


def test_what_is_restored_lies_where_it_was() -> None:
    patches = np.arange(1, 7, dtype=np.float32).reshape(1, 6, 1)
    square = restore_patches(patches, cells=(2, 3), grid=3)
    assert square[0, :, 0].tolist() == [1, 2, 3, 4, 5, 6, 0, 0, 0]
    low_res = np.arange(4, dtype=np.float32).reshape(1, 1, 2, 2)
    assert restore_masks(low_res, side=2) is low_res
    assert restore_masks(low_res, side=3)[0, 0].tolist() == [[0, 1, 1], [2, 3, 3], [2, 3, 3]]
