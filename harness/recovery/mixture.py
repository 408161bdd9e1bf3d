"""MixLoRA (Li et al., arXiv 2404.15159).

Every MLP trained as a mixture of LoRA experts, merged into plain weights after it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel

from harness.models.anatomy import ATTENTION, MLP, has_mlp, layers
from harness.recovery.adapters import add_lora, merge_lora
from harness.recovery.objective import precision

ROUTER_STD = 0.02


def route(tokens: Tensor, router: Tensor, top_k: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return (odds (tokens, experts), chosen (tokens, top_k), weights (tokens, top_k)).

    Odds and weights are float32, whatever autocast says.

    The odds are a softmax over the experts; the weights are those of the chosen ones, made to sum to one.
    """
    with torch.autocast(tokens.device.type, enabled=False):
        odds = functional.linear(tokens.float(), router.float()).softmax(-1)
    best, chosen = odds.topk(top_k)
    return odds, chosen, best / best.sum(-1, keepdim=True)


def imbalance(odds: Tensor, chosen: Tensor) -> Tensor:
    """Return experts * sum_e f_e P_e of odds (tokens, experts) and choices (tokens, top_k).

    It is differentiable through P.

    f_e is the share of all assignments that went to expert e, P_e its mean odds, and both sum to one, for any top_k: 1.0 when
    either is uniform, at most experts / top_k (Switch, arXiv 2101.03961, equations 4 to 6). transformers' Mixtral counts
    assignments per token instead, which makes it top_k times as much.
    """
    experts = odds.shape[-1]
    shares = functional.one_hot(chosen, experts).float().mean((0, 1))  # (experts,)
    return experts * (shares * odds.mean(0)).sum()


