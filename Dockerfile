# syntax=docker/dockerfile:1
# Static binaries in an empty image: no shell, no package manager, not root.
FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=docker
ARG COMMIT=unknown
RUN make build GO=go VERSION="$VERSION" COMMIT="$COMMIT" && mkdir -p /out/data

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /src/bin/breakglassd /src/bin/bgctl /usr/local/bin/
# A volume mounted here takes over this owner, so that the server may write.
COPY --from=build --chown=65532:65532 /out/data /data
USER 65532:65532
ENV PATH=/usr/local/bin
EXPOSE 8080
VOLUME /data
ENTRYPOINT ["/usr/local/bin/breakglassd"]
CMD ["--config", "/etc/breakglass/config.yaml"]
