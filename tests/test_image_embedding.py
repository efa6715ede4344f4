from __future__ import annotations

def embedding() -> ImageEmbedding:
    generator = np.random.default_rng(0)
    return ImageEmbedding(
        image_tokens=generator.normal(size=(1, 12, 4, 4)).astype(np.float32),
        image_embeddings=generator.normal(size=(1, 8, 4, 4)).astype(np.float32),
        frame=Frame.fit(HEIGHT, WIDTH, resolution=64),
        bundle_id="0123456789abcdef",
        speed={"encode_ms": 3.0},
    )


def test_an_embedding_comes_back_from_its_file(tmp_path: Path) -> None:
    saved = embedding()
    saved.save(tmp_path / "a.npz")
    loaded = ImageEmbedding.load(tmp_path / "a.npz")
    np.testing.assert_array_equal(loaded.image_tokens, saved.image_tokens)
    np.testing.assert_array_equal(loaded.image_embeddings, saved.image_embeddings)
    assert (loaded.frame, loaded.bundle_id) == (saved.frame, saved.bundle_id)


def test_an_embedding_is_saved_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(StorageError, match=r"must end in \.npz"):
        embedding().save(tmp_path / "a.png")

    def refuse(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", refuse)
    with pytest.raises(StorageError, match="No space left on device"):
        embedding().save(tmp_path / "a.npz")
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_embedding_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    with pytest.raises(StorageError, match="no such file"):
        ImageEmbedding.load(path)
    embedding().save(path)
    whole = path.read_bytes()
    np.save(tmp_path / "array.npy", np.zeros(3))
    np.savez(tmp_path / "objects.npz", image_tokens=np.array([{}], dtype=object))
    masks().save(tmp_path / "masks.npz")
    contents = [b"", b"hello", whole[:200], whole[: len(whole) // 2]]
    contents += [each.read_bytes() for each in tmp_path.iterdir() if each != path]
    for content in contents:
        path.write_bytes(content)
        with pytest.raises(StorageError, match="is not a saved image embedding"):
            ImageEmbedding.load(path)
