# `samclip serve` on a Jetson, as a user without rights. BASE is NVIDIA's JetPack image for the
# device's version, which brings Python 3.10, CUDA and TensorRT. From the root of a checkout:
#
#     docker build --file examples/docker/jetson.Dockerfile --build-arg BASE=... --tag samclip-serve .
#     docker run --runtime nvidia --read-only --tmpfs /tmp --volume samclip-engines:/engines \
#         --publish 127.0.0.1:8080:8080 samclip-serve
#
# Engines are built at the first start, which takes minutes, and kept in the volume.
ARG BASE
FROM python:3.12-slim AS build
WORKDIR /build
COPY pyproject.toml README.md LICENSE NOTICE samclip_sdk.cdx.json ./
COPY samclip_sdk samclip_sdk
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM ${BASE}
RUN apt-get update && apt-get install --yes --no-install-recommends python3-pip python3-venv \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /wheels /wheels
# JetPack's own TensorRT is seen from the environment; CUDA 12 takes cuda-python before 13.
RUN python3 -m venv --system-site-packages /opt/samclip \
    && /opt/samclip/bin/pip install --no-cache-dir "$(echo /wheels/*.whl)[tensorrt,serve]" "cuda-python<13" \
    && useradd --no-create-home --uid 10001 --groups video samclip \
    && install --directory --owner 10001 /engines
ENV PATH=/opt/samclip/bin:$PATH XDG_CACHE_HOME=/engines XDG_DATA_HOME=/engines PYTHONDONTWRITEBYTECODE=1
VOLUME /engines
USER 10001
WORKDIR /
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=5s --start-period=1800s \
    CMD ["python3", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/health', timeout=4)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["samclip", "serve", "--host", "0.0.0.0"]
CMD ["--runtime", "tensorrt"]
