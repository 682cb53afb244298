# Winnow's one image: API, worker, sweeper, migrations and every command of `winnow`. Base: any Debian-based Python image.
ARG PYTHON_IMAGE=python:3.13-slim

# -- builds a virtual environment without pip in it, and leaves its tools behind
FROM ${PYTHON_IMAGE} AS builder
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build

COPY requirements.txt requirements-build.txt ./
RUN python -m venv --without-pip /opt/winnow \
 && python -m venv /build/tools \
 && /build/tools/bin/pip install --require-hashes --no-deps --only-binary=:all: -r requirements-build.txt \
 && /build/tools/bin/pip --python /opt/winnow/bin/python install --require-hashes --no-deps --no-compile \
      --only-binary=:all: -r requirements.txt \
 && find /opt/winnow/lib -type d -name tests -prune -exec rm -r {} +

COPY pyproject.toml README.md LICENSE NOTICE ./
COPY backend backend
# Compiled once, here: where it runs nothing can be written. Without times in it, the same sources give the same image.
RUN /build/tools/bin/pip wheel --no-deps --no-build-isolation --wheel-dir wheels . \
 && /build/tools/bin/pip --python /opt/winnow/bin/python install --no-deps --no-compile --no-index wheels/winnow-*.whl \
 && /opt/winnow/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/winnow/lib

# -- what runs: Python, the environment, the scripts; no pip, no compiler, no cache, no root
FROM ${PYTHON_IMAGE}
LABEL org.opencontainers.image.title="Winnow" \
      org.opencontainers.image.description="Turns team chat into knowledge that can be found again." \
      org.opencontainers.image.licenses="Apache-2.0"
RUN groupadd --gid 10001 winnow \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin winnow \
 && rm -rf /usr/local/lib/python3*/site-packages/pip* /usr/local/lib/python3*/ensurepip /usr/local/bin/pip*

COPY --from=builder /opt/winnow /opt/winnow
COPY scripts /app/scripts
COPY LICENSE NOTICE /app/

ENV PATH=/opt/winnow/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp
WORKDIR /app
USER 10001:10001
EXPOSE 8420
STOPSIGNAL SIGTERM

# It looks at what process 1 is: the API, a worker, a sweeper; for other commands there is nothing to check.
HEALTHCHECK --interval=10s --timeout=8s --start-period=60s --retries=3 CMD ["python", "-m", "winnow.health"]
ENTRYPOINT ["winnow"]
CMD ["--help"]
