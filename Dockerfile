# syntax=docker/dockerfile:1
# Images of Holdfast.  The base image is an argument and must carry a digest:
#
#   docker build --target node    --build-arg BASE=python:3.11-slim@sha256:<digest> -t holdfast-node .
#   docker build --target gateway --build-arg BASE=python:3.11-slim@sha256:<digest> -t holdfast-gateway .
#   docker build --target dev     --build-arg BASE=python:3.11-slim@sha256:<digest> -t holdfast-dev .
#
# Run node and gateway with a read-only root and one volume for state:
#
#   docker run --read-only --tmpfs /tmp --cap-drop ALL --cap-add IPC_LOCK -v node-1:/data holdfast-node
#
# `node` and `gateway` are built from the wheel, which leaves out the simulated authority and the developer
# cluster; only `dev` holds them.
ARG BASE

FROM ${BASE} AS build
ARG BASE
RUN case "${BASE}" in *@sha256:*) ;; *) echo "BASE must carry a digest (image@sha256:...)" >&2; exit 1 ;; esac
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
COPY requirements/ requirements/
RUN python -m venv /build && /build/bin/pip install --require-hashes --only-binary :all: -r requirements/build.txt
COPY pyproject.toml README.md LICENSE ./
COPY attestation/ attestation/
COPY enclave/ enclave/
COPY kms/ kms/
RUN /build/bin/hatchling build -t wheel -d /wheel

FROM build AS node-environment
RUN python -m venv /opt/holdfast \
 && /opt/holdfast/bin/pip install --require-hashes --only-binary :all: -r requirements/node.txt \
 && /opt/holdfast/bin/pip install --no-deps --no-index /wheel/*.whl \
 && rm -rf /opt/holdfast/lib/python3*/site-packages/kms /opt/holdfast/bin/kms

FROM build AS gateway-environment
RUN python -m venv /opt/holdfast \
 && /opt/holdfast/bin/pip install --require-hashes --only-binary :all: -r requirements/gateway.txt \
 && /opt/holdfast/bin/pip install --no-deps --no-index /wheel/*.whl

FROM build AS dev-environment
COPY tests/ tests/
RUN python -m venv /opt/holdfast \
 && /opt/holdfast/bin/pip install --require-hashes --only-binary :all: -r requirements/dev.txt \
 && /opt/holdfast/bin/pip install --no-deps --no-build-isolation --editable /src

FROM ${BASE} AS node
COPY --from=node-environment /opt/holdfast /opt/holdfast
RUN useradd --system --uid 10001 --home-dir /data holdfast && install -d -o holdfast -m 0700 /data
USER 10001
VOLUME /data
ENV PATH=/opt/holdfast/bin:$PATH PYTHONDONTWRITEBYTECODE=1
ENTRYPOINT ["kms-node"]
CMD ["serve", "--config", "/data/node.json"]

FROM ${BASE} AS gateway
COPY --from=gateway-environment /opt/holdfast /opt/holdfast
RUN useradd --system --uid 10002 --home-dir /data holdfast && install -d -o holdfast -m 0700 /data
USER 10002
VOLUME /data
EXPOSE 8750
ENV PATH=/opt/holdfast/bin:$PATH PYTHONDONTWRITEBYTECODE=1
ENTRYPOINT ["kms"]
CMD ["gateway", "serve", "--config", "/data/gateway.json"]

FROM ${BASE} AS dev
COPY --from=dev-environment /src /src
COPY --from=dev-environment /opt/holdfast /opt/holdfast
RUN useradd --system --uid 10003 --home-dir /data holdfast && install -d -o holdfast -m 0700 /data
USER 10003
VOLUME /data
ENV PATH=/opt/holdfast/bin:$PATH PYTHONDONTWRITEBYTECODE=1
ENTRYPOINT ["kms"]
CMD ["dev", "--dir", "/data/cluster"]
