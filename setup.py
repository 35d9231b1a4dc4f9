"""Packaging of tapo-verl. The base install pins nothing that verl chooses: no verl, torch, vllm or transformers."""

from pathlib import Path

from setuptools import find_namespace_packages, find_packages, setup

HERE = Path(__file__).parent
CPU_REQUIREMENTS = [
    line for line in (HERE / "requirements" / "cpu.txt").read_text().splitlines() if line and not line.startswith("#")
]
# `recipes` and `run_scripts` are links to the repository's `recipe/tapo` and `run_scripts`.
PACKAGE_DATA = [
    "cold_start/*.j2",
    "conf/tapo/*.yaml",
    "core/data/*",
    "evaluation/data/*",
    "inspection/page.*",
    "launch/contract.yaml",
    "planning/models/*.json",
    "platforms/cpu_environment.yaml",
    "py.typed",
    "recipes/README.md",
    "recipes/REQUIRED_VERL.txt",
    "recipes/config/*",
    "recipes/config/overlay/*",
    "recipes/config/run/*",
    "recipes/config/training/*",
    "run_scripts/baseline_sft.sh",
    "run_scripts/cold_start.sh",
    "run_scripts/cold_start_sft.sh",
    "run_scripts/evaluate.sh",
    "run_scripts/grpo_fsdp.sh",
    "run_scripts/launch.sh",
    "run_scripts/ray_job.sh",
    "run_scripts/slurm.sh",
    "run_scripts/tapo_fsdp.sh",
    "run_scripts/tapo_megatron.sh",
]

setup(
    name="tapo-verl",
    version="0.1.0",
    description="Trajectory-Augmented Policy Optimization (TAPO) as a plugin for verl",
    long_description=(HERE / "README.md").read_text(),
    long_description_content_type="text/markdown",
    author="TAPO for verl contributors",
    license="Apache-2.0",
    license_files=["LICENSE"],
    url="https://arxiv.org/abs/2606.18844",
    keywords=["reinforcement learning", "large language models", "GRPO", "TAPO", "verl"],
    classifiers=[
        "Development Status :: 4 - Beta",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
    python_requires=">=3.10,<3.13",
    # One directory on the path rather than an import hook: Hydra looks for its plugins in directories, so an editable
    # install would hide them otherwise.
    package_dir={"": "."},
    packages=find_packages(include=["tapo", "tapo.*"]) + find_namespace_packages(include=["hydra_plugins.*"]),
    package_data={"tapo": PACKAGE_DATA},
    install_requires=[
        # No upper bound: a nightly stays, and a run's start says what a newer verl has changed (tapo.launch.contract).
        "verl>=0.9.1",
        "TransferQueue>=0.1.10",
        "datasets",
        "hydra-core",
        "jinja2",
        "markupsafe",
        "math-verify",
        "matplotlib",
        "numpy",
        "omegaconf",
        "openai",
        "orjson",
        "pandas",
        "psutil",
        "pyarrow",
        "pydantic>=2.7",
        "pyyaml",
        "rapidfuzz",
        "ray",
        "rich",
        "sympy",
        "tenacity",
        "tensorboard",
        "tensordict",
        "torch",
        "transformers",
        "typer",
        "typing_extensions",
        "wrapt",
    ],
    extras_require={
        "cpu": CPU_REQUIREMENTS,
        # verl's own extras, whose pins are its choice. Training on GPUs needs `fsdp` or `megatron`, which bring
        # flash-attn, beside the rollout engine.
        "vllm": ["verl[vllm]"],
        "sglang": ["verl[sglang]"],
        "fsdp": ["verl[fsdp]"],
        "megatron": ["verl[megatron]"],
        "dev": [
            "pytest",
            "pytest-asyncio",
            "pytest-timeout",
            "pytest-xdist",
            "hypothesis",
            "import-linter",
            "ruff",
            "mypy",
            "pre-commit",
            "selenium",
            "setuptools>=68",
        ],
    },
    entry_points={
        "verl.plugins": ["tapo = tapo.plugin"],
        "console_scripts": ["tapo = tapo.cli:main"],
    },
)
