"""The widths of one decoder layer, and how many parameters each of its parts holds. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LayerShape:
    """Widths of one decoder layer; `groups` counts key-value heads, each with `queries` query heads.

    No groups: the layer has no attention, nor its norm; no width: no MLP, nor its norm.
    """

    hidden: int
    groups: int
    queries: int
    head_dim: int
    width: int
    bias: int = 0  # 1 where q, k and v have biases: Qwen2
    mlp_bias: int = 0  # 1 where gate and up have biases
    attention_vectors: int = 1  # of hidden size, kept as long as there is attention: the norm, a bias of o_proj
    attention_fixed: int = 0  # other parameters of that kind: norms of queries and keys
    mlp_vectors: int = 1  # of hidden size, kept as long as there is an MLP

    @property
    def group_parameters(self) -> int:
        """Parameters that go with one key-value group: rows of q, k, v, columns of o, and their biases."""
        heads = 2 * self.queries + 2
        return self.head_dim * (heads * self.hidden + self.bias * (self.queries + 2))

    @property
    def channel_parameters(self) -> int:
        """Parameters that go with one MLP channel: a row of gate and up, a column of down."""
        return 3 * self.hidden + 2 * self.mlp_bias

    @property
    def attention_rest(self) -> int:
        """Parameters that go when the last group goes."""
        return self.attention_vectors * self.hidden + self.attention_fixed

    @property
    def mlp_rest(self) -> int:
        """Parameters that go when the last channel goes."""
        return self.mlp_vectors * self.hidden

    @property
    def parameters(self) -> int:
        attention = self.groups * self.group_parameters + self.attention_rest if self.groups else 0
        return attention + (self.width * self.channel_parameters + self.mlp_rest if self.width else 0)
