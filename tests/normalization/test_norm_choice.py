"""The choices of published models, held to the transformers library: by settings and by what their layers do."""

import pytest
import torch

from nnvocab.normalization import LayerNorm, RMSNorm
from nnvocab.normalization.norm_choice import NORM_CHOICES, published_norm

LIBRARY = {  # family -> configuration, where its epsilon stands, module, class of the layer
    "BERT": ("BertConfig", "layer_norm_eps", "torch.nn", "LayerNorm"),
    "GPT-2": ("GPT2Config", "layer_norm_epsilon", "torch.nn", "LayerNorm"),
    "GPT-NeoX": ("GPTNeoXConfig", "layer_norm_eps", "torch.nn", "LayerNorm"),
    "T5": ("T5Config", "layer_norm_epsilon", "transformers.models.t5.modeling_t5", "T5LayerNorm"),
    "LLaMA": ("LlamaConfig", "rms_norm_eps", "transformers.models.llama.modeling_llama", "LlamaRMSNorm"),
    "Gemma": ("GemmaConfig", "rms_norm_eps", "transformers.models.gemma.modeling_gemma", "GemmaRMSNorm"),
    "Qwen2": ("Qwen2Config", "rms_norm_eps", "transformers.models.qwen2.modeling_qwen2", "Qwen2RMSNorm"),
}


@pytest.mark.oracle("when-to-use-each-normalization", by="peer: transformers")
@pytest.mark.parametrize("family", LIBRARY)
def test_is_what_the_library_does(family):
    transformers = pytest.importorskip("transformers", reason="the peer that knows the published models")
    from importlib import import_module

    config, field, module, layer = LIBRARY[family]
    choice = published_norm(family)
    assert getattr(getattr(transformers, config)(), field) == choice.eps
    theirs, x = getattr(import_module(module), layer)(16, eps=choice.eps), 2 + torch.randn(5, 16)
    if family == "Gemma":  # its weight is stored less 1
        torch.nn.init.zeros_(theirs.weight)
    torch.testing.assert_close(choice(16)(x), theirs(x))


def test_gpt_neox_is_built_of_layer_norms():
    transformers = pytest.importorskip("transformers", reason="the peer that knows the published models")
    config = transformers.GPTNeoXConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32
    )
    with torch.device("meta"):
        model = transformers.GPTNeoXModel(config)
    kinds = {type(m).__name__ for m in model.modules() if "Norm" in type(m).__name__}
    assert kinds == {"LayerNorm"}


def test_every_choice_makes_a_layer():
    for family, choice in NORM_CHOICES.items():
        layer = choice(8)
        assert isinstance(layer, (LayerNorm, RMSNorm)) and layer.eps == choice.eps, family


@pytest.mark.parametrize("family", ["Llama 2", "Mistral"])
def test_the_epsilon_is_that_of_the_settings_published_with_the_weights(family):
    assert published_norm(family).eps == 1e-5  # norm_eps of params.json


def test_a_family_that_is_not_listed_is_refused():
    with pytest.raises(KeyError, match="listed are BERT"):
        published_norm("GPT-5")
