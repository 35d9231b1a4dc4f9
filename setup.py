"""Packaging of tapo-verl. The base install pins nothing that verl chooses: no torch, vllm or transformers."""

from pathlib import Path

from setuptools import find_namespace_packages, find_packages, setup

HERE = Path(__file__).parent
CPU_REQUIREMENTS = [
    line for line in (HERE / "requirements" / "cpu.txt").read_text().splitlines() if line and not line.startswith("#")
]

setup(
    name="tapo-verl",
    version="0.1.0",
    description="Trajectory-Augmented Policy Optimization (TAPO) as a plugin for verl",
    long_description=(HERE / "README.md").read_text(),
    long_description_content_type="text/markdown",
    python_requires=">=3.10,<3.13",
    # One directory on the path rather than an import hook: Hydra looks for its plugins in directories, so an editable
    # install would hide them otherwise.
    package_dir={"": "."},
    packages=find_packages(include=["tapo", "tapo.*"]) + find_namespace_packages(include=["hydra_plugins.*"]),
    package_data={
        "tapo": ["conf/tapo/*.yaml", "conf/*.yaml", "core/data/*", "evaluation/data/*", "inspection/page.*", "py.typed"]
    },
    install_requires=[
        "verl>=0.9.1,<0.10",
        "TransferQueue>=0.1.10",
        "datasets",
        "hydra-core",
        "jinja2",
        "math-verify",
        "matplotlib",
        "numpy",
        "openai",
        "orjson",
        "pyarrow",
        "pyyaml",
        "rich",
        "tenacity",
        "tensorboard",
        "typer",
    ],
    extras_require={
        "cpu": CPU_REQUIREMENTS,
        "vllm": ["verl[vllm]>=0.9.1,<0.10"],
        "dev": [
            "pytest",
            "pytest-asyncio",
            "pytest-timeout",
            "pytest-xdist",
            "hypothesis",
            "ruff",
            "mypy",
            "pre-commit",
            "psutil",
            "selenium",
        ],
    },
    entry_points={
        "verl.plugins": ["tapo = tapo.plugin"],
        "console_scripts": ["tapo = tapo.cli:main"],
    },
)
