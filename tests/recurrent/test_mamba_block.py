"""What the Mamba block and its language model must hold."""

import pytest
import torch
from torch.testing import assert_close

from nnvocab.recurrent import Mamba, MambaBlock, MambaLM


@pytest.mark.oracle("mamba-block", by="closed form")
def test_is_the_sum_of_what_it_reads_and_what_the_layer_makes_of_its_norm():
    block, x = MambaBlock(4).double(), torch.randn(2, 5, 4, dtype=torch.float64)
    with torch.no_grad():
        block.norm.weight.uniform_()
    normed = x / (x.square().mean(-1, keepdim=True) + 1e-5).sqrt() * block.norm.weight
    assert_close(block(x), x + block.mixer(normed))


def test_is_mambapys_residual_block_with_the_same_weights():
    mambapy = pytest.importorskip("mambapy.mamba", reason="mambapy is an optional peer")
    theirs = mambapy.ResidualBlock(mambapy.MambaConfig(d_model=8, n_layers=1))
    ours = MambaBlock(8)
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 20, 8)
    assert_close(ours(x), theirs(x), rtol=1e-4, atol=1e-5)


def test_one_token_after_the_other_is_the_whole_text():
    model, tokens, states, scores = MambaLM(10, 8, 2), torch.randint(10, (2, 12)), None, []
    for t in range(12):
        score, states = model.step(tokens[:, t], states)
        scores.append(score)
    assert_close(torch.stack(scores, 1), model(tokens), rtol=1e-4, atol=1e-5)


def test_the_model_is_two_ordinary_blocks_and_scores_by_the_embedding():
    model, tokens = MambaLM(10, 8), torch.randint(10, (2, 12))
    assert len(model.blocks) == 2
    x = model.embed(tokens)
    for block in model.blocks:
        block.load_state_dict(MambaBlock(8).state_dict())  # of the usual sizes
        x = block(x)
    normed = x / (x.square().mean(-1, keepdim=True) + 1e-5).sqrt() * model.norm.weight
    assert_close(model(tokens), normed @ model.embed.weight.T)


def test_it_writes_what_its_scores_say():
    model, prompt = MambaLM(10, 8, 2), torch.randint(10, (2, 4))
    with torch.no_grad():
        model.embed.weight.normal_()
    text = model.generate(prompt, 6, temperature=0)
    assert torch.equal(text[:, :4], prompt)
    assert torch.equal(text[:, 4:], model(text)[:, 3:-1].argmax(-1))


def test_the_same_generator_writes_the_same():
    model, prompt = MambaLM(10, 8, 1), torch.randint(10, (1, 3))
    one, other = (model.generate(prompt, 20, generator=torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(one, other)


@pytest.mark.parametrize(("options", "temperature"), [({}, 1.0), ({"temperature": 0.5}, 0.5)])
def test_it_draws_from_the_softmax_of_the_scores_over_the_temperature(options, temperature):
    model, prompt = MambaLM(5, 8, 1), torch.randint(5, (1, 3))
    with torch.no_grad():
        model.embed.weight.normal_(std=0.4)
        expected = (model(prompt)[0, -1] / temperature).softmax(-1)
    drawn = model.generate(prompt.expand(4000, -1), 1, generator=torch.Generator().manual_seed(1), **options)[:, -1]
    assert_close(drawn.bincount(minlength=5) / 4000, expected, rtol=0, atol=0.03)


def test_it_learns_a_pattern():
    torch.manual_seed(0)
    tokens = torch.tensor([0, 1, 0, 2, 0, 3]).repeat(4)[None]  # what follows a 0 depends on what stood before it
    model = MambaLM(4, 16, 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(60):
        loss = torch.nn.functional.cross_entropy(model(tokens)[0, :-1], tokens[0, 1:])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert (model(tokens)[0, 6:-1].argmax(-1) == tokens[0, 7:]).float().mean() > 0.95


def test_two_blocks_have_about_the_parameters_of_a_transformer_block():
    C = 256
    mamba = 2 * sum(p.numel() for p in Mamba(C).parameters())
    transformer = sum(p.numel() for p in torch.nn.TransformerEncoderLayer(C, 4, 4 * C).parameters())
    assert 0.95 < mamba / transformer < 1.25


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: MambaLM(10, 8)(torch.zeros(5, dtype=torch.long)), r"\(B, T\)"),
        (lambda: MambaLM(10, 8)(torch.zeros(1, 0, dtype=torch.long)), "at least one token"),
        (lambda: MambaLM(10, 8).step(torch.zeros(1, 1, dtype=torch.long)), r"\(B,\)"),
        (lambda: MambaLM(0, 8), "vocab_size 0"),
        (lambda: MambaLM(10, 8, num_layers=0), "num_layers 0"),
        (lambda: MambaLM(10, 8).scan(torch.zeros(1, 2, dtype=torch.long), []), "0 states"),
        (lambda: MambaLM(10, 8).generate(torch.zeros(1, 2, dtype=torch.long), -1), "steps is -1"),
        (lambda: MambaLM(10, 8).generate(torch.zeros(1, 2, dtype=torch.long), 1, temperature=-1.0), "temperature -1.0"),
    ],
)
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_tokens_that_are_no_integers_are_refused():
    with pytest.raises(TypeError, match=r"tokens\.long\(\)"):
        MambaLM(10, 8)(torch.zeros(1, 3))


def test_a_width_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"\(B, T, 4\)"):
        MambaBlock(4)(torch.randn(2, 3, 5))
