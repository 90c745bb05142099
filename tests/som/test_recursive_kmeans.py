"""Layers inside layers: the nesting, the tree, and training end to end."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from nnvocab.som.kmeans_layer import KMeansLayer
from nnvocab.som.recursive_kmeans import RecursiveKMeans
from nnvocab.som.soft_assignment import soft_assignment


def kinds(seed=0):
    """Six kinds in two families: inputs, kind, family."""
    generator = torch.Generator().manual_seed(seed)
    family = torch.tensor([[-4.0, 0.0], [4.0, 0.0]])
    kind = family.repeat_interleave(3, 0) + 1.2 * torch.tensor([[0, 1], [1, -0.6], [-1, -0.6]]).repeat(2, 1)
    label = torch.arange(6).repeat_interleave(50)
    return kind[label] + 0.15 * torch.randn(300, 2, generator=generator), label, label // 3


@pytest.mark.oracle("recursive-k-means-layers", by="brute force")
@pytest.mark.parametrize("between", ["reconstruction", "probabilities"])
def test_it_is_one_layer_after_the_other_written_out(between):
    tree = RecursiveKMeans(3, (5, 3, 2), encoder=nn.Linear(4, 3), temperature=(0.5, 0.7, 0.9), between=between)
    x = torch.randn(6, 4)
    z = tree.levels[0].encoder(x)
    for layer, tau in zip(tree.levels, (0.5, 0.7, 0.9), strict=True):
        shares = soft_assignment(z, layer.centres, tau)
        z = shares @ layer.centres if between == "reconstruction" else shares
    assert_close(tree(x), shares)


def test_a_level_is_the_sub_network_of_the_next():
    tree = RecursiveKMeans(3, (5, 3, 2))
    fine, middle, coarse = tree.levels
    assert coarse.encoder is middle and middle.encoder is fine and fine.encoder is None
    assert all(isinstance(layer, KMeansLayer) for layer in tree.levels)
    assert [len(p) for p in tree.parameters()] == [2, 3, 5]


@pytest.mark.parametrize("between", ["reconstruction", "probabilities"])
def test_trained_end_to_end_it_finds_kinds_inside_families(between):
    x, kind, family = kinds()
    tree = RecursiveKMeans(2, (6, 2), temperature=(0.3, 1.0 if between == "reconstruction" else 0.2), between=between)
    tree.init_centres(x, generator=torch.Generator().manual_seed(0))
    head = nn.Linear(2, 2)  # names the coarse clusters
    optimizer = torch.optim.Adam([*tree.parameters(), *head.parameters()], lr=0.05)
    for _ in range(80):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(head(tree(x)), family) + 0.3 * tree.levels[0].clustering_loss(x)
        loss.backward()
        optimizer.step()
    fine, coarse = tree.path(x).unbind(-1)
    assert (head(tree(x)).argmax(-1) == family).all()
    assert (coarse == coarse[0]).eq(family == family[0]).all()
    parents = tree.taxonomy()[0]
    assert (parents[fine] == coarse).float().mean() > 0.95  # the tree says what the layers do
    assert all(len(fine[kind == k].unique()) == 1 for k in range(6))


def test_the_tree_of_known_centres_is_read_off():
    tree = RecursiveKMeans(1, (4, 2))
    tree.levels[0].centres.data = torch.tensor([[0.0], [9.0], [1.0], [10.0]])
    tree.levels[1].centres.data = torch.tensor([[0.0], [10.0]])
    assert tree.taxonomy()[0].tolist() == [0, 1, 0, 1]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"num_clusters": (4,)}, "two levels"),
        ({"num_clusters": (4, 2), "temperature": (1.0, 1.0, 1.0)}, "one temperature"),
        ({"between": "features"}, "between is 'features'"),
    ],
)
def test_what_makes_no_sense_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        RecursiveKMeans(3, **given)


def test_one_number_of_clusters_is_refused_and_a_list_is_taken():
    with pytest.raises(TypeError, match=r"give e.g. \(8, 2\)"):
        RecursiveKMeans(3, 8)
    assert [layer.temperature for layer in RecursiveKMeans(3, [4, 2], temperature=[0.5, 0.7]).levels] == [0.5, 0.7]
