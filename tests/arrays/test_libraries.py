"""Filters on arrays of other libraries: the same values, library, dtype, device and shape, and no copy."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, assert_type

import numpy as np
import pytest
from numpy.typing import NDArray

import sobolevflow as sf
from sobolevflow.arrays import borrow, borrow_output, empty_like, lend
from sobolevflow.errors import AssumptionWarning, InputError
from sobolevflow.filters import Filter, Gaussian, Identity, Sobolev
from tests.support.paths import DOCS
from tests.support.snippets import run_snippets

if TYPE_CHECKING:
    import jax
    import torch

Image = NDArray[Any]

FILTERS = {
    "separable": Gaussian(size=11),
    "low rank": Sobolev(size=11),
    "exact": Sobolev(gamma=3.0),
    "of parts": 0.5 * Sobolev(size=5, boundary="zero") @ Gaussian(sigma=1.0) + 0.5 * Identity(),
}
SHAPE = (2, 3, 17, 24)
REASONS = {
    "torch": "needs PyTorch: make libraries",
    "jax": "needs JAX, of the extra test",
    "array_api_strict": "needs array-api-strict, of the extra test",
}


@dataclass(frozen=True)
class Peer:
    """How to pass between NumPy and a library without our help."""

    make: Callable[[Image], Any]
    """A new array with the values of a NumPy one."""
    read: Callable[[Any], Image]
    """The values of an array, on its own memory."""


def through_jax() -> Peer:
    jax = pytest.importorskip("jax", reason=REASONS["jax"])
    # A copy first, since JAX may keep the memory of what it is given.
    return Peer(lambda a: jax.device_put(a.copy(), jax.devices("cpu")[0]), np.asarray)


def through_torch() -> Peer:
    torch = pytest.importorskip("torch", reason=REASONS["torch"])
    return Peer(torch.tensor, lambda x: x.numpy())


def through_array_api_strict() -> Peer:
    xp = pytest.importorskip("array_api_strict", reason=REASONS["array_api_strict"])
    return Peer(lambda a: xp.asarray(a, copy=True), np.from_dlpack)


PEERS = {
    "numpy": lambda: Peer(np.array, np.asarray),
    "torch": through_torch,
    "jax": through_jax,
    "array_api_strict": through_array_api_strict,
}
WRITABLE = [name for name in PEERS if name != "jax"]


@pytest.fixture(params=PEERS)
def peer(request: pytest.FixtureRequest) -> Iterator[Peer]:
    found = PEERS[request.param]()
    if request.param != "jax":
        yield found
        return
    config = sys.modules["jax"].config
    before = config.jax_enable_x64
    config.update("jax_enable_x64", True)
    yield found
    config.update("jax_enable_x64", before)


def image(*shape: int, dtype: Any = np.float32) -> Image:
    return np.random.default_rng(0).standard_normal(shape or SHAPE).astype(dtype)


def assert_like(found: Any, wanted: Any) -> None:
    assert type(found) is type(wanted)
    assert found.dtype == wanted.dtype
    assert found.device == wanted.device
    assert found.shape == wanted.shape


# --- gradients ----------------------------------------------------------------------------------


def test_a_gradient_is_an_array_of_the_library_of_the_image(peer: Peer) -> None:
    net = sf.load("builtin:shapes-vgg")
    u = np.random.default_rng(1).random((2, *net.input_shape), np.float32)
    gradient = sf.value_and_grad(net, sf.Class([1, 4]))
    expected_values, expected = gradient(u)
    x = peer.make(u)
    values, g = gradient(x)
    assert_like(g, x)
    assert type(values) is type(x)
    np.testing.assert_array_equal(peer.read(g), expected)
    np.testing.assert_array_equal(peer.read(values), expected_values)
    kept = peer.read(g).copy()
    gradient(peer.make(1 - u))
    np.testing.assert_array_equal(peer.read(g), kept)  # no buffer that the next call overwrites


def test_an_image_that_fits_no_network(peer: Peer) -> None:
    gradient = sf.value_and_grad(sf.load("builtin:shapes-vgg"), sf.Class(0))
    with pytest.raises(InputError, match="has 4 channels"):
        gradient(peer.make(np.zeros((1, 4, 96, 96), np.float32)))


# --- the same comes out -------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", FILTERS)
def test_values_are_those_of_numpy_and_the_rest_is_that_of_the_input(
    peer: Peer, name: str, dtype: Any
) -> None:
    f = FILTERS[name]
    a = image(dtype=dtype)
    x = peer.make(a)
    y = f(x)
    assert_like(y, x)
    np.testing.assert_array_equal(peer.read(y), f(a))
    np.testing.assert_array_equal(peer.read(x), a)


def test_nothing_is_copied_on_the_way_in(peer: Peer) -> None:
    x = peer.make(image())
    np.testing.assert_array_equal(borrow(x), image())
    assert np.shares_memory(borrow(x), peer.read(x))


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), SHAPE])
def test_nothing_is_copied_on_the_way_out(peer: Peer, shape: tuple[int, ...]) -> None:
    x = peer.make(image(*shape))
    result = empty_like(borrow(x))
    result[...] = image(*shape) + 1
    y = lend(result, x)
    assert_like(y, x)
    assert np.shares_memory(peer.read(y), result)
    np.testing.assert_array_equal(peer.read(y), image(*shape) + 1)


def test_a_result_outlives_what_it_was_made_of(peer: Peer) -> None:
    f = Gaussian(sigma=2.0)
    results = [f(peer.make(image() + i)) for i in range(20)]
    for i, y in enumerate(results):
        np.testing.assert_array_equal(peer.read(y), f(image() + i))


# jax has no views: its slices are new arrays
@pytest.mark.parametrize("name", WRITABLE)
@pytest.mark.parametrize(
    "look",
    [lambda v: v[:, :, 2], lambda v: v[::2, ::3, 1].T, lambda v: v[5:9, 7:8, 1], lambda v: v[:1, 3, :]],
    ids=["last axis dropped", "transposed", "one column", "one row"],
)
def test_strided_views_are_filtered_where_they_lie(name: str, look: Callable[[Any], Any]) -> None:
    peer, f = PEERS[name](), Sobolev(size=11)
    x = peer.make(image(40, 30, 6))
    assert np.shares_memory(borrow(look(x)), peer.read(x))
    np.testing.assert_array_equal(peer.read(f(look(x))), f(look(image(40, 30, 6)).copy()))


def test_read_only_memory_is_filtered() -> None:
    a, f = image(), Sobolev(size=11)
    a.flags.writeable = False
    np.testing.assert_array_equal(f(a), f(image()))
    xp = pytest.importorskip("array_api_strict", reason=REASONS["array_api_strict"])
    x = xp.asarray(a, copy=False)
    assert np.shares_memory(borrow(x), a)
    assert not borrow(x).flags.writeable
    np.testing.assert_array_equal(np.from_dlpack(f(x)), f(image()))


# --- out= ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", WRITABLE)
def test_out_is_written_to_where_it_lies(name: str) -> None:
    peer, f = PEERS[name](), Sobolev(size=11)
    x, out = peer.make(image()), peer.make(image() * 0)
    assert np.shares_memory(borrow_output(out, x), peer.read(out))
    assert f(x, out) is out
    np.testing.assert_array_equal(peer.read(out), f(image()))
    assert f(x, out=x) is x
    np.testing.assert_array_equal(peer.read(x), f(image()))


@pytest.mark.parametrize("name", WRITABLE)
def test_out_may_be_a_strided_view(name: str) -> None:
    peer, f = PEERS[name](), Gaussian(size=5)
    frame = peer.make(np.zeros((20, 30, 3), np.float32))
    f(peer.make(image(20, 30)), out=frame[:, :, 1])
    np.testing.assert_array_equal(peer.read(frame)[:, :, 1], f(image(20, 30)))
    assert not peer.read(frame)[:, :, ::2].any()


@pytest.mark.parametrize("name", WRITABLE)
def test_an_out_that_does_not_fit_is_named(name: str) -> None:
    peer, f = PEERS[name](), Gaussian(size=5)
    x = peer.make(image())
    with pytest.raises(
        InputError, match=rf"out has shape \(3, 17, 24\), x .*; make out with {name}\.empty_like"
    ):
        f(x, out=x[0, ...])
    with pytest.raises(InputError, match=r"out has dtype .*float64, x has dtype .*float32"):
        f(x, out=peer.make(image(dtype=np.float64)))
    with pytest.raises(InputError, match=rf"out is a list, x a {name} array"):
        f(x, out=[1.0])


@pytest.mark.parametrize("name", ["torch", "jax", "array_api_strict"])
def test_out_of_another_library_is_refused(name: str) -> None:
    x, f = PEERS[name]().make(image()), Gaussian(size=5)
    with pytest.raises(InputError, match=rf"out is a {name} array, x a numpy array; make out with numpy\.e"):
        f(image(), out=x)
    with pytest.raises(
        InputError, match=f"out is a numpy array, x a {name} array|jax arrays cannot be written"
    ):
        f(x, out=image())


def test_out_of_jax_cannot_be_written_to() -> None:
    x = through_jax().make(image())
    with pytest.raises(InputError, match=r"jax arrays cannot be written to. Take the result: y = f\(x\)"):
        Gaussian(size=5)(x, out=x)


def test_out_that_is_read_only_or_broadcast_is_refused() -> None:
    xp = pytest.importorskip("array_api_strict", reason=REASONS["array_api_strict"])
    a = image()
    a.flags.writeable = False
    with pytest.raises(InputError, match="out is read-only"):
        Gaussian(size=5)(xp.asarray(image()), out=xp.asarray(a, copy=False))
    torch = pytest.importorskip("torch", reason=REASONS["torch"])
    row = torch.zeros(3, 1, 24)
    with pytest.raises(InputError, match="out is broadcast"):
        Gaussian(size=5)(torch.zeros(3, 17, 24), out=row.expand(3, 17, 24))
    assert not row.any()


# --- what has no plain memory of real numbers ---------------------------------------------------


@pytest.mark.parametrize("name", PEERS)
@pytest.mark.parametrize("dtype", ["int32", "uint8", "complex64"])
def test_other_dtypes_are_named_with_a_conversion(name: str, dtype: str) -> None:
    x = PEERS[name]().make(np.abs(image() * 50).astype(dtype))
    with pytest.raises(InputError, match=f"x has dtype {dtype}; supported are float16, ") as raised:
        Gaussian(size=5)(x)
    conversion = str(raised.value).partition("Convert it: ")[2].rstrip(".")
    if dtype == "complex64":
        assert "Filter x.real and x.imag apart." in str(raised.value)
        return
    library = __import__(name)
    converted = eval(conversion, {"x": x, name: library})  # the remedy, as somebody would copy it
    assert str(converted.dtype).endswith("float32")
    assert Gaussian(size=5)(converted).shape == x.shape


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", ["torch", "jax"])
def test_a_narrow_dtype_is_computed_in_single_precision_and_rounded(name: str, dtype: str) -> None:
    f, x = Gaussian(size=5), PEERS[name]().make(image())
    narrow = x.to(getattr(sys.modules["torch"], dtype)) if name == "torch" else x.astype(dtype)
    single = narrow.float() if name == "torch" else narrow.astype("float32")
    found, expected = f(narrow), f(single)
    assert_like(found, narrow)
    rounded = expected.to(narrow.dtype) if name == "torch" else expected.astype(narrow.dtype)
    assert bool((found == rounded).all())
    if name == "torch":
        out = narrow * 0
        assert f(narrow, out=out) is out
        assert bool((out == rounded).all())


def test_a_tensor_that_requires_grad_is_detached_with_a_note_once(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch", reason=REASONS["torch"])
    monkeypatch.setattr("sobolevflow.errors._SAID", set())
    f, x = Gaussian(size=5), torch.tensor(image())
    attached = x.clone().requires_grad_()
    with pytest.warns(AssumptionWarning, match=r"no gradient flows back .* Pass x\.detach\(\)") as noted:
        found = f(attached)
    assert noted[0].filename == __file__
    assert not found.requires_grad
    np.testing.assert_array_equal(found.numpy(), f(x).numpy())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        f(attached)
        sf.metrics.psnr(attached * 2, x)
    with pytest.raises(InputError, match=r"out requires grad.*Pass out\.detach\(\)"):
        f(x, out=attached)


def test_what_every_filter_asks_of_numpy_it_asks_of_all(peer: Peer) -> None:
    f = Gaussian(size=5)
    with pytest.raises(InputError, match=r"x has shape \(24,\)"):
        f(peer.make(image(24)))
    with pytest.raises(InputError, match="x is empty"):
        f(peer.make(image(0, 4)))
    with pytest.raises(InputError, match="1 of 816 values that are NaN"):
        f(peer.make(np.where(np.arange(816) == 5, np.nan, 0).reshape(2, 17, 24).astype(np.float32)))


@pytest.mark.parametrize(
    ("make", "cause", "remedy"),
    [
        (lambda t, x: x.to_sparse(), "has the layout torch.sparse_coo", "to_dense"),
        (lambda t, x: x.to_mkldnn(), "has the layout torch._mkldnn", "to_dense"),
        (lambda t, x: t.quantize_per_tensor(x, 0.01, 0, t.qint8), "is quantised", "dequantize"),
    ],
    ids=["sparse", "mkldnn", "quantised"],
)
@pytest.mark.filterwarnings("ignore:.*deprecated:UserWarning")
def test_a_tensor_without_plain_memory_is_refused_and_the_remedy_works(
    make: Callable[..., Any], cause: str, remedy: str
) -> None:
    torch = pytest.importorskip("torch", reason=REASONS["torch"])
    x, f = make(torch, torch.tensor(image())), Gaussian(size=5)
    with pytest.raises(InputError, match=rf"x {cause}.*Pass x\.{remedy}\(\)"):
        f(x)
    plain = getattr(x, remedy)()
    np.testing.assert_array_equal(f(plain).numpy(), f(plain.numpy()))


def test_a_tensor_that_is_stored_as_its_negative_is_resolved() -> None:
    torch = pytest.importorskip("torch", reason=REASONS["torch"])
    x, f = torch.tensor(image()), Gaussian(size=5)
    negative = torch.complex(x, x).conj().imag
    assert negative.is_neg()
    np.testing.assert_array_equal(f(negative).numpy(), f(-x).numpy())
    np.testing.assert_array_equal(sf.metrics.psnr(negative, x), sf.metrics.psnr(-x, x))
    with pytest.raises(InputError, match="out is stored as its negative"):
        f(x, out=negative)


def test_what_a_message_advises_is_code() -> None:
    torch = pytest.importorskip("torch", reason=REASONS["torch"])
    with pytest.raises(InputError, match=r"the image has the layout .* Pass image\.to_dense\(\)"):
        sf.heatmap(image(17, 24), torch.tensor(image(3, 17, 24)).to_sparse())


@pytest.mark.filterwarnings("ignore:.*prototype:UserWarning")
def test_other_tensors_without_memory_are_refused() -> None:
    torch = pytest.importorskip("torch", reason=REASONS["torch"])
    f, x = Gaussian(size=5), torch.tensor(image())
    with pytest.raises(InputError, match=r"x is a torch array whose memory cannot be shared .*meta"):
        f(x.to("meta"))
    with pytest.raises(InputError, match="x is a torch array whose memory cannot be shared"):
        torch.func.vmap(f)(x)
    with pytest.raises(InputError, match="x is a nested tensor"):
        f(torch.nested.nested_tensor([x, x]))
    with pytest.raises(InputError, match="out has device meta, x has device cpu"):
        f(x, out=x.to("meta"))


# --- inside the machinery of a library ----------------------------------------------------------


def test_the_examples_of_the_guide_carry_gradients() -> None:
    torch = pytest.importorskip("torch", reason=REASONS["torch"])
    guide = (DOCS / "guide.md").read_text(encoding="utf-8")
    section = guide.partition("## Arrays of your library")[2].partition("\n## ")[0]
    names = run_snippets(section, ("torch",))
    assert_like(names["y"], torch.empty(8, 3, 224, 224))
    x = torch.tensor(image(2, 5, 6, dtype=np.float64), requires_grad=True)
    assert torch.autograd.gradcheck(names["Smooth"].apply, (x,))


def test_pytorch_hears_that_out_was_changed() -> None:
    torch = pytest.importorskip("torch", reason=REASONS["torch"])
    f, weight, out = Gaussian(size=5), torch.ones(5, 6, requires_grad=True), torch.ones(5, 6)
    loss = (weight * out).sum()
    f(torch.zeros(5, 6), out=out)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()
    with torch.inference_mode():
        out = torch.zeros(5, 6)
        np.testing.assert_allclose(f(torch.ones(5, 6), out=out), 1, rtol=1e-6)


def test_pytorch_compiles_around_a_filter() -> None:
    torch = pytest.importorskip("torch", reason=REASONS["torch"])
    f, x = Sobolev(size=11), torch.tensor(image())
    smooth = torch.compiler.disable(f)
    compiled = torch.compile(lambda v: smooth(v + 1) * 2, backend="eager")
    torch.testing.assert_close(compiled(x), f(x + 1) * 2)


def test_jax_calls_a_filter_where_it_cannot_trace_it() -> None:
    peer, f = through_jax(), Sobolev(size=11)
    jax, x = sys.modules["jax"], peer.make(image())
    for transformed in (jax.jit(f), jax.vmap(f), jax.grad(lambda v: f(v).sum())):
        with pytest.raises(InputError, match=r"being traced .*jax\.pure_callback\(f, x, x\)"):
            transformed(x)
    call = jax.jit(lambda v: jax.pure_callback(f, v, v) * 2)
    np.testing.assert_allclose(call(x), 2 * f(image()), rtol=1e-6)


def test_jax_arrays_that_are_not_there_are_refused() -> None:
    peer, f = through_jax(), Gaussian(size=5)
    jax = sys.modules["jax"]
    x = peer.make(image())
    x.delete()
    with pytest.raises(InputError, match="x has been deleted"):
        f(x)
    with pytest.raises(InputError, match="x is a jax array; pass"):
        f(jax.random.key(0))


def test_jax_makes_no_float32_of_a_float64_input() -> None:
    peer, f = through_jax(), Gaussian(size=5)
    config = sys.modules["jax"].config
    config.update("jax_enable_x64", True)
    try:
        x = peer.make(image(dtype=np.float64))
    finally:
        config.update("jax_enable_x64", False)
    with pytest.raises(InputError, match="x has dtype float64, but jax_enable_x64 is off"):
        f(x)


def test_jax_with_several_devices() -> None:
    pytest.importorskip("jax", reason=REASONS["jax"])
    run_python(
        """
