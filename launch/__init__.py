"""Launchers: any `signbind` command on a TPU pod, a GKE cluster or a SLURM cluster.

Python, because arguments and secrets have to pass through several programs unharmed, and every
step has to be tried again or told in one line when a cloud fails it. It imports nothing but the
standard library and light modules of the library (cli, errors, files), so a fresh checkout can
launch from a machine without JAX or numpy. What runs on the other side is plain shell (`worker.sh`,
`slurm_job.sh`), the same file for every job: arguments travel as arguments, never as text
pasted into a script.
"""
