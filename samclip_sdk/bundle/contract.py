"""The tensors of every graph of a model: the one table that exporters, sessions and tests read."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from samclip_sdk.bundle.graph_spec import DType, GraphSpec, TensorSpec
from samclip_sdk.image.model_prompts import FILLER
from samclip_sdk.image.proposals import PROPOSAL_CHANNELS
from samclip_sdk.modeling.config import ModelConfig

PER_RESOLUTION = ("image_encoder", "clip_head")
"""The graphs that exist at several resolutions."""

PADDING = {"point_labels": FILLER}
"""What an input is padded with where a graph has fixed lengths; zero where it is not named. Filler
makes every padded token one that the model masks out, and a padded prompt one without a point."""

_OPEN: dict[str, Callable[[tuple[int | str, ...]], tuple[int | str, ...]]] = {
    "image": lambda shape: (*shape[:2], "height", "width"),
    "patch_embeddings": lambda shape: (shape[0], "patches", shape[2]),
    **dict.fromkeys(
        ("mask_input", "low_res_masks"), lambda shape: (*shape[:2], "mask_rows", "mask_columns")
    ),
    **dict.fromkeys(
        ("image_tokens", "token_mask", "image_embeddings", "dense_embeddings", "proposals"),
        lambda shape: (*shape[:-2], "rows", "columns"),
    ),
}
"""The shapes of `take_rectangles`, by tensor."""

APP_GRAPHS = ("letterbox", "text_to_mask")
"""The graphs that spare apps the steps between the others; a bundle may lack them."""


def graph_key(name: str, resolution: int | None) -> str:
    """The key of a graph: `image_encoder` at 256 px is `image_encoder@256`.

    Graphs that exist once only are known by their names alone, whatever the resolution.

    Raises:
        ValueError: the graph exists at several resolutions, and none is given.
    """
    if name not in (*PER_RESOLUTION, *APP_GRAPHS):
        return name
    if resolution is None:
        raise ValueError(f"{name} exists at several resolutions: say which")
    return f"{name}@{resolution}"


def file_stem(key: str) -> str:
    """The beginning of the names of a graph's files: its key, without what a URL must escape."""
    return key.replace("@", "_")


def contract_graphs(model: ModelConfig, *, resolutions: Iterable[int]) -> dict[str, GraphSpec]:
    """The inputs and outputs of every graph of a model, without artifacts.

    Args:
        model: the config.
        resolutions: in pixels, those at which image_encoder and clip_head exist.

    Returns:
        Key -> graph. Axes `num_texts`, `num_prompts` (K) and `num_points` (P) are symbolic.

    Raises:
        ValueError: the model does not run at one of the resolutions.
    """
    graphs: dict[str, GraphSpec] = {}
    for resolution in sorted(set(resolutions)):
        model.check_resolution(resolution)
        encoder, head = _image_graphs(model, resolution)
        graphs[graph_key("image_encoder", resolution)] = encoder
        graphs[graph_key("clip_head", resolution)] = head
    ids = _tensor("input_ids", "num_texts", model.text_encoder.context_length, dtype="int32")
    graphs["text_encoder"] = GraphSpec(
        inputs=(ids,), outputs=(_tensor("text_embeddings", "num_texts", model.embed_dim),)
    )
    return graphs | _mask_graphs(model)


def contract_app_graphs(model: ModelConfig, *, resolutions: Iterable[int]) -> dict[str, GraphSpec]:
    """The inputs and outputs of the graphs that apps run instead of the SDK, without artifacts.

    Args:
        model: the config.
        resolutions: in pixels, those that images are fitted to.

    Returns:
        Key -> graph. Axes `height`, `width` and `num_texts` (K) are symbolic.

    Raises:
        ValueError: the model does not run at one of the resolutions.
    """
    graphs: dict[str, GraphSpec] = {}
    extent = _tensor("extent", 2)
    for resolution in sorted(set(resolutions)):
        encoder, _ = _image_graphs(model, resolution)
        graphs[graph_key("letterbox", resolution)] = GraphSpec(
            inputs=(_tensor("picture", "height", "width", 3, dtype="uint8"),),
            outputs=(*encoder.inputs, extent),
        )
    side = model.segmentation_resolution
    encoder, _ = _image_graphs(model, side)
    graphs[graph_key("text_to_mask", side)] = GraphSpec(
        inputs=(
            *encoder.outputs[:2],
            extent,
            _tensor("text_embeddings", "num_texts", model.embed_dim),
        ),
        outputs=(
            _tensor("mask_logits", "num_texts", side, side),
            _tensor("scores", "num_texts"),
            _tensor("presence", "num_texts"),
        ),
    )
    return graphs


