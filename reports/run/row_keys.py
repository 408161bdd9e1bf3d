"""What the keys of a row mean that are no quantities.

Which variant it is, how it went, what stands beside its numbers.
"""

IDENTITY = {
    "variant": "name of the row, as `compare` takes it",
    "method": "method, or methods in sequence",
    "budget": "share of the parameters that was asked for; empty where none was",
    "quantizer": "quantizer on top; `none` for none",
    "runtime": "where the variant was run; torch, if nothing else was asked for",
    "bytes_asked": "share of the dense bytes that was asked for; empty where budgets were",
    "recipe": "how the variant is written in full, with its fields",
    "checkpoint": "folder of the model; empty where its weights were let go",
    "simulated": "zeros are stored densely: size, memory and speed are no savings",
    "emulated": "quantized values compute in floating point: memory and speed are no savings",
    "status": "ok, failed, skipped or damaged",
    "reason": "why it has no numbers, where it has none",
    "log": "file of the step that failed",
}
BESIDE = {
    "average_metric": "which metric of which task the average is of",
    "evaluation_seconds": "seconds that scoring took",
    "evaluation_cpu_seconds": "CPU seconds that scoring took",
    "scored_by": "the scorer that was used, `tree` or `hflm`",
    "scored_otherwise": "why another scorer was used than the one that was asked for",
    "scorer_difference": "largest difference to the model's own pass in the scorer's proof, in nats a token",
    "longest_request": "tokens that the model reads at most",
    "cut_requests": "requests that were longer and lost their beginnings",
    "cut_tasks": "how many of them in which task",
    "perplexity_of_torch": "of the windows of the comparison with torch, there",
    "perplexity_of_runtime": "of the same windows in the runtime",
    "short_windows": "tasks whose windows are shorter than was asked for, since the model reads no more",
    "resident_bytes": "bytes of the weights alone, once loaded",
    "process_bytes_before": "resident set of the process before it loads the model",
    "peak_load_bytes": "peak resident set while it loads",
    "peak_device_bytes": "peak memory of the GPU; empty without one",
    "contended": "the machine was busy while it was timed",
    "contention": "how busy, as JSON",
    "idle_watts": "power of the machine at rest, by the same counters",
    "energy_counters": "which counters energy was read from",
    "prefill_watts": "median power while reading the prompt",
    "decode_watts": "median power while generating",
    "prefill_bN.tokens_per_second": "median throughput of reading the prompt at batch N",
    "prefill_bN.p_value": "Mann-Whitney test of its seconds against those of dense",
    "decode_bN.tokens_per_second": "median throughput of generating at batch N",
    "decode_bN.p_value": "Mann-Whitney test of its seconds against those of dense",
}
TASKS = {
    "TASK.METRIC": "score of a task, one for each of its metrics",
    "TASK.stderr": "standard error of the metric that tables show, clustered where items share a passage",
    "TASK.METRIC_stderr": "standard error of another metric",
    "TASK.n": "items that were scored",
}
