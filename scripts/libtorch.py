#!/usr/bin/env python3
"""Fetch libtorch 2.11.0 from the PyPI wheels into one stable folder outside the checkout.

    scripts/libtorch.py            what compiling, linking and running on a CPU need (about 500 MB kept)
    scripts/libtorch.py --cuda     the CUDA half as well (2.7 GB more)
    scripts/libtorch.py --where    only print the folder

The folder is $YF_LIBTORCH_HOME, or libtorch-2.11.0 under $XDG_CACHE_HOME/yf (~/.cache/yf). In it,
`torch/` and `nvidia/` lie side by side, because torch's own search path is relative.
Wheels are checked by pip against the registry's hashes; unpacking goes to a sibling folder that is
renamed when complete, so an interrupted run leaves nothing half done.
"""

import argparse
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.request
import zipfile
from pathlib import Path

VERSION = "2.11.0"
BUILD = "2.11.0+cu130"

# wheel name -> what of it is kept, as a pattern over the paths inside
LEAN = {
    "torch==2.11.0": r"torch/(include/.*|version\.py"
    r"|lib/(libc10|libtorch|libtorch_cpu|libtorch_global_deps)\.so|lib/libgomp\.so\.1)$",
    "nvidia-cuda-runtime==13.0.96": r"nvidia/cu13/lib/libcudart\.so\.13$",
    "nvidia-cuda-cupti==13.0.85": r"nvidia/cu13/lib/libcupti\.so\.13$",
}
# What the small part of the trainer that talks to CUDA compiles against; needs no GPU and no CUDA toolkit.
HEADERS = {
    "nvidia-cuda-runtime==13.0.96": r"nvidia/cu13/include/",
    "nvidia-cuda-crt==13.0.88": r"nvidia/cu13/include/crt/",
    "nvidia-cuda-cccl==13.0.85": r"nvidia/cu13/include/nv/",
}
# Of a wheel of 196 MB, where the index lets a part of a file be read. Its version must be the one libtorch was built
# with: NCCL's options hold a structure of it by value.
NCCL = "nvidia-nccl-cu13==2.28.9"
NCCL_HEADER = r"nvidia/nccl/include/nccl\.h$"
CUDA_TORCH = r"torch/lib/(?!libtorch_python).*\.so[.\d]*$"
CUDA_LIBRARY = r"nvidia/.*/lib/.*\.so[.\d]*$"

PLATFORMS = ["manylinux_2_%d_x86_64" % n for n in (28, 27, 25, 24, 18, 17)] + [
    "manylinux2014_x86_64",
    "manylinux1_x86_64",
    "any",
]


def home() -> Path:
    if given := os.environ.get("YF_LIBTORCH_HOME"):
        return Path(given)
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(cache) / "yf" / f"libtorch-{VERSION}"


def pip(*arguments: str) -> list[str]:
    """A pip command that takes wheels for the platform libtorch is built for, whatever runs it."""
    command = [sys.executable, "-m", "pip", *arguments, "--quiet", "--disable-pip-version-check",
               "--only-binary=:all:", "--python-version", "3.11", "--implementation", "cp",
               "--abi", "cp311", "--abi", "none", "--abi", "abi3"]
    for platform in PLATFORMS:
        command += ["--platform", platform]
    return command


def download(requirements: list[str], into: Path, dependencies: bool) -> None:
    command = pip("download", "-d", str(into))
    if not dependencies:
        command.append("--no-deps")
    if subprocess.run(command + requirements).returncode != 0:
        sys.exit(f"libtorch: pip could not download {' '.join(requirements)}; "
                 "is the package index reachable, and is there room in the temporary folder?")


