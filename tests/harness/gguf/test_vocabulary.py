"""The tokenizer of a GGUF file cuts text as the checkpoint's does, or the file is not written."""

import pytest
from structured_models import made

from harness.gguf.vocabulary import same_tokens
from harness.models import random_llama
from harness.runtimes import llamacpp
from harness.runtimes.llamacpp import FILE, LlamaCpp, check_tokens


def test_a_vocabulary_larger_than_the_tokenizer_is_filled_up(tmp_path):
    LlamaCpp.convert(made("llama", vocab_size=300), random_llama.build()[1], tmp_path)
    assert llamacpp.loaded(tmp_path / FILE).get_vocab().n_vocab == 300


def test_a_file_whose_tokenizer_cuts_otherwise_is_refused(tmp_path):
    tokenizer = random_llama.build()[1]
    LlamaCpp.convert(made("llama"), tokenizer, tmp_path)
    tokenizer.add_tokens(["cat"])
    with pytest.raises(ValueError, match="tokenizer is another one: token"):
        check_tokens(tmp_path / FILE, tokenizer)


def test_the_first_token_that_differs_is_named():
    tokenizer = random_llama.build()[1]
    other = tokenizer("abd", add_special_tokens=False).input_ids
    assert same_tokens(tokenizer, lambda text: other, "abc").startswith("token 2 of 'abc' is")
    assert same_tokens(tokenizer, lambda text: other, "abd") == ""
