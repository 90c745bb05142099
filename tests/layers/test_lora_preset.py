"""What the fine-tuning preset must hold; the contract tests run on every entry beside these."""

import pytest
import torch
import torch.nn.functional as F

from nnvocab.layers.letters import letter_transformer, source_letters
from nnvocab.layers.lora_preset import adapt_letters, held_out_loss, read_lora_preset, run_lora_preset

yaml = pytest.importorskip("yaml", reason="pyyaml is not installed")
pydantic = pytest.importorskip("pydantic", reason="pydantic is not installed")


@pytest.mark.oracle("lora-fine-tuning-preset", by="brute force")
def test_it_reports_the_losses_that_one_measures_by_hand():
    report, model = run_lora_preset(steps=12)
    _, held = source_letters()
    starts = torch.randint(len(held) - 48, (256, 1), generator=torch.Generator().manual_seed(1)).flatten().tolist()
    for net, said in ((letter_transformer(), report.before), (model, report.after)):
        total = 0.0
        with torch.no_grad():
            for s in starts[:]:
                window = held[s : s + 48]
                total += F.cross_entropy(net(window[None])[0, :-1], window[1:], reduction="sum").item()
        assert said == pytest.approx(total / (256 * 47), rel=1e-4)
    assert report.after < report.before - 0.2
    assert report.trainable == 2 * 2 * (4 * 32 + 32 * 4) == sum(t.numel() for t in model.adapter_state_dict().values())
    assert report.total == sum(p.numel() for p in letter_transformer().parameters()) + report.trainable
    assert report.share == report.trainable / report.total < 0.05


def test_nothing_but_the_changes_was_trained_and_merged_it_says_the_same():
    report, model = run_lora_preset(steps=3)
    frozen = letter_transformer().state_dict()
    for name, weight in model.model.state_dict().items():
        if "lora_" not in name:
            assert torch.equal(weight, frozen[name.replace(".base.", ".")])
    model.merge()
    assert held_out_loss(model, source_letters()[1]) == pytest.approx(report.after, rel=1e-5)


def test_the_same_seed_gives_the_same_report():
    assert run_lora_preset(steps=2)[0] == run_lora_preset(steps=2)[0] != run_lora_preset(steps=2, seed=1)[0]


def write(tmp_path, change):
    given = read_lora_preset().model_dump()
    change(given)
    file = tmp_path / "preset.yml"
    file.write_text(yaml.safe_dump(given))
    return file


def test_a_file_of_ones_own_is_read(tmp_path):
    file = write(tmp_path, lambda p: p["lora"].update(targets=["o"], r=2))
    assert read_lora_preset(file).lora.targets == ["o"]
    report, model = run_lora_preset(file, steps=1)
    assert model.adapted == ("blocks.0.attention.out", "blocks.1.attention.out") and report.trainable == 2 * 2 * 64


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda p: p["lora"].update(rank=8), "rank"),
        (lambda p: p.update(lora_rank=8), "lora_rank"),
        (lambda p: p["lora"].pop("r"), "r"),
        (lambda p: p["lora"].update(targets=["x"]), "targets"),
        (lambda p: p["train"].update(lr=-1.0), "lr"),
        (lambda p: p["train"].update(lr=0.0), "lr"),
        (lambda p: p["train"].update(steps=0), "steps"),
        (lambda p: p["train"].update(batch_size=0), "batch_size"),
        (lambda p: p["lora"].update(r=0), "r"),
        (lambda p: p["lora"].update(lora_alpha=0.0), "lora_alpha"),
        (lambda p: p["lora"].update(lora_dropout=1.0), "lora_dropout"),
        (lambda p: p["lora"].update(targets=[]), "targets"),
    ],
)
def test_an_unknown_key_or_a_value_that_does_not_fit_is_an_error(tmp_path, change, named):
    with pytest.raises(ValueError, match=named):
        read_lora_preset(write(tmp_path, change))


def test_training_without_a_step_is_refused():
    with pytest.raises(ValueError, match="steps is 0"):
        run_lora_preset(steps=0)


def test_a_preset_that_does_not_exist_is_refused():
    with pytest.raises(FileNotFoundError, match="lora_finetune"):
        read_lora_preset("nothing")


def test_training_is_adam_with_a_rate_that_falls_to_zero():
    text, trained, by_hand = source_letters()[0], letter_transformer(), letter_transformer()
    adapt_letters(trained, text, steps=2, batch_size=3, lr=0.01, seed=5)
    optimizer, draw = torch.optim.Adam(by_hand.parameters()), torch.Generator().manual_seed(5)
    for lr in (0.01, 0.005):
        optimizer.param_groups[0]["lr"] = lr
        ids = torch.stack([text[s : s + 48] for s in torch.randint(len(text) - 48, (3, 1), generator=draw).flatten()])
        optimizer.zero_grad()
        F.cross_entropy(by_hand(ids)[:, :-1].flatten(0, 1), ids[:, 1:].flatten()).backward()
        optimizer.step()
    for ours, expected in zip(trained.parameters(), by_hand.parameters(), strict=True):
        torch.testing.assert_close(ours, expected)
    assert not trained.training


def test_the_smallest_values_are_read_and_what_is_left_out_is_zero(tmp_path):
    def small(given):
        given["lora"] = {"r": 1, "lora_alpha": 0.5, "targets": ["q"]}
        given["train"] = {"steps": 1, "batch_size": 1, "lr": 1e-5}

    preset = read_lora_preset(write(tmp_path, small))
    assert (preset.lora.r, preset.lora.lora_dropout, preset.train.steps, preset.train.seed) == (1, 0.0, 1, 0)
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        preset.lora.r = 2
