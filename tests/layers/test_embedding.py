"""What only the embedding layer must hold; the contract tests run on every entry beside these."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from nnvocab.layers.embedding import Embedding, embedding, embedding_lookup


@pytest.mark.oracle("embedding-layer", by="brute force")
def test_is_the_row_of_each_number():
    ids, table = torch.tensor([[1, 4], [0, 1]]), torch.randn(5, 3)
    for form in (embedding, embedding_lookup):
        y = form(ids, table)
        for b in range(2):
            for t in range(2):
                assert_close(y[b, t], table[ids[b, t]])


def test_lookup_agrees_with_the_product_of_one_hot_vectors_and_its_gradient():
    ids, table = torch.tensor([[1, 4], [0, 1]]), torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    plain, fast = embedding(ids, table), embedding_lookup(ids, table)
    assert_close(plain, fast)
    weights = torch.randn_like(plain)
    assert_close(
        torch.autograd.grad((plain * weights).sum(), table), torch.autograd.grad((fast * weights).sum(), table)
    )


@pytest.mark.parametrize(
    "options",
    [{}, {"padding_idx": 2}, {"padding_idx": -1}, {"max_norm": 1.0}, {"max_norm": 1.0, "norm_type": 1.0}],
    ids=str,
)
def test_is_torchs_layer_from_the_same_seed(options):
    layers = []
    for kind in (Embedding, nn.Embedding):
        torch.manual_seed(0)
        layers.append(kind(5, 3, **options))
    assert_close(dict(layers[0].state_dict()), dict(layers[1].state_dict()), rtol=0, atol=0)
    ids = torch.tensor([[1, 4, 2], [0, 1, 2]])
    assert_close(layers[0](ids), layers[1](ids))
    for layer in layers:
        layer(ids).square().sum().backward()
    assert_close(layers[0].weight.grad, layers[1].weight.grad)
    assert_close(layers[0].weight, layers[1].weight)  # max_norm cuts the rows of the table itself


def test_only_rows_that_were_read_get_a_gradient_and_padding_gets_none():
    layer = Embedding(6, 3, padding_idx=0)
    layer(torch.tensor([0, 2, 2, 5])).sum().backward()
    assert (layer.weight.grad != 0).any(1).tolist() == [False, False, True, False, False, True]
    assert_close(layer.weight.grad[2], torch.full((3,), 2.0))  # read twice


def test_the_sparse_gradient_holds_the_rows_read_and_moves_no_other():
    dense, sparse = Embedding(6, 3), Embedding(6, 3, sparse=True)
    sparse.load_state_dict(dense.state_dict())
    ids = torch.tensor([2, 5, 2])
    for layer in (dense, sparse):
        layer(ids).square().sum().backward()
    assert not dense.weight.grad.is_sparse and sparse.weight.grad.is_sparse
    assert_close(sparse.weight.grad.to_dense(), dense.weight.grad)
    before = sparse.weight.detach().clone()
    torch.optim.SparseAdam(sparse.parameters(), lr=0.1).step()
    assert ((sparse.weight != before).any(1)).tolist() == [False, False, True, False, False, True]


def test_adamw_moves_rows_that_no_batch_has_read():
    layer = Embedding(4, 3)
    before, optimizer = layer.weight.detach().clone(), torch.optim.AdamW(layer.parameters(), lr=0.1, weight_decay=0.1)
    for ids in ([1], [2]):
        optimizer.zero_grad()
        layer(torch.tensor(ids)).sum().backward()
        optimizer.step()
    assert layer.weight.grad.shape == (4, 3)
    assert_close(layer.weight[3], before[3] * (1 - 0.1 * 0.1) ** 2)


def test_a_padding_row_is_not_kept_at_zero():
    made = Embedding.from_pretrained(torch.ones(4, 3), freeze=False, padding_idx=0)
    assert_close(made.weight[0], torch.ones(3))
    made(torch.tensor([0, 1])).sum().backward()
    torch.optim.AdamW(made.parameters(), lr=0.1, weight_decay=0.1).step()
    assert_close(made.weight[0], torch.full((3,), 0.99))
    assert not Embedding.from_pretrained(torch.ones(4, 3)).weight.requires_grad


def test_dropout_drops_whole_rows_of_the_table_and_keeps_the_mean():
    layer = Embedding(2000, 4, dropout=0.25)
    nn.init.ones_(layer.weight)
    ids = torch.arange(2000).repeat(2, 1)
    y = layer(ids)
    assert_close(y[0], y[1])  # the same row is dropped at every place
    assert set(y.unique().tolist()) == {0.0, (torch.ones(()) / 0.75).item()}
    assert ((y == 0).all(-1) | (y > 0).all(-1)).all()
    assert abs(y.mean().item() - 1) < 0.1
    assert_close(layer.eval()(ids), torch.ones(2, 2000, 4))


def test_what_makes_no_lookup_is_refused():
    with pytest.raises(ValueError, match="padding_idx is 5"):
        Embedding(5, 3, padding_idx=5)
    with pytest.raises(ValueError, match="dropout is 1"):
        Embedding(5, 3, dropout=1.0)
    with pytest.raises(TypeError, match="whole numbers are needed"):
        Embedding(5, 3)(torch.tensor([1.0]))
    with pytest.raises(ValueError, match="at least 1"):
        Embedding(5, 0)
    for norms in ({"max_norm": 0.0}, {"max_norm": float("nan")}, {"max_norm": 1.0, "norm_type": 0.0}):
        with pytest.raises(ValueError, match="must be above 0"):
            Embedding(5, 3, **norms)
    with pytest.raises(ValueError, match="a table of two axes"):
        Embedding.from_pretrained(torch.zeros(5))
    with pytest.raises(IndexError, match="ids go from 1 to 7, but the table has the rows 0 to 4"):
        Embedding(5, 3)(torch.tensor([1, 7]))


def test_the_smallest_is_one_number_and_it_shows_its_sizes():
    assert Embedding(1, 1)(torch.tensor([0, 0])).shape == (2, 1)
    assert repr(Embedding(5, 3, padding_idx=-1)) == "Embedding(5, 3, padding_idx=4, sparse=False)"