import jax, numpy as np, pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from sobolevflow.errors import AssumptionWarning, InputError
from sobolevflow.filters import Gaussian

first, second = jax.devices()
a, f = np.random.default_rng(0).standard_normal((8, 9)).astype(np.float32), Gaussian(size=5)
for device in first, second:
    y = f(jax.device_put(a, device))
    assert y.devices() == {device}, y.devices()
    np.testing.assert_array_equal(y, f(a))
rows = NamedSharding(Mesh(np.array([first, second]), ("rows",)), PartitionSpec("rows"))
with pytest.raises(InputError, match="x is a jax array whose memory cannot be shared .*shard"):
    f(jax.device_put(a, rows))
""",
        JAX_PLATFORMS="cpu",
        XLA_FLAGS="--xla_force_host_platform_device_count=2",
    )


def test_every_device_of_the_array_api_is_kept() -> None:
    xp = pytest.importorskip("array_api_strict", reason=REASONS["array_api_strict"])
    f = Gaussian(size=5)
    first, second = (xp.asarray(image(), device=xp.Device(name)) for name in ("CPU_DEVICE", "device1"))
    for x in (first, second):
        assert_like(f(x), x)
    with pytest.raises(InputError, match=r"out has device .*CPU_DEVICE.*, x has device .*device1"):
        f(second, out=first)


# --- on a GPU -----------------------------------------------------------------------------------


def on_gpu(name: str) -> Any:
    """An array of a library on a CUDA device, or a skip that says what is missing."""
    cupy = pytest.importorskip("cupy", reason="needs CuPy, of the extra cuda13 or cuda12")
    if not cupy.cuda.is_available():
        pytest.skip("needs an NVIDIA GPU")
    if name == "cupy":
        return cupy.asarray(image())
    library = pytest.importorskip(name, reason=REASONS[name])
    if name == "torch" and not library.cuda.is_available():
        pytest.skip("needs a build of PyTorch with CUDA")
    if name == "jax" and library.default_backend() != "gpu":
        pytest.skip("needs JAX with CUDA")
    return library.tensor(image(), device="cuda") if name == "torch" else library.device_put(image())


def address(x: Any) -> int:
    if hasattr(x, "data_ptr"):
        return int(x.data_ptr())
    return int(x.unsafe_buffer_pointer() if hasattr(x, "unsafe_buffer_pointer") else x.data.ptr)


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["cupy", "torch", "jax"])
def test_memory_of_a_gpu_is_shared(name: str) -> None:
    x = on_gpu(name)
    borrowed: Any = borrow(x)
    assert address(borrowed) == address(x)
    result: Any = empty_like(borrowed)
    result[...] = borrowed + 1
    y = lend(result, x)
    assert_like(y, x)
    assert address(y) == address(result)
    np.testing.assert_array_equal(borrow(y).get(), image() + 1)  # type: ignore[attr-defined]
    if name != "jax":
        assert address(borrow_output(x, x)) == address(x)


# --- what is imported, and what type checkers see -----------------------------------------------


def run_python(code: str, **environment: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **environment}
    )
    assert done.returncode == 0, done.stderr


def test_filtering_numpy_arrays_imports_no_other_library() -> None:
    run_python(
        """
