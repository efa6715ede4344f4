"""What CUDA is asked for, and that the real binding takes it."""

from __future__ import annotations

import pytest

from samclip_sdk.errors import RuntimeMissingError, SamClipError
from samclip_sdk.runtimes.tensorrt.cuda import CudaRuntime, DeviceMemoryError, Gpu
from tests.own_process import run_program
from tests.runtimes.tensorrt.fake_tensorrt import FakeCudart


class TestCuda:
    def test_tells_the_gpu(self) -> None:
        assert CudaRuntime(FakeCudart()).gpu == Gpu("NVIDIA Pretend 4090", "8.9")

    @pytest.mark.parametrize(
        "cudart", [FakeCudart(count=0), FakeCudart(codes={"cudaGetDeviceCount": 35})]
    )
    def test_no_gpu(self, cudart: FakeCudart) -> None:
        with pytest.raises(RuntimeMissingError, match=r"no NVIDIA GPU is visible: .*nvidia-smi"):
            CudaRuntime(cudart)

    def test_faults(self) -> None:
        cuda = CudaRuntime(FakeCudart(codes={"cudaMalloc": 2, "cudaStreamSynchronize": 700}))
        with pytest.raises(DeviceMemoryError, match=r"memory is full \(cudaMalloc: it is broken\)"):
            cuda.allocate(1)
        with pytest.raises(SamClipError, match=r"it is broken \(CUDA error 700\)"):
            cuda.synchronize(0)

    def test_the_real_binding_takes_these_arguments(self) -> None:
        """With every GPU hidden each call fails for want of one, and none for its arguments."""
        program = """
import numpy as np
from samclip_sdk.errors import SamClipError
from samclip_sdk.runtimes.tensorrt.cuda import CudaRuntime, import_cudart
from tests.runtimes.tensorrt.fake_tensorrt import FakeCudart

class Binding:
    real, fake = import_cudart(), FakeCudart()

    def __getattr__(self, name):
        return getattr(self.fake if name.startswith("cudaGetDevice") else self.real, name)

cuda, array = CudaRuntime(Binding()), np.zeros(3, np.float32)
for call in (
    lambda: cuda.allocate(12),
    lambda: cuda.free(4096),
    lambda: cuda.create_stream(),
    lambda: cuda.upload(array, address=4096, stream=7),
    lambda: cuda.download(array, address=4096, stream=7),
    lambda: cuda.synchronize(7),
    lambda: cuda.destroy_stream(7),
):
    try:
        call()
    except SamClipError as error:
        print(error)
"""
        lines = run_program(program, CUDA_VISIBLE_DEVICES="-1").stdout.splitlines()
        assert len(lines) == 7
        assert all("(CUDA error" in line for line in lines)

    def test_opening_a_bundle_without_a_gpu(self) -> None:
        program = """
from pathlib import Path
from samclip_sdk.errors import RuntimeMissingError
from samclip_sdk.bundle.graph_spec import GraphSpec
from samclip_sdk.bundle.files import GraphFile
from samclip_sdk.runtimes.tensorrt.session import open_trt_session

try:
    open_trt_session(GraphFile(Path("g")), spec=GraphSpec(inputs=(), outputs=()))
except RuntimeMissingError as error:
    print(error)
"""
        done = run_program(program, CUDA_VISIBLE_DEVICES="-1")
        assert done.stdout.startswith("no NVIDIA GPU is visible: ")
