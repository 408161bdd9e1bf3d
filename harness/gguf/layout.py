"""Where a decoder's weights stand in a GGUF file.

So llama.cpp computes what transformers computes. Pure.

llama.cpp reads one size for all layers, except in the architectures `deci` (rotary pairs interleaved: Llama, Mistral, Qwen2)
and `openelm` (rotary halves, norms of queries and keys: Qwen3), which have an entry a layer. Two of deci's shapes
would not be computed: attention without an MLP behind it is dropped, and a first layer without attention does not load. Such
layers get channels, or heads, of zeros, which change nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from harness.models.layer_shape import LayerShape

BLOCK = 32  # weights that share a scale in Q8_0 and Q4_0: what a row has to be a multiple of
UNIFORM = {"llama": "llama", "mistral": "llama", "qwen2": "qwen2", "qwen3": "qwen3"}
PER_LAYER = {"llama": "deci", "mistral": "deci", "qwen2": "deci", "qwen3": "openelm"}
INTERLEAVED = ("llama", "deci")  # architectures that rotate neighbours where transformers rotates halves


@dataclass(frozen=True)
class Part:
    """A tensor of the file: `sources`, one below the other, or `values`, or a constant.

    Sources are parameters of the model.

    Rows of a source with `heads` are reordered within each head. `rows` (of each source) and `columns` are the sizes in the
    file, where zeros stand behind the source's own.
    """

    name: str
    sources: tuple[str, ...] = ()
    heads: int = 0
    rows: int = 0  # 0: as the source has them
    columns: int = 0  # 0: a vector
    constant: float = 0.0
    values: tuple[float, ...] = ()


@dataclass(frozen=True)
class Layout:
    """An architecture of llama.cpp, what its header says, and its tensors in order."""

    architecture: str
    header: dict[str, Any]
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Layer:
    """A layer that the file has: its place and shape in the model.

    And the key-value groups and channels in the file.

    Groups and channels beside the model's own are zeros: a head whose values are zeros adds nothing.
    """

    index: int
    shape: LayerShape
    groups: int
    width: int

    @property
    def heads(self) -> int:
        return self.groups * self.shape.queries


@dataclass(frozen=True)
class Geometry:
    """What beside the layers' shapes decides the layout.

    `queries` and `head_dim` are those of a layer with attention.
    """

    family: str
    hidden: int
    queries: int
    head_dim: int
    tied: bool
    output_bias: bool = False
    numbers: dict[str, Any] = field(default_factory=dict)  # of the header, the same for every architecture
    divisors: tuple[float, ...] = ()  # of rotary frequencies, head_dim / 2; none: as they are


def rounded(width: int) -> int:
    """Return the width, filled up to whole blocks."""
    return -(-width // BLOCK) * BLOCK


def whole_groups(shape: LayerShape) -> int:
    """Return the key-value groups, filled up until what o_proj reads is whole blocks."""
    step = BLOCK // math.gcd(BLOCK, max(1, shape.queries * shape.head_dim))
    return -(-shape.groups // step) * step


def layers(shapes: Sequence[LayerShape]) -> list[Layer]:
    """Return the layers that a file needs, each of which can be computed and quantized.

    Empty ones are left out.
    """
    here = [
        Layer(index, shape, whole_groups(shape), rounded(shape.width) if shape.width else BLOCK * bool(shape.groups))
        for index, shape in enumerate(shapes)
        if shape.groups or shape.width
    ]
    if here and not here[0].shape.groups:
        size = max(shape.head_dim for shape in shapes)
        here[0] = Layer(here[0].index, here[0].shape, BLOCK // math.gcd(BLOCK, size or BLOCK), here[0].width)
    return here


def architecture(geometry: Geometry, kept: Sequence[Layer]) -> str:
    """Return llama.cpp's architecture for these layers; ValueError where none computes them."""
    family = geometry.family
    if family not in PER_LAYER:
        raise ValueError(
            f"llama.cpp has no architecture for {family} models here; it takes {', '.join(sorted(PER_LAYER))}"
        )
    uniform = len({(layer.groups, layer.width) for layer in kept}) == 1 and all(
        layer.shape.groups and layer.shape.width for layer in kept
    )
    if (
        uniform
        and not geometry.output_bias
        and geometry.queries * kept[0].groups * geometry.head_dim == geometry.hidden
    ):
        return UNIFORM[family]
    if PER_LAYER[family] == "openelm":
        if not geometry.tied:
            raise ValueError(f"llama.cpp's openelm, which {family} of per-layer widths needs, has no head of its own")
        if geometry.output_bias or not all(layer.shape.groups and layer.shape.width for layer in kept):
            raise ValueError(
                f"llama.cpp's openelm, which {family} of per-layer widths needs, has no layer without attention or MLP and no "
                "output biases"
            )
    return PER_LAYER[family]


