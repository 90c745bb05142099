"""Recurrent layers beside torch's, and Mamba beside mambapy, with the same weights on the same sequences."""

from __future__ import annotations

from importlib.metadata import version

import torch
from bench import Case
from torch import nn

from nnvocab.recurrent import GRU, LSTM, RNN, Mamba


def cases() -> list[Case]:
    """LSTM, GRU and RNN against torch's; Mamba against mambapy's parallel scan."""
    from mambapy.mamba import MambaBlock, MambaConfig

    found = []
    for ours, theirs in ((LSTM, nn.LSTM), (GRU, nn.GRU), (RNN, nn.RNN)):
        for B, T, width, layers in ((16, 128, 128, 1), (8, 64, 64, 2)):
            torch.manual_seed(0)
            peer = theirs(width, width, layers, batch_first=True)
            layer = ours(width, width, layers, batch_first=True)
            layer.load_state_dict(peer.state_dict())
            x = torch.randn(B, T, width)
            found.append(
                Case(
                    f"{ours.__name__} B={B} T={T} width={width} layers={layers}",
                    ours.__name__,
                    f"torch.nn.{theirs.__name__} {torch.__version__}",
                    lambda layer=layer, x=x: layer(x),
                    lambda peer=peer, x=x: peer(x),
                )
            )
    for T in (256, 1024):
        torch.manual_seed(0)
        peer = MambaBlock(MambaConfig(d_model=64, n_layers=1))
        layer = Mamba(64)
        layer.load_state_dict(peer.state_dict())
        x = torch.randn(4, T, 64)
        found.append(
            Case(
                f"Mamba B=4 T={T} d_model=64",
                "Mamba",
                f"mambapy {version('mambapy')}",
                lambda layer=layer, x=x: layer(x),
                lambda peer=peer, x=x: peer(x),
                runs=10,
                goal=1.0,
            )
        )
    return found
