"""Other ways to compute MAML's meta-gradient, one in a module.

Each module has ``meta_gradient(workload, weights, data)``, which returns a step, or None where the
peer cannot do what is asked. A module whose package is not installed raises ImportError.
"""

from __future__ import annotations

PEERS = {
    "plain loop": "plain_loop",
    "torch.func loop": "func_loop",
    "torch.func vmap": "func_vmap",
    "higher": "with_higher",
    "learn2learn": "with_learn2learn",
    "TorchOpt": "with_torchopt",
    "torchmeta": "with_torchmeta",
    "JAX jit": "with_jax",
}
"""Modules by the name that tables show."""