def layout(geometry: Geometry, shapes: Sequence[LayerShape], biases: bool) -> Layout:
    """Return the file's layout.

    `biases`: q, k and v have them. ValueError where llama.cpp cannot compute the model.
    """
    here = layers(shapes)
    if not here:
        raise ValueError("the model has no layer left, and llama.cpp takes none without")
    name = architecture(geometry, here)
    single = name in UNIFORM.values()
    heads, groups, widths = zip(*((layer.heads, layer.groups, layer.width) for layer in here), strict=True)
    header = {
        **geometry.numbers,
        "block_count": len(here),
        "embedding_length": geometry.hidden,
        "attention.head_count": heads[0] if single else list(heads),
        "attention.head_count_kv": groups[0] if single else list(groups),
        "feed_forward_length": widths[0] if single else list(widths),
        "attention.key_length": geometry.head_dim,
        "attention.value_length": geometry.head_dim,
        "rope.dimension_count": geometry.head_dim,
    }
    parts = [Part("token_embd.weight", ("model.embed_tokens.weight",))]
    parts += [Part("output_norm.weight", ("model.norm.weight",))]
    if geometry.divisors:
        if name not in INTERLEAVED:
            raise ValueError(f"llama.cpp's {name} takes no divisors of rotary frequencies (Llama 3's scaling)")
        parts += [Part("rope_freqs.weight", values=geometry.divisors)]
    parts += [] if geometry.tied else [Part("output.weight", ("lm_head.weight",))]
    for place, layer in enumerate(here):
        parts += _layer(geometry, layer, f"blk.{place}.", f"model.layers.{layer.index}.", name, biases)
    return Layout(name, header, tuple(parts))


def _layer(geometry: Geometry, layer: Layer, here: str, there: str, name: str, biases: bool) -> Iterator[Part]:
    if layer.shape.groups:
        yield Part(f"{here}attn_norm.weight", (f"{there}input_layernorm.weight",))
        yield from _attention(geometry, layer, here, there, name, biases)
        if geometry.output_bias:
            yield Part(f"{here}attn_output.bias", (f"{there}self_attn.o_proj.bias",))
    elif layer.groups:  # a head of zeros
        rows = layer.groups * geometry.head_dim
        yield Part(f"{here}attn_norm.weight", rows=geometry.hidden, constant=1.0)
        for kind in ("q", "k", "v"):
            yield Part(f"{here}attn_{kind}.weight", rows=rows, columns=geometry.hidden)
        yield Part(f"{here}attn_output.weight", rows=geometry.hidden, columns=rows)
    if not layer.width:
        return
    gate, up, down = (f"{there}mlp.{kind}_proj.weight" for kind in ("gate", "up", "down"))
    present = bool(layer.shape.width)
    norm: dict[str, Any] = {"sources": (f"{there}post_attention_layernorm.weight",)} if present else {"constant": 1.0}
    yield Part(f"{here}ffn_norm.weight", **norm, rows=geometry.hidden)
    for kind, source in (("gate", gate), ("up", up)):
        sources = (source,) if present else ()
        yield Part(f"{here}ffn_{kind}.weight", sources, rows=layer.width, columns=geometry.hidden)
    yield Part(f"{here}ffn_down.weight", (down,) if present else (), rows=geometry.hidden, columns=layer.width)
    if geometry.output_bias and present:
        yield Part(f"{here}ffn_down.bias", (f"{there}mlp.down_proj.bias",))


def _attention(geometry: Geometry, layer: Layer, here: str, there: str, name: str, biases: bool) -> Iterator[Part]:
    own: Sequence[Literal["weight", "bias"]] = ("weight", "bias") if biases else ("weight",)
    shape, size = layer.shape, geometry.head_dim
    turned = int(name in INTERLEAVED)
    heads = {"q": (shape.groups * shape.queries, layer.heads), "k": (shape.groups, layer.groups)}
    heads["v"] = heads["k"]  # (in the model, in the file)
    for kind in own:
        columns = geometry.hidden if kind == "weight" else 0
        source = f"{there}self_attn.{{}}_proj.{kind}"
        if name == "openelm":
            if layer.groups != shape.groups:
                raise ValueError(
                    f"{shape.groups} key-value groups of {shape.queries} heads of {size} are no whole blocks of {BLOCK}, which "
                    "llama.cpp's openelm needs"
                )
            yield Part(f"{here}attn_qkv.{kind}", tuple(source.format(part) for part in heads))
            continue
        for part, (ours, theirs) in heads.items():
            yield Part(
                f"{here}attn_{part}.{kind}",
                (source.format(part),),
                heads=ours * turned * (part != "v"),
                rows=theirs * size,
                columns=columns,
            )
    if name in ("openelm", "qwen3"):
        for part in ("q", "k"):
            yield Part(f"{here}attn_{part}_norm.weight", (f"{there}self_attn.{part}_norm.weight",))
    yield Part(
        f"{here}attn_output.weight",
        (f"{there}self_attn.o_proj.weight",),
        rows=geometry.hidden,
        columns=layer.heads * size,
    )
