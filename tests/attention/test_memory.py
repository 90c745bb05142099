"""The memory counter: what lives at the same time counts, what is freed does not, what was given does not."""

import torch

from nnvocab.attention import peak_bytes


def test_what_lives_together_is_added_up():
    x = torch.zeros(1000)  # 4000 bytes, given from outside
    assert peak_bytes(lambda: x + 1) == 4000
    assert peak_bytes(lambda: (x + 1) + (x + 2)) == 12000


def test_what_is_freed_is_taken_off():
    x = torch.zeros(1000)

    def chain():
        y = x
        for _ in range(10):
            y = y + 1
        return y

    assert peak_bytes(chain) == 8000


def test_views_and_changes_in_place_cost_nothing():
    x = torch.zeros(1000)
    assert peak_bytes(lambda: x.view(10, 100).T.add_(1)) == 0


def test_what_the_backward_pass_needs_is_counted():
    x = torch.zeros(1000, requires_grad=True)
    assert peak_bytes(lambda: x.exp().exp().sum().backward()) >= 3 * 4000
