"""What tests must know of the processor that they run on."""

from __future__ import annotations

import pytest
import torch

_AVX2, _VNNI = torch.cpu._is_avx2_supported(), torch.cpu._is_vnni_supported()

openvino_in_int8 = pytest.mark.skipif(
    _AVX2 and not _VNNI,
    reason="OpenVINO's sums of int8 products overflow on this processor; verify says so",
)
