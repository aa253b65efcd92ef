"""Episodes per second: from packed images in memory on one thread, beside torchmeta's loader.

5-way 1-shot with 15 queries per class, from Omniglot (28x28x1) and MiniImagenet (84x84x3): the real
packs where `METABENCH_DATA` has them, else random pixels of their size. torchmeta, where it is
installed, gets the same pixels in memory.
"""

from __future__ import annotations

import itertools
import os
import statistics
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from race import Options, parse, steps_per_second

from metabench.errors import DataError, UsageError
from metabench.plugin.contracts.data import ClassData
from metabench.plugin.contracts.episode import EpisodeShape
from metabench.sampling.sampler import EpisodeSampler
from metabench.sampling.sources import open_source
from metabench_plugins.datasets import miniimagenet, omniglot
from metabench_plugins.datasets.parts.torchmeta_bridge import torchmeta_bridge

WAYS, SHOTS, QUERIES = 5, 1, 15
TRAIN = "meta-train"
Batches = Iterator[object]


def ours(data: ClassData, tasks: int) -> Batches:
    """Batches of metabench, as a run draws them."""
    sampler = EpisodeSampler(
        [open_source("images", data, device=torch.device("cpu"))],
        suite="speed",
        split=TRAIN,
        seed=0,
        shape=EpisodeShape(WAYS, SHOTS, QUERIES),
        balanced=False,
    )
    return sampler.stream(0, 2**40, tasks)


def theirs(data: ClassData, tasks: int) -> Batches:
    """Batches of torchmeta's loader: PIL images made tensors, as its datasets and helpers do."""
    torchmeta_bridge()
    from PIL import Image
    from torchmeta.transforms import Categorical, ClassSplitter
    from torchmeta.utils.data import (
        BatchMetaDataLoader,
        ClassDataset,
        CombinationMetaDataset,
        Dataset,
    )
    from torchvision.transforms import ToTensor

    pixels = data.images[..., 0] if data.images.shape[-1] == 1 else data.images
    to_tensor = ToTensor()

    class Examples(Dataset):  # type: ignore[misc]
        def __init__(self, index: int, target_transform: Any) -> None:
            super().__init__(index, target_transform=target_transform)
            c = data.splits[TRAIN][index]
            self.own = pixels[data.offsets[c] : data.offsets[c + 1]]

        def __len__(self) -> int:
            return len(self.own)

        def __getitem__(self, i: int) -> tuple[torch.Tensor, Any]:
            return to_tensor(Image.fromarray(self.own[i])), self.target_transform(self.index)

    class Classes(ClassDataset):  # type: ignore[misc]
        num_classes = len(data.splits[TRAIN])

        def __getitem__(self, index: int) -> Examples:
            return Examples(index, self.get_target_transform(index))

    splitter = ClassSplitter(shuffle=True, num_train_per_class=SHOTS, num_test_per_class=QUERIES)
    meta = CombinationMetaDataset(
        Classes(meta_train=True),
        WAYS,
        target_transform=Categorical(num_classes=WAYS),
        dataset_transform=splitter,
    )
    return itertools.chain.from_iterable(
        BatchMetaDataLoader(meta, batch_size=tasks, num_workers=0) for _ in itertools.count()
    )


def images(load: Callable[[], ClassData], sizes: tuple[int, ...]) -> tuple[ClassData, str]:
    """The real images, or random ones: classes, images per class, height, width, channels."""
    try:
        return load(), "real"
    except DataError:
        n_classes, per_class, *shape = sizes
    rng = np.random.default_rng(0)
    return ClassData(
        images=rng.integers(0, 256, (n_classes * per_class, *shape), dtype=np.uint8),
        offsets=np.arange(n_classes + 1, dtype=np.int64) * per_class,
        class_names=tuple(map(str, range(n_classes))),
        splits={TRAIN: np.arange(n_classes, dtype=np.int64)},
        fingerprint="random",
        rotations={},
    ), "random"


def compare(peers: Mapping[str, Batches], options: Options) -> None:
    """Print episodes per CPU second of each peer, and the ratio of ours to it."""
    rates: dict[str, list[float]] = {name: [] for name in peers}
    for turn in range(-1, options.rounds):
        for name, batches in peers.items():
            rate = options.tasks * steps_per_second(batches.__next__, options.seconds)
            # The first turn is slow where the system hands out memory slowly; it warms up.
            if turn >= 0:
                rates[name].append(rate)
    print(f"{'':12}{'episodes/s':>12}{'min':>10}{'max':>10}{'ours/it':>10}")
    for name, rate in rates.items():
        ratio = statistics.median(a / b for a, b in zip(rates["metabench"], rate, strict=True))
        print(
            f"{name:12}{statistics.median(rate):12.1f}{min(rate):10.1f}{max(rate):10.1f}"
            f"{ratio:10.1f}"
        )


def main() -> None:
    """Compare on both sizes."""
    options = parse(str(__doc__), tasks=16)
    print(f"torch {torch.__version__}, 1 thread of {os.cpu_count()}, {options.rounds} rounds")
    compare_on("omniglot", real_omniglot, (1100, 20, 28, 28, 1), options)
    compare_on("miniimagenet", real_miniimagenet, (64, 600, 84, 84, 3), options)


def compare_on(
    name: str, load: Callable[[], ClassData], sizes: tuple[int, ...], options: Options
) -> None:
    """Compare on one size."""
    data, kind = images(load, sizes)
    print(f"\n{name}, {kind} images, {data.images.shape}")
    peers = {"metabench": ours(data, options.tasks)}
    try:
        peers["torchmeta"] = theirs(data, options.tasks)
    except UsageError as error:
        print(f"{error.message} Ours runs alone.")
    compare(peers, options)


def real_omniglot() -> ClassData:
    """Omniglot as imported."""
    return omniglot.load(omniglot.OmniglotParams())


def real_miniimagenet() -> ClassData:
    """MiniImagenet as imported."""
    return miniimagenet.load(miniimagenet.MiniImagenetParams())


if __name__ == "__main__":
    main()
