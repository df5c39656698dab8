"""The layers on Molchanov's own case: LeNet-300-100 on 28x28 digits, made here by distorting glyphs."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor, nn

from vd_policy.policy.layers import total_kl
from vd_policy.policy.variational import VariationalLinear

SIDE = 28
TRAINING, TEST = 4000, 1000
EPOCHS, PLAIN_EPOCHS, BATCH = 40, 12, 100
WARMUP = 0.4
GLYPH_SCALE = (16, 20)
"""Height of a digit [pixels], smallest and largest."""


def digits(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Digits of several sizes, places, slants and strengths on a noisy ground, (N, 784), and their classes."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 10, count)
    images = np.stack([distorted(int(label), rng) for label in labels])
    noisy = np.clip(images + rng.normal(0.0, 0.05, images.shape), 0.0, 1.0)
    return torch.from_numpy(noisy.astype(np.float32)).flatten(1), torch.from_numpy(labels)


def distorted(digit: int, rng: np.random.Generator) -> np.ndarray:
    height = int(rng.integers(*GLYPH_SCALE))
    angle, shear = rng.uniform(-0.12, 0.12), rng.uniform(-0.12, 0.12)
    shift = rng.uniform(-1.0, 1.0, 2)
    cos, sin = np.cos(angle), np.sin(angle)
    centre = SIDE / 2
    rows = np.array([[cos, sin + shear], [-sin, cos]])
    offset = centre - rows @ (centre + shift)
    affine = (*rows[0], offset[0], *rows[1], offset[1])
    image = glyph(digit, height).transform((SIDE, SIDE), Image.Transform.AFFINE, affine, Image.Resampling.BILINEAR)
    return np.asarray(image, np.float64) / 255.0 * rng.uniform(0.6, 1.0)


@functools.cache
def glyph(digit: int, height: int) -> Image.Image:
    image = Image.new("L", (SIDE, SIDE))
    font = ImageFont.load_default(height)
    ImageDraw.Draw(image).text((SIDE / 2, SIDE / 2), str(digit), fill=255, font=font, anchor="mm")
    return image


def lenet(layer: type[nn.Linear]) -> nn.Sequential:
    return nn.Sequential(layer(SIDE * SIDE, 300), nn.ReLU(), layer(300, 100), nn.ReLU(), layer(100, 10))


def fit(network: nn.Module, images: Tensor, labels: Tensor, epochs: int) -> None:
    """Cross entropy plus beta KL / N with Adam, beta rising over the warm-up."""
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    steps, step = epochs * len(images) // BATCH, 0
    for _ in range(epochs):
        for rows in torch.randperm(len(images)).split(BATCH):
            beta = min(1.0, step / (WARMUP * steps))
            loss = F.cross_entropy(network(images[rows]), labels[rows]) + beta * total_kl(network) / len(images)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1


@torch.no_grad()
def accuracy(network: nn.Module, images: Tensor, labels: Tensor) -> float:
    return float((network.eval()(images).argmax(1) == labels).to(torch.float32).mean())


def weight_count(network: nn.Module) -> tuple[int, int]:
    """All weights, and those that the threshold leaves."""
    layers = [layer for layer in network if isinstance(layer, VariationalLinear)]
    return sum(layer.weight.numel() for layer in layers), sum(int(layer.mask().sum()) for layer in layers)


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield
    torch.set_num_threads(threads)


def test_lenet_is_compressed_forty_times_and_hardly_loses_accuracy():
    images, labels = digits(TRAINING, seed=1)
    unseen = digits(TEST, seed=2)
    plain, sparse = lenet(nn.Linear), lenet(VariationalLinear)
    fit(plain, images, labels, PLAIN_EPOCHS)
    fit(sparse, images, labels, EPOCHS)
    every, left = weight_count(sparse)
    assert every == 266_200
    assert every >= 40 * left
    assert accuracy(plain, *unseen) > 0.97
    assert accuracy(sparse, *unseen) >= accuracy(plain, *unseen) - 0.015
