"""Episodes per second: from packed images in memory on one thread, beside torchmeta's loader.

5-way 1-shot with 15 queries per class, from Omniglot (28x28x1) and MiniImagenet (84x84x3): the real
packs where `METABENCH_DATA` has them, else random pixels of their size. torchmeta, where it is
installed, gets the same pixels in memory.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from race import Local
from revision import (
    ClassData,
    DataError,
    EpisodeSampler,
    EpisodeShape,
    UsageError,
    open_source,
    torchmeta_bridge,
)
from workload import Facts

from metabench_plugins.datasets import miniimagenet, omniglot

WAYS, SHOTS, QUERIES, TASKS = 5, 1, 15, 16
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


@dataclass(frozen=True, slots=True)
class Sampling:
    """Batches of 16 episodes from images in memory.

    Attributes:
        name: of the workload.
        sizes: classes, images per class, height, width, channels, of random images.
    """

    name: str
    sizes: tuple[int, ...]

    @property
    def summary(self) -> str:
        """One line."""
        height, width, channels = self.sizes[2:]
        return (
            f"episodes, 5-way 1-shot, 15 queries, {height}x{width}x{channels}, batches of {TASKS}"
        )

    def images(self) -> tuple[ClassData, str]:
        """The real images, or random ones."""
        try:
            if self.name == "episodes-28":
                return omniglot.load(omniglot.OmniglotParams()), "real images"
            return miniimagenet.load(miniimagenet.MiniImagenetParams()), "real images"
        except DataError:
            n_classes, per_class, *shape = self.sizes
        rng = np.random.default_rng(0)
        return ClassData(
            images=rng.integers(0, 256, (n_classes * per_class, *shape), dtype=np.uint8),
            offsets=np.arange(n_classes + 1, dtype=np.int64) * per_class,
            class_names=tuple(map(str, range(n_classes))),
            splits={TRAIN: np.arange(n_classes, dtype=np.int64)},
            fingerprint="random",
            rotations={},
        ), "random images"

    def ours(self) -> Mapping[str, Local]:
        """The sampler of a run."""
        return {"sampler": Local(ours(self.images()[0], TASKS).__next__, TASKS)}

    def peers(self) -> Mapping[str, Local]:
        """torchmeta's loader, where it is installed."""
        try:
            return {"torchmeta": Local(theirs(self.images()[0], TASKS).__next__, TASKS)}
        except UsageError:
            return {}

    def facts(self) -> Facts:
        """Which images."""
        return Facts(note=self.images()[1])
