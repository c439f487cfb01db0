"""Packaging of SignBind-JAX: `pip install -e .` gives the `signbind` command."""

from pathlib import Path

from setuptools import find_packages, setup

setup(
    name="signbind-jax",
    version="0.1.0",
    description="Multi-stream sign language translation in JAX: experts, fusion, LLM",
    long_description=(Path(__file__).parent / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=find_packages(include=["signbind_jax*", "configs*", "data_pipelines*", "launch*"]),
    package_data={
        "signbind_jax": ["report/*.html", "report/*.css"],
        "data_pipelines": ["extraction/requirements.txt", "extraction/worker/known_face.jpg"],
    },
    install_requires=[
        "absl-py>=2.1",
        "array-record>=0.8.1",
        "av>=14",
        "etils[epath]>=1.10",
        "flax>=0.12.8",
        "gguf>=0.19",
        "grain>=0.2.18",
        "huggingface-hub>=1.31",
        "jax>=0.10.2",
        "jinja2>=3.1",
        "ml-collections>=1.1",
        "numpy>=2.0",
        "optax>=0.2.8",
        "pocketsphinx>=5",
        "orbax-checkpoint>=0.12.8",
        "pillow>=10",
        "pose-format>=0.10",
        "psutil>=6",
        "sacrebleu>=2.6",
        "safetensors>=0.5",
        "simplejpeg>=1.8",
        "simplemma>=2.0",
        "stop-words>=2025.11",
        "tensorboardX>=2.6",
        "tensorflow-datasets>=4.9.10",
        "tokenizers>=0.22",
        "tqdm>=4.66",
        "transformers>=5.0",
    ],
    extras_require={
        "test": ["pytest>=8", "pytest-xdist>=3.6", "ruff>=0.9"],
        "bench": ["peft>=0.15", "torch>=2.5"],
        "tpu": ["jax[tpu]>=0.10.2"],
        "gpu": ["jax[cuda12]>=0.10.2"],
    },
    entry_points={"console_scripts": ["signbind=signbind_jax.cli:main"]},
)
