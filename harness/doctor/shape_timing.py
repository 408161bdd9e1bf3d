"""`harness doctor shapes`: size and speed of a super-network's members.

At a published geometry, with random weights.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from harness.command.terminal import console, show_table

if TYPE_CHECKING:
    from harness.nas.architecture import Architecture, Body

Views = dict[str, tuple[float, bool]]  # of prefill and decode, see measures.shapes.view_seconds
SMALLER = 1.5  # times, that LLaMA-NAS (arXiv 2405.18377) makes LLaMA-2-7B smaller
HEADERS = (
    *("member", "parameters", "GB", "smaller", "fewer FLOPs"),
    *("prefill tokens/s", "prefill / dense", "decode tokens/s", "decode / dense"),
)
FAIR = (
    "Every member, dense too, runs in place on views of the one model's weights; no weight is moved between turns. "
    "An extracted copy does the same products: on half of an MLP's channels a view takes {prefill:.2f} times a copy's "
    "time in prefill and {decode:.2f} in decode, and the bits are {bits}."
)


def time_shapes(geometry: str, *, numbers: dict[str, int], dtype: str, device: str, seed: int, form: str) -> bool:
    """Time the members in turn with dense and print a line each.

    Return False where an interrupt ended it early.

    `numbers` are samples, prompt, generate and rounds. What was done before an interrupt is printed.
    """
    from harness.doctor.geometries import alternating, build, view_seconds
    from harness.doctor.members import corners, mixes
    from harness.nas.space import Space
    from harness.nas.spaces import axes
    from harness.nas.supernet import Elastic, body

    out = console()
    done: list[Any] = []
    interrupted = False
    with out.status(f"building {geometry} in {dtype}") as status:
        model = build(geometry, dtype=dtype, device=device, seed=seed)
        layers = model.config.num_hidden_layers
        space = Space(body(model, range(layers - 2, 0, -1)), axes("llama_nas"), lowest=0.0)
        members = corners(space) | mixes(space, 1 / SMALLER, numbers["samples"], seed)
        views = {kind: view_seconds(model, tokens) for kind, tokens in (("prefill", numbers["prompt"]), ("decode", 1))}
        with Elastic(model) as elastic:
            settings = {name: _switch(elastic, one) for name, one in members.items()}
            try:
                for timed in alternating(
                    model,
                    settings,
                    dense=_switch(elastic, space.full()),
                    prompt=numbers["prompt"],
                    generate=numbers["generate"],
                    rounds=numbers["rounds"],
                    told=lambda text: status.update(f"{geometry}: {text}"),
                ):
                    done.append(timed)
            except KeyboardInterrupt:
                if not done:
                    raise
                interrupted = True
    rows = [_row(name, one, space.body, done, numbers, model.dtype.itemsize) for name, one in members.items()]
    title = (
        f"shape only: {geometry}, random weights, {dtype} on {model.device.type}, batch 1, prompt {numbers['prompt']}, "
        f"{numbers['generate']} tokens generated, {len(done)} rounds"
    )
    _show(rows, views, form, title)
    if interrupted:
        print(f"interrupted after {len(done)} of {numbers['rounds']} rounds")
    return not interrupted


def _switch(elastic: Any, architecture: Architecture) -> Any:
    return lambda: elastic.activate(architecture)


def _row(
    name: str, one: Architecture, body: Body, rounds: list[Any], numbers: dict[str, int], itemsize: int
) -> dict[str, Any]:
    """Return a member's sizes, and its medians and ratios to dense with bootstrap intervals over rounds."""
    import numpy as np

    from harness.doctor.geometries import reached
    from harness.evaluation.statistics import ratio_interval

    parameters, context = body.parameters(one), numbers["prompt"]
    row: dict[str, Any] = {
        "member": name,
        "parameters": parameters,
        "bytes": parameters * itemsize,
        "smaller": body.dense / parameters,
        "flops_ratio": body.flops(body.full, context) / body.flops(one, context),
    }
    for column, (kind, tokens) in enumerate((("prefill", numbers["prompt"]), ("decode", numbers["generate"]))):
        dense, own = (np.array([sample[name][side][column] for sample in rounds]) for side in (0, 1))
        ratio, low, high = ratio_interval(dense, own)
        row[kind] = {
            "tokens_per_second": tokens / float(np.median(own)),
            "ratio": ratio,
            "low": low,
            "high": high,
            "reached": reached(low, high),
            "dense_seconds": dense.tolist(),
            "seconds": own.tolist(),
        }
    return row


def _show(rows: list[dict[str, Any]], views: Views, form: str, title: str) -> None:
    if form == "json":
        print(json.dumps({"title": title, "views": views, "members": rows}, indent=1))
        return
    show_table(HEADERS, [_cells(row) for row in rows], title=title, form=form)
    print("\n".join(_sentences(rows, views)))


def _cells(row: dict[str, Any]) -> list[str]:
    cells = [row["member"], f"{row['parameters'] / 1e6:,.1f} M", f"{row['bytes'] / 1e9:.2f}", f"{row['smaller']:.2f}"]
    cells.append(f"{row['flops_ratio']:.2f}")
    for kind in ("prefill", "decode"):
        one = row[kind]
        interval = f"{one['ratio']:.2f} [{one['low']:.2f}, {one['high']:.2f}]"
        cells += [f"{one['tokens_per_second']:.1f}", interval]
    return cells


def _sentences(rows: list[dict[str, Any]], views: Views) -> list[str]:
    lines = []
    for kind in ("prefill", "decode"):
        sure = [row["member"] for row in rows if row[kind]["reached"] == "yes"]
        unsure = [row["member"] for row in rows if row[kind]["reached"] == "open"]
        lines.append(
            f"1.3 times dense in {kind}: {'; '.join(sure) or 'none'}"
            + (f" (open, the interval holds 1.3: {'; '.join(unsure)})" if unsure else "")
        )
    if not any(abs(row["smaller"] / SMALLER - 1) <= 0.0101 for row in rows):
        lines.append(f"no member is {SMALLER} times smaller within 1 %")
    bits = "the same" if all(same for _, same in views.values()) else "not the same"
    return [
        *lines,
        FAIR.format(**{kind: ratio for kind, (ratio, _) in views.items()}, bits=bits),
        "Random weights: sizes and speeds only, nothing about accuracy. The whole network's row is the noise.",
    ]
