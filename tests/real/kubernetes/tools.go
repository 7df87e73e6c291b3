//go:build tools

package main

import _ "go.etcd.io/etcd/server/v3" // Kubernetes' own store, built from the same module graph.
