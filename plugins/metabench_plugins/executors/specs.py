"""Specs of the built-in executors; the code of an executor is imported when it is used."""

from __future__ import annotations

from collections.abc import Iterator

from metabench import ExecutorSpec


def executor_specs() -> Iterator[ExecutorSpec]:
    """Processes on this machine, a Ray cluster, or a Slurm cluster."""
    yield ExecutorSpec(
        name="local",
        version=1,
        summary="Runs on this machine, one after another or in several processes.",
        params="metabench.running.executors.local:LocalParams",
        factory="metabench.running.executors.local:LocalExecutor",
    )
    yield ExecutorSpec(
        name="ray",
        version=1,
        summary="Runs on a Ray cluster, each as one Ray task.",
        params="metabench_plugins.executors.on_ray:RayParams",
        factory="metabench_plugins.executors.on_ray:RayExecutor",
        remote=True,
        reference="Moritz et al., OSDI 2018",
    )
    yield ExecutorSpec(
        name="slurm",
        version=1,
        summary="Runs on a Slurm cluster, each as one job of an array.",
        params="metabench_plugins.executors.on_slurm:SlurmParams",
        factory="metabench_plugins.executors.on_slurm:SlurmExecutor",
        remote=True,
        reference="Yoo et al., JSSPP 2003",
    )
