#!/bin/bash
# Builds the Kubernetes of the tests, and its etcd, from the modules that go.sum pins: build.sh FOLDER
#
# One program under four names (it takes some five minutes of two cores), put into FOLDER/bin by one rename at the end.

set -euo pipefail
cd "$(dirname "$0")"
target=${1:?"the folder to build into"}
version=v1.34.4 # as in go.mod
export CGO_ENABLED=0 GOFLAGS=-mod=readonly GOTOOLCHAIN=local

said="-s -w"
for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
    said+=" -X $package.gitVersion=$version -X $package.gitMajor=1 -X $package.gitMinor=34 -X $package.gitTreeState=clean"
done
mkdir -p "$target"
stage=$(mktemp -d "$target/.bin.XXXXXX")
trap 'rm -rf "$stage"' EXIT
chmod 755 "$stage"
go build -trimpath -ldflags "$said" -o "$stage/kube" .
go build -trimpath -ldflags "-s -w" -o "$stage/etcd" go.etcd.io/etcd/server/v3
for name in kube-apiserver kube-controller-manager kube-scheduler kubelet; do ln -s kube "$stage/$name"; done
mv -T "$stage" "$target/bin" 2>/dev/null || [ -x "$target/bin/etcd" ] # Somebody else may have been first.
