"""An OpenVINO graph computes what transformers computes, with weights as they are or in fewer bits."""

import copy
import time

import numpy as np
import openvino
import pytest
import torch
from absent_parts import PARTS, shaped
from structured_models import made

from harness.models.anatomy import layers
from harness.runtimes.openvino import FILE, OpenVino, OpenVinoEngine
from harness.traced import fewer_bits, openvino_graph

IDS = torch.randint(2, 258, (96,), generator=torch.Generator().manual_seed(5))
EXACT = {"INFERENCE_PRECISION_HINT": "f32", "KV_CACHE_PRECISION": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0}
FORMS = ("int8", "int4")


def in_openvino(folder, ids=IDS, **settings):
    engine = OpenVinoEngine(folder, 1, **(EXACT | settings))
    logits = engine.logits(ids.tolist())
    engine.close()
    return logits


def in_torch(model, ids=IDS):
    with torch.no_grad():
        return model(ids[None]).logits[0].float().numpy()


def off(one, other):
    return np.abs(one - other).max() / np.abs(other).max()


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A model of widths of its own, its graph, and the graph in fewer bits."""
    model = shaped(made(), PARTS["unpadded"])
    folder = tmp_path_factory.mktemp("graph")
    openvino_graph.write(model, folder)
    for form in FORMS:
        OpenVino.quantize(folder, folder / form, form)
    return model, folder


@pytest.mark.parametrize("parts", PARTS.values(), ids=PARTS)
def test_layers_of_widths_of_their_own_have_the_same_logits(parts, tmp_path):
    model = shaped(made(), parts)
    openvino_graph.write(model, tmp_path)
    assert off(in_openvino(tmp_path), in_torch(model)) < 1e-4


def test_weights_in_sixteen_bits_are_stored_as_they_are(tmp_path):
    model = made().to(torch.bfloat16)
    openvino_graph.write(model, tmp_path)
    weights = sum(2 * weight.numel() for weight in model.parameters())
    tables = 2 * 4 * model.config.max_position_embeddings * layers(model)[0].self_attn.head_dim
    size = (tmp_path / FILE).with_suffix(".bin").stat().st_size
    assert weights + tables <= size < 1.2 * (weights + tables)  # 32 bits would take 2
    again = openvino_graph.restored(tmp_path, copy.deepcopy(model))
    assert all(torch.equal(one.float(), two) for one, two in zip(model.parameters(), again.parameters(), strict=True))
    assert off(in_openvino(tmp_path), in_torch(model.float())) < 1e-4


@pytest.mark.parametrize("form", FORMS)
def test_fewer_bits_are_read_back_as_the_graph_computes_with_them(form, written):
    model, folder = written
    again = openvino_graph.restored(folder / form, copy.deepcopy(model))
    logits = in_openvino(folder / form)
    assert off(logits, in_torch(again)) < 1e-2
    assert off(logits, in_torch(again)) < 0.2 * off(logits, in_torch(model))


def test_fewer_bits_take_fewer_bytes(written):
    _, folder = written
    whole, eight, four = (OpenVino.size(folder / form) for form in ("", *FORMS))
    assert four < eight < whole


@pytest.mark.parametrize("form", FORMS)
def test_rotary_tables_keep_their_digits(form, written):
    _, folder = written
    held = fewer_bits.weights(openvino.Core().read_model(folder / form / FILE))
    tables = [source for name, source in held if name in fewer_bits.TABLES]
    assert len(tables) == 2
    assert all(str(source.get_node().get_element_type()) == "<Type: 'float32'>" for source in tables)


def test_steps_of_a_batch_have_the_logits_of_whole_texts(written):
    model, folder = written
    engine = OpenVinoEngine(folder, 1, **EXACT)
    texts = IDS.view(4, 24).numpy()
    first = engine.next_logits(engine.continues, texts[:, :20], 0).copy()
    steps = [engine.next_logits(engine.continues, texts[:, n : n + 1], n).copy() for n in range(20, 24)]
    expected = np.stack([in_torch(model, torch.from_numpy(text)) for text in texts])
    assert first.shape[1] == 1  # the last token's alone
    assert off(np.concatenate([first, *steps], axis=1), expected[:, 19:]) < 1e-4


def test_times_of_a_prompt_and_its_answer_are_counted(written):
    engine = OpenVinoEngine(written[1], 1)
    assert all(seconds > 0 for seconds in engine.generate_seconds(2, 16, 3, time.perf_counter))
    assert engine.generate_seconds(2, 16, 3, iter(range(3)).__next__) == (1, 1)


def test_a_graph_of_another_model_is_refused(written):
    with pytest.raises(ValueError, match=r"the graph is not of this model: it has no layers\.6"):
        openvino_graph.restored(written[1], made(num_hidden_layers=7))
