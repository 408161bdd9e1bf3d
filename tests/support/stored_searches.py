"""Searches as the store keeps them, made up with a known truth."""

from __future__ import annotations

import zlib

import numpy as np

LAYERS, WIDTH, TASKS = 12, 8, ("arc", "piqa", "winogrande")


def architecture(generator, share):
    widths = generator.binomial(WIDTH, share, LAYERS)
    return [64, [[int(3 * (generator.random() < share)), int(width)] for width in widths]]


def searched(name="linas", seed=0, count=48, skill=0.0, luck=0.0, **more):
    """A search as the store keeps it: 16 seeds, then predicted batches.

    Later layers matter more, each task in its way.
    """
    generator = np.random.default_rng([seed, len(name)])
    seeds = np.random.default_rng(7)
    actual = []
    for index in range(count):
        draw = seeds if index < 16 else generator
        share = 0.5 + 0.5 * draw.random()
        kept = architecture(draw, share + (1 - share) * skill * (index >= 16))
        size = (sum(width for _, width in kept[1]) + 4) / (LAYERS * WIDTH + 4)
        worth = np.array([width / WIDTH + bool(groups) for groups, width in kept[1]])
        losses = {task: 4 - worth[(place * 4) :].mean() - size for place, task in enumerate(TASKS)}
        true = float(np.mean(list(losses.values())))
        noise = np.random.default_rng(
            zlib.crc32(repr(kept).encode())
        )  # the same network scores the same in every search
        chance = 0.1 * noise.normal()
        record = {
            "architecture": kept,
            "parameters": round(1e8 * size),
            "size": size,
            "cost": size,
            "fitness": true + chance,
            "whole": True,
            "seed": index < 16,
            "spent": float(index // 16 * 16),
            "choice_error": true + chance,
            "accuracy": 1 / true,
            "tasks": {task: {"choice_error": loss, "accuracy": 0.5} for task, loss in losses.items()},
            "held_out": {
                "choice_error": true + (1 - luck) * chance + 0.2,
                "accuracy": 1 / true + 0.01 * noise.normal(),
            },
        }
        if index >= 16:
            record["predicted"] = true + 0.1 * draw.normal()
        actual.append(record)
    reference = [1.02 * max(record["fitness"] for record in actual[:16]), 1.02]
    facts = {
        "searcher": name,
        "space": "fine",
        "objective": "choice_error",
        "cost": "parameters",
        "reference": reference,
    }
    own = {"name": name, "problem": 0, "limit": count, "evaluations": float(count), "search_seed": seed}
    return facts | own | {"candidates": actual} | more
