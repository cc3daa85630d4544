# syntax=docker/dockerfile:1
# Not run where it was written: see docs/packaging.md.

FROM rust:1.95-bookworm AS build
# etcd's client is made from its .proto files.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends protobuf-compiler libprotobuf-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
# The caches outlive a build; what is kept is copied out of them.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked \
    && strip --strip-debug -o /leveret target/release/leveret

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 4150 --home-dir /var/lib/leveret leveret \
    && install -d -m 0750 -o leveret -g leveret /var/lib/leveret \
    && install -d /etc/leveret/bridges /usr/lib/leveret/bin
COPY --from=build /leveret /usr/bin/leveret
COPY packaging/leveret.yaml /etc/leveret/leveret.yaml
# NSQ's programs by their own names: `docker run leveret /usr/lib/leveret/bin/nsq_tail ...`
RUN for name in nsqd nsqlookupd nsqadmin nsq_stat nsq_tail nsq_to_file nsq_to_http nsq_to_nsq to_nsq; do \
        ln -s /usr/bin/leveret "/usr/lib/leveret/bin/$name"; \
    done
USER leveret
WORKDIR /var/lib/leveret
VOLUME /var/lib/leveret
# NSQ and HTTP. Within a container its own loopback would reach nobody.
EXPOSE 4150 4151
ENTRYPOINT ["/usr/bin/leveret"]
CMD ["serve", "--config", "/etc/leveret/leveret.yaml", "--tcp-address", "0.0.0.0:4150", "--http-address", "0.0.0.0:4151"]
# A program that the image has: one look at the node's own figures.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s \
    CMD ["/usr/bin/leveret", "top", "--once", "--http", "127.0.0.1:4151"]
STOPSIGNAL SIGTERM