import sys, numpy as np
import sobolevflow.filters as filters
x = np.ones((20, 20), np.float32)
filters.Sobolev(size=11)(x, out=x)
filters.Gaussian(sigma=2.0)(x)
foreign = {"torch", "jax", "jaxlib", "cupy", "array_api_strict", "tensorflow"} & sys.modules.keys()
assert not foreign, foreign
"""
    )


@pytest.mark.parametrize("name", ["torch", "jax", "array_api_strict"])
def test_filtering_arrays_of_one_library_imports_no_other(name: str) -> None:
    pytest.importorskip(name, reason=REASONS[name])
    make = {"jax": "jax.numpy.ones((20, 20))"}.get(name, f"{name}.ones((20, 20), dtype={name}.float32)")
    run_python(
        f"""
import sys, {name}
x = {make}
before = set(sys.modules)
import sobolevflow.filters as filters
filters.Sobolev(size=11)(x)
new = {{module.partition(".")[0] for module in sys.modules.keys() - before}}
foreign = {{"torch", "jax", "cupy", "array_api_strict", "tensorflow"}} & new - {{"{name}"}}
assert not foreign, foreign
"""
    )


if TYPE_CHECKING:

    def what_goes_in_comes_out(
        f: Filter, a: NDArray[np.float32], b: NDArray[np.float64], j: jax.Array, t: torch.Tensor
    ) -> None:
        assert_type(f(a), NDArray[np.float32])
        assert_type(f(b, out=b), NDArray[np.float64])
        assert_type(f(j), jax.Array)
        assert_type(f(t), torch.Tensor)
        f([1.0])  # type: ignore[type-var]
