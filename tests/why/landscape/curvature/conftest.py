"""A tiny prompted ViT in float64 with its exact prompt Hessian, and matrices of known spectrum."""

import pytest
import torch

from vptft.why.landscape.curvature.exact import exact_matrix
from vptft.why.landscape.curvature.function import Batch
from vptft.why.landscape.curvature.hvp import HessianProducts, Products
from vptft.why.landscape.parameters import PROMPTS, space
from why.landscape.conftest import make_model


class Matrix(Products):
    """Products with a matrix that is there."""

    def __init__(self, matrix, dtype=torch.float64):
        super().__init__(len(matrix), dtype, torch.device("cpu"))
        self.matrix = torch.as_tensor(matrix).to(dtype)

    def _product(self, vector):
        return self.matrix @ vector


def of_spectrum(values, dtype=torch.float64, seed=0):
    """Matrix with these eigenvalues and random eigenvectors."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.as_tensor(values, dtype=torch.float64)
    turn = torch.linalg.qr(torch.randn(len(values), len(values), dtype=torch.float64, generator=generator))[0]
    return Matrix(turn @ torch.diag(values) @ turn.T, dtype)


def make_batch(n=6, seed=1, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return Batch(torch.randn(n, 3, 32, 32, generator=generator, dtype=dtype), torch.arange(n) % 3)


@pytest.fixture(scope="session")
def vit():
    """One prompt of 24 numbers before each of two layers."""
    return make_model(prompts=1, depth=2).double()


@pytest.fixture(scope="session")
def hessian(vit):
    return HessianProducts(vit, space(vit, PROMPTS), [make_batch()])


@pytest.fixture(scope="session")
def exact(hessian):
    """Its 48 x 48 matrix."""
    return exact_matrix(hessian)
