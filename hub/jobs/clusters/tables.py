"""Clusters, which an operator makes known, and people's accounts on them, which are theirs alone."""

from __future__ import annotations

import sqlalchemy as sa

from hub.core.database import Instant, Json, metadata

clusters = sa.Table(
    "clusters",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("name", sa.String(64), nullable=False, unique=True),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("host", sa.String(255), nullable=False),
    sa.Column("port", sa.Integer, nullable=False),
    sa.Column("host_keys", Json, nullable=False),  # pinned; each was compared by a person
    sa.Column("jump", Json),  # {host, port, user, host_keys}: the host it is reached through
    sa.Column("root", sa.Text, nullable=False, server_default=""),  # where jobs lie there; empty: below the home
    sa.Column("path", Json, nullable=False),  # folders in which the scheduler's commands lie
    sa.Column("defaults", Json, nullable=False),  # options of sbatch for whoever says nothing else
    sa.Column("price_per_core_hour", sa.Float),
    sa.Column("price_per_gpu_hour", sa.Float),
    sa.Column("portal_url", sa.Text, nullable=False, server_default=""),
    sa.Column("purge_days", sa.Integer),  # the site removes files so many days after they were last written
    sa.Column("rate", Json),  # [{from, to, mbit}] by the hub's clock: how fast results may come from it
    sa.Column("made_by", sa.String(64), nullable=False),
    sa.Column("made_at", Instant, nullable=False),
    sa.Column("removed_at", Instant),
)

cluster_accounts = sa.Table(
    "cluster_accounts",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("cluster", sa.String(40), sa.ForeignKey("clusters.id"), nullable=False),
    sa.Column("person", sa.String(64), nullable=False),
    sa.Column("login", sa.String(64), nullable=False),
    # key: this hub signs in itself; certificate: it does while a certificate for its key is good; agent: an agent of
    # the person's does, and nothing here lets anybody in.
    sa.Column("kind", sa.String(16), nullable=False, server_default="key"),
    # A key pair made here for this account only: its private half is sealed under the person's key domain.
    sa.Column("public_key", sa.Text, nullable=False),  # empty for an agent
    sa.Column("private_sealed", sa.LargeBinary),  # NULL once removed
    sa.Column("made_at", Instant, nullable=False),
    sa.Column("tested_at", Instant),  # NULL: the cluster has not taken the key yet
    sa.Column("removed_at", Instant),
    sa.Column("swept_at", Instant),  # when what its jobs left there was last cleared away
    sa.Column("standing", Json),  # what its agent said last: is it reached, how often it asks
    # What an agent elsewhere shows: good for this account and for nothing else.
    sa.Column("token", sa.String(40)),
    sa.Column("token_digest", sa.LargeBinary(32)),  # NULL once revoked
    # certificates.Kept: the last one that let the hub in; NULL before the first and once removed.
    sa.Column("certificate", Json),
    sa.Column("certificate_until", Instant),
    sa.Index("ix_cluster_accounts_person", "person"),
    sa.Index("ix_cluster_accounts_token_digest", "token_digest", unique=True),
)

# What there is to say of a Kubernetes cluster beside its row in `clusters`. The hub has one account there for all: a
# row of `cluster_accounts` whose person is the hub itself, its token sealed under a key domain of its own.
kubernetes_clusters = sa.Table(
    "kubernetes_clusters",
    metadata,
    sa.Column("cluster", sa.String(40), sa.ForeignKey("clusters.id"), primary_key=True),
    sa.Column("server", sa.Text, nullable=False),  # empty: the one the hub runs on, as its own pod's account
    sa.Column("authority", sa.Text, nullable=False),  # pinned: PEM of who signs for its API server
    sa.Column("described", Json, nullable=False),  # backends.kubernetes_rules.Cluster
    sa.Column("token_until", Instant),  # NULL: it does not say
    # An operator's word that the site allows one account to serve many people.
    sa.Column("attested_by", sa.String(64), nullable=False),
    sa.Column("attested_at", Instant, nullable=False),
    sa.Column("sessions", Json),  # whose jobs may go there; NULL: every session's of this hub
)
