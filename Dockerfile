# metabench in a container: docs/how-to/run-in-a-container.md.
#   docker build -t metabench .
#   docker build -t metabench:cuda --build-arg DEVICE=cuda .
ARG PYTHON=3.12

FROM python:${PYTHON}-slim AS build
ARG DEVICE=cpu
ARG EXTRAS=stats,plots
WORKDIR /src
COPY pyproject.toml README.md LICENSE constraints.txt ./
COPY harness harness
COPY plugins plugins
COPY benchmarks benchmarks
RUN python -m venv /opt/metabench
ENV PATH=/opt/metabench/bin:$PATH
# PyPI's torch is a CUDA build of several GB; that of the other index is for CPUs.
RUN case "$DEVICE" in \
      cpu) index=https://download.pytorch.org/whl/cpu ;; \
      cuda) index=https://pypi.org/simple ;; \
      *) echo "DEVICE is cpu or cuda, not $DEVICE" >&2; exit 1 ;; \
    esac && \
    pip install --no-cache-dir -c constraints.txt --index-url "$index" \
      --extra-index-url https://pypi.org/simple "$(grep '^torch==' constraints.txt)"
RUN pip install --no-cache-dir -c constraints.txt ".[$EXTRAS]"

FROM python:${PYTHON}-slim
COPY --from=build /opt/metabench /opt/metabench
ENV PATH=/opt/metabench/bin:$PATH METABENCH_DATA=/data
# Any user may write there: `docker run --user` gives results to the one who asks for them.
RUN install -d -m 1777 /data /work && metabench doctor
USER 1000
WORKDIR /work
VOLUME ["/data"]
ENTRYPOINT ["metabench"]
CMD ["--help"]
