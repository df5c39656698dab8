"""How fast bags become arrays, and arrays batches: both on one core, from demonstrations made on the spot."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np

from vd_policy.base.seeds import Seeds
from vd_policy.demos.dataset import Dataset
from vd_policy.demos.demonstrate import demonstrate
from vd_policy.demos.demonstrator import DemonstrationSettings

BATCH = 64


def bench_dataset(
    size: int = 128, *, samples: int = 2000, batches: int = 400, folder: str | Path | None = None, seed: int = 0
) -> dict[str, float]:
    """Demonstrate, convert, and draw random batches.

    Args:
        size: image height and width [pixels].
        samples: state-label pairs.
        batches: of 64 samples, drawn in random order.
        folder: where the bags go; a temporary one by default.
        seed: of demonstrations and order.

    Returns:
        Demonstrated samples a second on two cores; MB of arrays converted a second, MB of bags read for them, and the
        seconds that 1 GB of arrays takes; samples a second into batches, as NumPy copies.
    """
    with tempfile.TemporaryDirectory(prefix="vd_policy-", dir=folder) as place:
        bags = Path(place) / "bags"
        begun_s = time.perf_counter()
        demonstrate(DemonstrationSettings(image_height=size, image_width=size), samples, bags, seed=seed, workers=2)
        recorded_s = time.perf_counter() - begun_s
        begun_s = time.process_time()
        dataset = Dataset(bags)
        convert_s = time.process_time() - begun_s
        array_mb = sum(a.nbytes for a in (dataset.rgb, dataset.depth, dataset.q, dataset.label)) / 1e6
        bag_mb = sum(f.stat().st_size for f in bags.rglob("*.mcap")) / 1e6
        rng = Seeds(seed).rng("batches")
        order = [rng.integers(0, len(dataset), BATCH) for _ in range(batches)]
        begun_s = time.process_time()
        drawn = sum(_size(dataset, indices) for indices in order)
        batch_s = time.process_time() - begun_s
    return {
        "demonstrated_samples_per_s": samples / recorded_s,
        "converted_array_mb_per_cpu_s": array_mb / convert_s,
        "converted_bag_mb": bag_mb,
        "cpu_s_per_gb_of_arrays": 1000 * convert_s / array_mb,
        "batch_samples_per_cpu_s": drawn / batch_s,
    }


def _size(dataset: Dataset, indices: np.ndarray) -> int:
    return len(dataset.batch(indices)[1])