def takes_coordinates(graph: GraphSpec) -> bool:
    """Whether a graph reads coordinates, which are exact by contract: it computes in fp32.

    A runtime that lowers the precision of whole graphs leaves it alone, since none promises which
    operations keep out of a reduced one.
    """
    return any(each.name == "point_coords" for each in graph.inputs)


def take_short_texts(text_encoder: GraphSpec) -> GraphSpec:
    """A text encoder that also takes ids shorter than the context, without the zeros at the end.

    The contract fixes the length, because some runtimes must. A session that need not says so in
    its inputs: the prompts of labels are short, and take a fraction of the work.

    Args:
        text_encoder: the graph of the contract.

    Returns:
        The same with the axis `num_tokens` in the place of the context length.
    """
    (ids,) = text_encoder.inputs
    short = ids.model_copy(update={"shape": (ids.shape[0], "num_tokens")})
    return text_encoder.model_copy(update={"inputs": (short,)})


def take_rectangles(graph: GraphSpec) -> GraphSpec:
    """A graph of images that also takes the upper left of its square, without the padding.

    The contract fixes the square, because some runtimes must, as with `take_short_texts`. The
    model's config says whether it `takes_rectangles`.

    Args:
        graph: of the contract: image_encoder, clip_head, prompt_encoder or mask_decoder.

    Returns:
        The same with named axes: `height` and `width` of pixels, `rows` and `columns` of cells,
        `mask_rows` and `mask_columns` of masks.
    """
    inputs, outputs = (
        tuple(
            each.model_copy(update={"shape": _OPEN[each.name](each.shape)})
            if each.name in _OPEN
            else each
            for each in tensors
        )
        for tensors in (graph.inputs, graph.outputs)
    )
    return graph.model_copy(update={"inputs": inputs, "outputs": outputs})


def _image_graphs(model: ModelConfig, resolution: int) -> tuple[GraphSpec, GraphSpec]:
    grid = resolution // model.image_encoder.patch_size
    patches = (grid // model.token_pooling(resolution)) ** 2
    tokens = _tensor("image_tokens", 1, model.image_encoder.token_dim, grid, grid)
    embeddings = _tensor("image_embeddings", 1, model.mask_decoder.image_dim, grid, grid)
    proposals = [_tensor("proposals", 1, PROPOSAL_CHANNELS, grid, grid)] * model.proposes
    encoder = GraphSpec(
        inputs=(_tensor("image", 1, 3, resolution, resolution, dtype="uint8"),),
        outputs=(tokens, embeddings, *proposals),
    )
    head = GraphSpec(
        inputs=(tokens, _tensor("token_mask", 1, grid, grid)),
        outputs=(
            _tensor("patch_embeddings", 1, patches, model.embed_dim),
            _tensor("image_embedding", 1, model.embed_dim),
        ),
    )
    return encoder, head


def _mask_graphs(model: ModelConfig) -> dict[str, GraphSpec]:
    grid = model.grid
    dim, side = model.mask_decoder.embed_dim, 4 * grid
    many, points = "num_prompts", "num_points"
    sparse = _tensor("sparse_embeddings", many, points, dim)
    sparse_mask = _tensor("sparse_mask", many, points)
    dense = _tensor("dense_embeddings", many, dim, grid, grid)
    return {
        "prompt_encoder": GraphSpec(
            inputs=(
                _tensor("point_coords", many, points, 2),
                _tensor("point_labels", many, points, dtype="int32"),
                _tensor("mask_input", many, 1, side, side),
                _tensor("has_mask_input", many),
            ),
            outputs=(sparse, sparse_mask, dense),
        ),
        "mask_decoder": GraphSpec(
            inputs=(
                _tensor("image_embeddings", 1, model.mask_decoder.image_dim, grid, grid),
                sparse,
                sparse_mask,
                dense,
            ),
            outputs=(
                _tensor("low_res_masks", many, 4, side, side),
                _tensor("iou_predictions", many, 4),
            ),
        ),
    }


def _tensor(name: str, *shape: int | str, dtype: DType = "float32") -> TensorSpec:
    return TensorSpec(name=name, dtype=dtype, shape=shape)
