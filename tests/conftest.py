"""What all tests share: the device they run on, and one thread a process so that parallel runs do not fight."""

from __future__ import annotations

import pytest
import torch

pytest.register_assert_rewrite("tests.browser")  # its checks tell what they found, like those of a test


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--device", default="cpu", help="where tests of the modules run: cpu or cuda")
    parser.addoption("--pictures", action="store_true", help="store a picture of every page: tests/site/artefacts")


@pytest.fixture(scope="session")
def device(request: pytest.FixtureRequest) -> torch.device:
    """The device under test; on a machine with a GPU: ``pytest --device cuda``."""
    chosen = torch.device(request.config.getoption("--device"))
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise pytest.UsageError("--device cuda was asked for, but torch sees no GPU")
    if chosen.type == "cuda":  # the same numbers each time, and float32 that is float32
        torch.backends.cudnn.deterministic, torch.backends.cudnn.allow_tf32 = True, False
    return chosen


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def pytest_configure(config: pytest.Config) -> None:
    torch.set_num_threads(1)
