from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from samclip_sdk import SamClip
from samclip_sdk.device.verify import verify_bundle
from samclip_sdk.text.stored_labels import StoredLabels, text_cache_folder
from tests.fake_source import sample_image

IMAGE = sample_image()


def embedding(value: float, *, size: int = 8) -> np.ndarray:
    return np.full(size, value, dtype=np.float32)


class TestStoredLabels:
    def test_gives_back_what_was_put(self, tmp_path: Path) -> None:
        expected = np.random.default_rng(0).normal(size=24).astype(np.float32)
        StoredLabels(["model"], folder=tmp_path / "new").put("犬", expected)
        stored = StoredLabels(["model"], folder=tmp_path / "new")
        found = stored.get("犬")
        assert found is not None
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, expected)
        assert stored.get("dog") is None

    @pytest.mark.parametrize("other", [["other"], ["model", "onnx"], ["mode", "l"], []])
    def test_what_another_model_made_is_not_found(self, tmp_path: Path, other: list[str]) -> None:
        StoredLabels(["model"], folder=tmp_path).put("dog", embedding(1))
        assert StoredLabels(other, folder=tmp_path).get("dog") is None

    @pytest.mark.parametrize("damage", ["flip", "cut", "longer", "empty", "renamed"])
    def test_damage_is_ignored_and_written_over(self, tmp_path: Path, damage: str) -> None:
        stored = StoredLabels(["model"], folder=tmp_path)
        stored.put("dog", embedding(1))
        (path,) = tmp_path.iterdir()
        content = path.read_bytes()
        if damage == "renamed":  # another label's file, whole in itself
            path.unlink()
            stored.put("cat", embedding(2))
            (other,) = tmp_path.iterdir()
            other.rename(path)
        else:
            path.write_bytes(
                {
                    "flip": content[:-1] + bytes([content[-1] ^ 1]),
                    "cut": content[:-4],
                    "longer": content + bytes(4),
                    "empty": b"",
                }[damage]
            )
        assert stored.get("dog") is None
        stored.put("dog", embedding(3))
        np.testing.assert_array_equal(stored.get("dog"), embedding(3))

    @pytest.mark.parametrize("clock_s", [1, 2**32])
    def test_its_size_is_bounded(self, tmp_path: Path, clock_s: int) -> None:
        """What was asked for last is kept; a process sweeps at its first write.

        Also if a board without a battery woke in another century.
        """
        many = StoredLabels(["model"], folder=tmp_path, limit_bytes=10**9)
        for index in range(50):
            many.put(f"label {index}", embedding(index, size=1000))
        for path in tmp_path.iterdir():
            os.utime(path, (clock_s, clock_s))
        assert many.get("label 7") is not None
        for label in ("new", "newer"):
            small = StoredLabels(["model"], folder=tmp_path, limit_bytes=100_000)
            small.put(label, embedding(0, size=1000))
            assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 100_000
        assert all(small.get(label) is not None for label in ("label 7", "new", "newer"))

    def test_what_is_strange_in_the_folder_does_not_stop_it(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A circle of links, a folder, what goes meanwhile."""
        (tmp_path / "loop").symlink_to("loop")
        (tmp_path / "folder").mkdir()
        (tmp_path / "gone").touch()
        scandir = os.scandir

        def too_late(folder: Path) -> Any:
            found = scandir(folder)
            (tmp_path / "gone").unlink(missing_ok=True)
            return found

        monkeypatch.setattr(os, "scandir", too_late)
        stored = StoredLabels(["model"], folder=tmp_path, limit_bytes=0)
        stored.put("dog", embedding(1))
        assert stored.get("dog") is not None


class TestModels:
    """What a model that was loaded by name does with the user's cache."""

    @pytest.fixture(autouse=True)
    def folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        return text_cache_folder()

    @staticmethod
    def computes(model: SamClip, *labels: str) -> bool:
        """Whether the text encoder runs for labels; it is the first use of the model."""
        with model:
            return "text_encoder" in model.classify(IMAGE, labels).speed

    def test_a_later_process_need_not_compute(self, folder: Path) -> None:
        assert self.computes(SamClip.load("onnx"), "dog", "cat")
        assert len(list(folder.iterdir())) == 2
        assert not self.computes(SamClip.load("onnx"), "Dog", "cat")
        assert self.computes(SamClip.load("onnx"), "dog", "bird")
        assert len(list(folder.iterdir())) == 3

    @pytest.mark.filterwarnings("ignore::samclip_sdk.errors.UnverifiedArtifactWarning")
    def test_what_runs_it_makes_a_difference(self, folder: Path, tiny_checkpoint: Path) -> None:
        self.computes(SamClip.load("onnx"), "dog")
        assert self.computes(SamClip.load("onnx", precision="int8"), "dog")
        assert self.computes(SamClip.load("openvino"), "dog")
        assert self.computes(SamClip.load(model=tiny_checkpoint), "dog")
        assert not self.computes(SamClip.load(model=tiny_checkpoint), "dog")
        assert len(list(folder.iterdir())) == 4

    def test_what_judges_a_device_computes(self, folder: Path, tiny_bundle: Path) -> None:
        """A kept embedding of another day would prove nothing."""
        assert any("class embeddings" in each.name for each in verify_bundle(tiny_bundle).checks)
        assert not folder.exists()
