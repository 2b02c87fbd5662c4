# purgehook as a small image: the binary, the certificates of public authorities, nothing else of ours.
#
#   docker build -t purgehook .
#   docker run -p 127.0.0.1:8080:8080 -v purgehook-data:/data -v ./rules.yaml:/etc/purgehook/rules.yaml:ro --env-file .env purgehook

# The slim image brings gcc, which SQLite and the TLS primitives are compiled with.
FROM docker.io/library/rust:1.95-slim-bookworm AS builder

WORKDIR /build

# Dependencies first: this layer is built again only when Cargo.toml or Cargo.lock changes.
COPY Cargo.toml Cargo.lock ./
COPY .cargo/config.toml .cargo/config.toml
# Cargo reads no manifest whose benches are not there.
COPY benches benches
ARG PROFILE=release
RUN mkdir src \
    && echo 'fn main() {}' >src/main.rs \
    && touch src/lib.rs \
    && cargo build --locked --profile "$PROFILE" \
    && rm -r src

COPY src src
COPY templates templates
COPY schema schema
COPY presets presets
# Newer than the placeholders above, or cargo would take those for built already.
RUN touch src/main.rs src/lib.rs \
    && cargo build --locked --profile "$PROFILE" \
    && mkdir -p /result/data \
    && cp "target/$([ "$PROFILE" = dev ] && echo debug || echo "$PROFILE")/purgehook" /result/purgehook

FROM docker.io/library/debian:bookworm-slim

RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/*

COPY --from=builder /result/purgehook /usr/local/bin/purgehook
# A volume made from this directory belongs to the user below.
COPY --from=builder --chown=65532:65532 /result/data /data

USER 65532:65532
WORKDIR /data
VOLUME /data
EXPOSE 8080
ENV PURGEHOOK_LISTEN=0.0.0.0:8080 \
    PURGEHOOK_DATABASE=sqlite:///data/purgehook.db \
    PURGEHOOK_RULES=/etc/purgehook/rules.yaml

HEALTHCHECK --interval=30s --timeout=6s --start-period=5s CMD ["purgehook", "healthcheck"]
ENTRYPOINT ["purgehook"]
CMD ["serve"]
