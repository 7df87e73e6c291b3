"""The line that leads to a job's node: its hops, its names and its quoting."""

from __future__ import annotations

import shlex

import pytest

from hub.jobs.clusters.connecting import Hop, first_node, lines, local_port

LOGIN, JUMP = Hop("ana1", "login.example.org"), Hop("ana1", "2001:db8::7", 2222)


@pytest.mark.parametrize(
    ("nodes", "first"),
    [
        ("fox7", "fox7"),
        ("fox[03-07,9],owl1", "fox03"),
        ("owl1,fox[1-2]", "owl1"),
        ("rack[1-2]n[3,5]", "rack1n3"),
        ("fox[7]", "fox7"),
        ("gpu-[001-128]-ib", "gpu-001-ib"),
    ],
)
def test_the_first_node_is_where_the_script_runs(nodes: str, first: str) -> None:
    assert first_node(nodes) == first


def test_a_line_goes_over_every_hop_to_the_node_and_the_other_stops_at_the_login_node() -> None:
    assert lines([LOGIN], "fox7", 8888) == (
        "ssh -J ana1@login.example.org -L 8888:localhost:8888 ana1@fox7",
        "ssh -L 8888:fox7:8888 ana1@login.example.org",
    )
    far, near = lines([JUMP, Hop("ana1", "login", 2200)], "fox7", 80)
    assert shlex.split(far) == [
        *("ssh", "-J", "ana1@[2001:db8::7]:2222,ana1@login:2200", "-L", "10080:localhost:80", "ana1@fox7")
    ]
    assert shlex.split(near) == [
        *("ssh", "-J", "ana1@[2001:db8::7]:2222", "-L", "10080:fox7:80", "-p", "2200", "ana1@login")
    ]


def test_a_port_that_only_an_administrator_opens_gets_another_number_here() -> None:
    assert (local_port(8888), local_port(1024), local_port(443)) == (8888, 1024, 10443)


@pytest.mark.parametrize("odd", ["-oProxyCommand=x", "a b", "x;y", "$(id)", "", "a\nb"])
def test_what_is_no_name_of_a_host_or_account_becomes_no_part_of_a_line(odd: str) -> None:
    for way, node in (([LOGIN], odd), ([Hop("ana1", odd), LOGIN], "fox7"), ([Hop(odd, "login")], "fox7")):
        with pytest.raises(ValueError):
            lines(way, node, 8888)