class MixtureOfLoRA(nn.Module):
    """A frozen MLP that all experts share.

    Expert e adds scale * second[e] @ first[e] to the projections called `targets`.

    Of the last forward pass it keeps `penalty`, the imbalance, and `shares` (experts,), the mean routing weights.
    """

    penalty: Tensor
    shares: Tensor

    def __init__(
        self,
        mlp: nn.Module,
        *,
        experts: int,
        top_k: int,
        rank: int,
        alpha: float,
        targets: Sequence[str],
        generator: torch.Generator,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.mlp, self.top_k, self.scale, self.dropout = mlp, top_k, alpha / rank, dropout
        weight = mlp.gate_proj.weight
        router = torch.randn(experts, weight.shape[1], generator=generator) * ROUTER_STD
        self.router = nn.Parameter(router.to(weight))
        self.first, self.second = nn.ParameterDict(), nn.ParameterDict()
        for name in targets:
            rows, columns = getattr(mlp, name).weight.shape
            first = torch.empty(experts, rank, columns)
            for factor in first:
                nn.init.kaiming_uniform_(factor, a=math.sqrt(5), generator=generator)
            self.first[name] = nn.Parameter(first.to(weight))
            self.second[name] = nn.Parameter(weight.new_zeros(experts, rows, rank))

    def forward(self, hidden: Tensor) -> Tensor:
        """Return what the chosen experts' MLPs return, summed by their routing weights.

        Experts add their difference from the frozen MLP: equal to the sum, since the weights sum to one, but exactly zero
        before the first step, in its value and in its gradient for the router, where Adam would blow up rounding noise.
        """
        tokens = hidden.flatten(0, -2)  # (tokens, hidden)
        odds, chosen, weights = route(tokens, self.router, self.top_k)
        self.penalty = imbalance(odds, chosen)
        self.shares = torch.zeros_like(odds).scatter(1, chosen, weights.detach()).mean(0)
        gate = self.mlp.gate_proj(hidden).flatten(0, -2)  # (tokens, width)
        up = self.mlp.up_proj(hidden).flatten(0, -2)  # (tokens, width)
        plain = self.mlp.act_fn(gate) * up
        mixed = plain.clone()
        written = plain.new_zeros(len(plain), self.mlp.down_proj.out_features)
        for expert in range(len(self.router)):
            rows, place = (chosen == expert).nonzero(as_tuple=True)  # no row twice: sums are in one order on any device
            weight = weights[rows, place, None].to(plain.dtype)  # (rows, 1)
            read = tokens.index_select(0, rows)
            own_gate = gate.index_select(0, rows) + self.change("gate_proj", expert, read)
            own = self.mlp.act_fn(own_gate) * (up.index_select(0, rows) + self.change("up_proj", expert, read))
            mixed.index_add_(0, rows, weight * (own - plain.index_select(0, rows)))
            if "down_proj" in self.first:
                written.index_add_(0, rows, weight * self.change("down_proj", expert, own))
        return self.mlp.down_proj(mixed.view(*hidden.shape[:-1], -1)) + written.view(*hidden.shape[:-1], -1)

    def change(self, name: str, expert: int, inputs: Tensor) -> Tensor | float:
        """Return what an expert adds to the projection `name` of its inputs (rows, in).

        (rows, out), or 0 if no target.
        """
        if name not in self.first:
            return 0.0
        seen = functional.dropout(inputs, self.dropout, self.training)
        read = functional.linear(seen, self.first[name][expert])  # (rows, rank)
        return functional.linear(read, self.second[name][expert]) * self.scale

    def merged(self, shares: Tensor) -> nn.Module:
        """Return the MLP with the experts' changes added to the weights of the targets, in place.

        The change of a weight is sum_e shares[e] * scale * second[e] @ first[e].
        """
        for name, first in self.first.items():
            weight, second = getattr(self.mlp, name).weight, self.second[name]
            change = torch.einsum("e,eor,eri->oi", shares.float().to(second.device), second.float(), first.float())
            weight.add_(self.scale * change)
        return self.mlp


def add_mixture(
    model: PreTrainedModel,
    *,
    experts: int,
    top_k: int,
    rank: int,
    alpha: float,
    targets: Sequence[str],
    seed: int,
    dropout: float = 0.0,
) -> dict[str, Tensor]:
    """Make every MLP a mixture and give attention LoRA, on what `targets` names, in place.

    Return by name what is to be trained.

    Nothing else requires gradients. Outputs stay the same until a step is taken, second factors starting at zero: to the bit,
    except for MLP widths that are no multiple of 64 on a CPU, whose kernels round the end of a tensor differently.
    `dropout` acts on what the factors see, in training mode only.
    ValueError when top_k is not one of 1 to experts, or no target lies in the MLP.
    """
    if not 1 <= top_k <= experts:
        raise ValueError(f"top_k must lie in [1, {experts}], the number of experts, not {top_k}")
    inside = [name for name in MLP if name in targets]
    if not inside:
        raise ValueError(f"a mixture needs a target in the MLP, one of {', '.join(MLP)}, not only {', '.join(targets)}")
    model.requires_grad_(False)
    beside = [name for name in ATTENTION if name in targets]
    trained = add_lora(model, rank=rank, alpha=alpha, targets=beside, seed=seed, dropout=dropout) if beside else {}
    generator = torch.Generator().manual_seed(seed)
    for layer in layers(model):
        if has_mlp(layer):
            layer.mlp = MixtureOfLoRA(
                layer.mlp,
                experts=experts,
                top_k=top_k,
                rank=rank,
                alpha=alpha,
                targets=inside,
                generator=generator,
                dropout=dropout,
            )
    trained |= {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    for weight in trained.values():
        weight.requires_grad_(True)
    return trained


def mixtures(model: PreTrainedModel) -> dict[int, MixtureOfLoRA]:
    """Return the mixtures by the index of their layer."""
    return {index: layer.mlp for index, layer in enumerate(layers(model)) if isinstance(layer.mlp, MixtureOfLoRA)}


def balance(model: PreTrainedModel) -> Tensor:
    """Return the imbalance of the last forward pass, summed over layers.

    Their number when routing is uniform.
    """
    return torch.stack([mixture.penalty for mixture in mixtures(model).values()]).sum()


@torch.no_grad()
def routing_shares(model: PreTrainedModel, batches: Iterable[Tensor]) -> dict[int, Tensor]:
    """Return the mean routing weights (experts,) over all tokens of `batches` (rows, length), by layer.

    Each sums to one.
    """
    totals = {index: torch.zeros_like(mixture.router[:, 0]).double() for index, mixture in mixtures(model).items()}
    for ids in batches:
        with precision(model):  # as in training
            model.get_decoder()(input_ids=ids.to(model.device), use_cache=False)
        for index, mixture in mixtures(model).items():
            totals[index] += mixture.shares * ids.numel()
    return {index: (total / total.sum()).float() for index, total in totals.items()}


@torch.no_grad()
def merge_mixture(model: PreTrainedModel, shares: Mapping[int, Tensor]) -> None:
    """Put the plain MLPs back in place, with each expert added by its share (experts,).

    Attention's LoRA is merged too.

    An approximation, unless there is one expert: routing depends on the token, plain weights do not, and the average of
    the experts' weights is not the average of what they compute. Measure the merged model, not the mixture.
    """
    for index, mixture in mixtures(model).items():
        layers(model)[index].mlp = mixture.merged(shares[index])
    merge_lora(model)