class Remote(io.RawIOBase):
    """A file on a server that answers ranges, for zipfile to read its directory and one member of."""

    def __init__(self, url: str):
        self.url, self.at = url, 0
        with self.open(0, 0) as answer:
            self.size = int(answer.headers["Content-Range"].rpartition("/")[2])

    def open(self, first: int, last: int):
        request = urllib.request.Request(self.url, headers={"Range": f"bytes={first}-{last}"})
        answer = urllib.request.urlopen(request, timeout=60)
        if answer.status != 206:
            raise OSError("the server sends whole files only")
        return answer

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self.at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self.at, os.SEEK_END: self.size}[whence]
        return self.at

    def read(self, n: int = -1) -> bytes:
        last = self.size - 1 if n < 0 else min(self.at + n, self.size) - 1
        if last < self.at:
            return b""
        with self.open(self.at, last) as answer:
            data = answer.read()
        self.at += len(data)
        return data


def unpack_remote(requirement: str, pattern: str, into: Path) -> None:
    """What matches, without the rest of the wheel; an error where the index does not offer that."""
    command = pip("install", "--dry-run", "--ignore-installed", "--no-deps", "--target", str(into), "--report", "-")
    report = subprocess.run(command + [requirement], check=True, capture_output=True)
    url = json.loads(report.stdout)["install"][0]["download_info"]["url"]
    unpack(Remote(url), pattern, into)


def unpack(wheel, pattern: str, into: Path) -> None:
    wanted = re.compile(pattern)
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if wanted.match(name) and not name.endswith("/"):
                archive.extract(name, into)


def wheel_of(folder: Path, requirement: str) -> Path:
    stem = requirement.split("==")[0].replace("-", "_")
    return next(w for w in folder.glob("*.whl") if w.name.lower().startswith(stem + "-"))


def fetch_lean(target: Path) -> None:
    staging = target.with_name(target.name + f".part-{os.getpid()}")
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    print(f"libtorch {VERSION}: downloading about 550 MB, keeping 500 MB in {target}", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="yf-libtorch-") as wheels:
        download(list(LEAN), Path(wheels), dependencies=False)
        for requirement, pattern in LEAN.items():
            unpack(wheel_of(Path(wheels), requirement), pattern, staging)
    (staging / "torch" / "build-version").write_text(BUILD + "\n")
    if target.exists():
        shutil.rmtree(target)
    staging.rename(target)


def fetch_headers(target: Path) -> None:
    """Comes last of what compiling needs, so its marker says that all is there."""
    with tempfile.TemporaryDirectory(prefix="yf-libtorch-", dir=target.parent) as wheels:
        download(list(HEADERS), Path(wheels), dependencies=False)
        for requirement, pattern in HEADERS.items():
            unpack(wheel_of(Path(wheels), requirement), pattern, target)
        try:
            unpack_remote(NCCL, NCCL_HEADER, target)
        except (OSError, ValueError, KeyError, TypeError, subprocess.SubprocessError, zipfile.BadZipFile):
            download([NCCL], Path(wheels), dependencies=False)
            unpack(wheel_of(Path(wheels), NCCL), NCCL_HEADER, target)
    (target / "headers-complete").write_text(BUILD + "\n")


def fetch_cuda(target: Path) -> None:
    print(f"libtorch {VERSION}: downloading the CUDA half (2.7 GB) into {target}", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="yf-libtorch-", dir=target.parent) as wheels:
        download([f"torch=={VERSION}"], Path(wheels), dependencies=True)
        for wheel in sorted(Path(wheels).glob("*.whl")):
            name = wheel.name.lower()
            if name.startswith("torch-"):
                unpack(wheel, CUDA_TORCH, target)
            elif name.startswith("nvidia_"):
                unpack(wheel, CUDA_LIBRARY, target)
    (target / "cuda-complete").write_text(BUILD + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cuda", action="store_true", help="also the CUDA half")
    parser.add_argument("--where", action="store_true", help="print the folder and stop")
    arguments = parser.parse_args()
    target = home()
    if not arguments.where:
        target.parent.mkdir(parents=True, exist_ok=True)
        if not (target / "torch" / "build-version").exists():
            fetch_lean(target)
        if not (target / "headers-complete").exists() or not any(target.glob("nvidia/nccl/include/nccl.h")):
            fetch_headers(target)
        if arguments.cuda and not (target / "cuda-complete").exists():
            fetch_cuda(target)
    print(target)


if __name__ == "__main__":
    main()
