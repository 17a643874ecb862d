# Tidewatch in a container: compiled here, or taken as a ready binary; then alone on a slim system, without root.
#
#   docker build -t tidewatch:0.1.0 .                                    compiles, which takes a while the first time
#   docker build -t tidewatch:0.1.0 --build-arg BINARY_FROM=ready .      takes dist/tidewatch, which must run on Debian 12 (glibc 2.36)
#
# Give the Docker engine BuildKit, which is its default: only then a build from a ready binary skips the compiling stage.

# Which stage brings the program: build, ready.
ARG BINARY_FROM=build

FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
# The caches outlive a build, so that the next one compiles only what changed; what is in them is copied out, for they are no layer.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --features kafka-tls \
 && cp target/release/tidewatch /tidewatch

FROM scratch AS ready
COPY dist/tidewatch /tidewatch

FROM ${BINARY_FROM} AS binary

# A port in front of several instances (docker-compose.yml): each connection goes to one of the addresses that the name `tidewatch` has then.
FROM debian:bookworm-slim AS front
RUN apt-get update \
 && apt-get install --yes --no-install-recommends socat \
 && rm -rf /var/lib/apt/lists/*
USER 10744:10744
EXPOSE 7744
STOPSIGNAL SIGTERM
# Bounded: a further connection waits until one of these ends.
CMD ["socat", "TCP-LISTEN:7744,fork,reuseaddr,max-children=1024", "TCP:tidewatch:7744,connect-timeout=5"]

FROM debian:bookworm-slim AS tidewatch
LABEL org.opencontainers.image.title="Tidewatch" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="Apache-2.0"
# The authorities that TLS to Kafka, S3 and others is checked against.
RUN apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates \
 && rm -rf /var/lib/apt/lists/*
# A number that no user of the host has. The two directories belong to it, and so does a new volume that is mounted over one of them.
RUN groupadd --gid 10744 tidewatch \
 && useradd --uid 10744 --gid tidewatch --no-create-home --home-dir /var/lib/tidewatch --shell /usr/sbin/nologin tidewatch \
 && install --directory --owner tidewatch --group tidewatch --mode 0750 /var/lib/tidewatch /var/lib/tidewatch-archive
COPY --from=binary --chmod=0755 /tidewatch /usr/local/bin/tidewatch
USER 10744:10744
WORKDIR /var/lib/tidewatch
# All that the program writes is below the data directory, so the root file system may be read-only.
VOLUME /var/lib/tidewatch
ENV TIDEWATCH__DATA__DIR=/var/lib/tidewatch \
    # A container has a network of its own: on its loopback address nobody could reach the program. What can be reached from outside is decided
    # where the port is published (`-p 127.0.0.1:7744:7744`); without the next line everybody needs a token (docs/access.md).
    TIDEWATCH__SERVER__LISTEN=0.0.0.0:7744 \
    TIDEWATCH__SERVER__INSECURE_LISTEN=true \
    # In here the program sees the container, under a name that changes with each one, and not the machine.
    TIDEWATCH__COLLECTORS__HOST__ENABLED=false
EXPOSE 7744
STOPSIGNAL SIGTERM
# Whether the process answers. Whether it also works (`health --ready`) depends on others, such as Kafka, and a restart would not mend them.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["tidewatch", "health"]
ENTRYPOINT ["tidewatch"]
CMD ["run"]
