"""Libraries that let onnxruntime's CUDA provider load where there is no CUDA and no GPU.

The provider needs the symbols of the CUDA libraries when it is loaded, and answers to a few
questions when a session is made: how many devices, how much memory, which version. `build` reads
the symbols that a given provider wants off the file and compiles libraries of these names, in
which everything else returns success and does nothing. A session can then be created, which is
all that is needed to see where onnxruntime places the nodes of a model. It cannot be run.
"""

from __future__ import annotations

import subprocess
from collections import defaultdict
from pathlib import Path

HANDLES = (
    *("cudaStreamCreate", "cudaStreamCreateWithFlags", "cudaEventCreate", "cudaEventCreateWithFlags"),
    *("cublasCreate_v2", "cublasLtCreate", "cudaMemPoolCreate"),
)
# In C, what has to answer with more than "success".
SPECIAL = {
    "cudaGetDeviceCount": "int cudaGetDeviceCount(int *n) { *n = 1; return 0; }",
    "cudaGetDevice": "int cudaGetDevice(int *d) { *d = 0; return 0; }",
    "cudaDriverGetVersion": "int cudaDriverGetVersion(int *v) { *v = VERSION; return 0; }",
    "cudaRuntimeGetVersion": "int cudaRuntimeGetVersion(int *v) { *v = VERSION; return 0; }",
    # compute capability 9.0; of everything else plenty
    "cudaDeviceGetAttribute": """int cudaDeviceGetAttribute(int *v, int what, int d) {
    *v = what == 75 ? 9 : what == 76 ? 0 : 128; return 0; }""",
    # name[256] first, compute capability at byte 360, in the layouts of CUDA 12 and 13
    "cudaGetDeviceProperties": """int cudaGetDeviceProperties(char *p, int d) {
    memset(p, 0, 640); strcpy(p, "no device"); *(int *)(p + 360) = 9; *(int *)(p + 308) = 32;
    *(int *)(p + 320) = 1024; *(size_t *)(p + 288) = 1L << 34; return 0; }""",
    "cudaMemGetInfo": "int cudaMemGetInfo(size_t *f, size_t *t) { *f = *t = 1L << 34; return 0; }",
    "cudaMalloc": "int cudaMalloc(void **p, size_t n) { *p = malloc(n ? n : 1); return *p ? 0 : 2; }",
    "cudaMallocHost": "int cudaMallocHost(void **p, size_t n) { *p = malloc(n ? n : 1); return *p ? 0 : 2; }",
    "cudaHostAlloc": """int cudaHostAlloc(void **p, size_t n, unsigned f) {
    *p = malloc(n ? n : 1); return *p ? 0 : 2; }""",
    "cudaFree": "int cudaFree(void *p) { free(p); return 0; }",
    "cudaFreeHost": "int cudaFreeHost(void *p) { free(p); return 0; }",
    "cudaStreamIsCapturing": "int cudaStreamIsCapturing(void *s, int *c) { *c = 0; return 0; }",
    "__cudaRegisterFatBinary": "void *__cudaRegisterFatBinary(void *b) { static void *h[8]; return h; }",
    **{name: f"int {name}(void **p) {{ static long h[64]; *p = h; return 0; }}" for name in HANDLES},
    **{
        name: f'const char *{name}(int e) {{ return "no CUDA here"; }}'
        for name in ("cudaGetErrorName", "cudaGetErrorString", "cublasGetStatusName", "cublasGetStatusString")
    },
}


def build(provider: Path, folder: Path) -> Path:
    """Compile the libraries that `provider` (libonnxruntime_providers_cuda.so) needs into `folder`.

    Needs nm, readelf and cc, which every compiler brings. Returns the folder, for LD_LIBRARY_PATH.
    """
    folder.mkdir(parents=True, exist_ok=True)
    wanted = symbols_by_library(provider)
    for library in needed_libraries(provider):
        _compile(library, wanted.get(library, []), folder)
    return folder


def needed_libraries(provider: Path) -> list[str]:
    """The CUDA libraries that the provider names as its dependencies."""
    lines = _output("readelf", "-d", str(provider)).splitlines()
    names = [line.partition("[")[2].partition("]")[0] for line in lines if "(NEEDED)" in line]
    return [name for name in names if name.startswith("libcu")]


def symbols_by_library(provider: Path) -> dict[str, list[str]]:
    """The undefined symbols of CUDA by the library that has them; those of the driver have no version."""
    found: dict[str, list[str]] = defaultdict(list)
    for line in _output("nm", "-D", "--undefined-only", str(provider)).splitlines():
        name, _, library = line.split()[-1].partition("@")
        if library.startswith("libcu"):
            found[library].append(name)
        elif name.startswith("cu") and not library:
            found["libcuda.so.1"].append(name)
    return found


def _compile(library: str, symbols: list[str], folder: Path) -> None:
    version = 12000 if library.endswith(".12") else 13000
    plain = [f"int {name}() {{ return 0; }}" for name in symbols if name not in SPECIAL]
    code = [
        "#include <stdlib.h>",
        "#include <string.h>",
        f"#define VERSION {version}",
        *(SPECIAL[name] for name in symbols if name in SPECIAL),
        *plain,
        "",
    ]
    source, script = folder / f"{library}.c", folder / f"{library}.map"
    source.write_text("\n".join(code))
    script.write_text(f"{library} {{ global: *; }};\n")
    options = ["-shared", "-fPIC", "-w", f"-Wl,-soname,{library}"]
    if library != "libcuda.so.1":
        options.append(f"-Wl,--version-script,{script}")
    subprocess.run(["cc", *options, "-o", str(folder / library), str(source)], check=True)


def _output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
