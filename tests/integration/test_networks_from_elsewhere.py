"""Networks of torchvision and timm, through the plugin that the documentation shows."""

from __future__ import annotations

import json
import warnings
from importlib import import_module
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from metabench.cli import app
from metabench.nn import lift
from metabench_plugins.datasets.parts.torchmeta_bridge import _import_torchvision

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "use-a-network-from-elsewhere.md"
SUITE = """
name: small-photos
version: 1
task: classification
metric: accuracy
space: conv4
sources: [{name: photos, dataset: image-folder, params: {path: photos, size: 32}}]
protocol: {ways: 2, shots: 1, queries: 2, episodes: 2}
settings: {2w1s: {}}
budgets:
  smoke: {meta_steps: 1, meta_batch: 2}
"""


def needs(package: str) -> None:
    """Skip without the package. torchvision may be built for another torch; timm imports it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _import_torchvision()
            import_module(package)
    except ImportError as error:
        pytest.skip(f"{package} cannot be imported: {error}")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The plugin of the page, and a suite of small images."""
    text = PAGE.read_text(encoding="utf-8")
    plugin = text.partition("<!-- file: published.py -->\n```python\n")[2].partition("```")[0]
    (tmp_path / "published.py").write_text(plugin, encoding="utf-8")
    (tmp_path / "small-photos.yaml").write_text(SUITE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("learner", ["maml", "protonet"])
@pytest.mark.parametrize(
    ("package", "network"), [("torchvision", "resnet18"), ("timm", "resnet10t")]
)
@pytest.mark.filterwarnings("default")
def test_a_published_network_is_trained(
    package: str, network: str, learner: str, folder: Path
) -> None:
    needs(package)
    words = f"run --plugin published.py --network {network} --suite small-photos.yaml --learner "
    words += f"{learner} --data synthetic --budget smoke --out R --device cpu"
    result = CliRunner().invoke(app, words.split())
    assert result.exit_code == 0, result.output
    (record,) = (folder / "R").rglob("run.json")
    found = json.loads(record.read_text())
    assert found["status"] == "done"
    assert found["spec"]["space"]["name"] == network
    assert found["spec"]["training"]["meta_steps"] == 1


@pytest.mark.slow
def test_a_lifted_resnet_is_the_resnet() -> None:
    needs("torchvision")
    resnet18 = import_module("torchvision.models").resnet18
    module = resnet18(num_classes=3)
    space = lift(module, head="fc")
    weights = space.init_weights(rng=torch.Generator())
    assert sum(w.numel() for w in weights.values()) == sum(w.numel() for w in module.parameters())
    x = torch.randn(2, 4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        ours = space.forward({name: w[None] for name, w in weights.items()}, {}, x)
        torch.testing.assert_close(ours, torch.stack([module(task) for task in x]))
