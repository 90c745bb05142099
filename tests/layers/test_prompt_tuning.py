"""What only prompt tuning must hold; the contract tests run on every entry beside these."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close

from nnvocab.layers.embedding import Embedding
from nnvocab.layers.letters import letter_transformer
from nnvocab.layers.prompt_tuning import PromptTuning, prepend_prompt


@pytest.mark.oracle("prompt-tuning", by="brute force")
def test_a_prompt_that_starts_from_words_does_what_those_words_do():
    model = letter_transformer()
    words, ids = torch.randint(0, 40, (5,)), torch.randint(0, 40, (3, 10))
    prompt = PromptTuning.from_text(model.letters, words)
    expected = model(torch.cat([words.expand(3, -1), ids], dim=1))
    assert_close(model(embeddings=prompt(model.letters(ids))), expected)


def test_it_stands_before_every_row():
    prompt, x = PromptTuning(6, 3), torch.randn(2, 5, 6)
    y = prompt(x)
    for b in range(2):
        for p in range(3):
            assert torch.equal(y[b, p], prompt.prompt[p])
        assert torch.equal(y[b, 3:], x[b])
    assert torch.equal(y, prepend_prompt(x, prompt.prompt))


def test_starts_from_the_vocabulary_where_that_is_asked_for():
    table = nn.Embedding(20, 6)
    prompt = PromptTuning.from_vocabulary(table, 4, generator=torch.Generator().manual_seed(0))
    near = torch.cdist(prompt.prompt, table.weight)
    assert near.min(dim=1).values.max() == 0 and len(set(near.argmin(dim=1).tolist())) == 4
    again = PromptTuning.from_vocabulary(table, 4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(prompt.prompt, again.prompt)
    prompt(torch.zeros(1, 1, 6)).sum().backward()
    assert table.weight.grad is None  # a copy, not a view of the vocabulary


def test_no_vocabulary_grows_and_only_the_prompt_learns():
    model = letter_transformer().requires_grad_(False)
    classes, prompt, ids = model.letters.num_embeddings, PromptTuning(32, 4), torch.randint(0, 40, (3, 10))
    logits = model(embeddings=prompt(model.letters(ids)))
    assert logits.shape == (3, 14, classes) and model.letters.num_embeddings == classes
    logits.sum().backward()
    assert prompt.prompt.grad.abs().min() > 0 and all(p.grad is None for p in model.parameters())


def test_masks_and_labels_grow_with_it():
    prompt, labels = PromptTuning(6, 3), torch.tensor([[4, 5], [6, 7]])
    mask = torch.tensor([[False, True], [False, False]])
    assert prompt.extend_mask(mask).int().tolist() == [[0, 0, 0, 0, 1], [0, 0, 0, 0, 0]]
    longer = prompt.extend_labels(labels)
    logits = torch.randn(2, 5, 9)
    assert_close(
        F.cross_entropy(logits.flatten(0, 1), longer.flatten()),
        F.cross_entropy(logits[:, 3:].flatten(0, 1), labels.flatten()),
    )


def test_is_what_peft_puts_before_the_text():
    prompt_tuning = pytest.importorskip("peft.tuners.prompt_tuning", reason="peft is not installed")
    config = prompt_tuning.PromptTuningConfig(num_virtual_tokens=4, token_dim=6, num_transformer_submodules=1)
    theirs = prompt_tuning.PromptEmbedding(config, nn.Embedding(10, 6))
    ours = PromptTuning(6, 4, init=theirs.embedding.weight)
    x = torch.randn(2, 5, 6)
    expected = torch.cat([theirs(torch.arange(4).expand(2, -1)), x], dim=1)
    assert torch.equal(ours(x), expected)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PromptTuning(6, 0), "at least 1"),
        (lambda: PromptTuning(6, 2, init=torch.zeros(3, 6)), "init has shape"),
        (lambda: PromptTuning.from_vocabulary(nn.Embedding(3, 6), 4), "the vocabulary has 3"),
        (lambda: PromptTuning.from_text(nn.Embedding(3, 6), torch.zeros(1, 2, dtype=torch.long)), "list of at least"),
        (lambda: PromptTuning.from_text(nn.Embedding(3, 6), torch.zeros(0, dtype=torch.long)), "list of at least"),
        (lambda: PromptTuning(6, 2)(torch.zeros(1, 2, 5)), "stands before embeddings"),
        (lambda: PromptTuning(6, 2).extend_mask(torch.zeros(1, 2)), "torch.bool"),
        (lambda: PromptTuning(6, 2).extend_labels(torch.zeros(2)), "labels has shape"),
    ],
)
def test_what_does_not_fit_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_starts_from_the_embedding_layer_of_this_chapter_too():
    table = Embedding(20, 6, padding_idx=0)
    assert torch.equal(PromptTuning.from_text(table, torch.tensor([3, 5])).prompt, table.weight[[3, 5]])
    assert PromptTuning.from_vocabulary(table, 4).prompt.shape == (4, 6)
    assert torch.equal(PromptTuning.from_text(table, torch.tensor([3])).prompt, table.weight[[3]])


def test_a_random_start_has_the_deviation_of_one_half():
    assert_close(PromptTuning(100, 100).prompt.std(), torch.tensor(0.5), rtol=0.05, atol=0)
    assert PromptTuning(1, 1)(torch.zeros(2, 3, 1)).shape == (2, 4, 1)
