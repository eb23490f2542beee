"""A fixture for tests that compute with PyTorch."""

import pytest

__all__ = ["one_thread"]


@pytest.fixture(scope="module")
def one_thread():
    """Sums in the same order at every run; more threads only cost time on tiny images and networks."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
