"""Bugs that timelines found, each as the shortest story that shows it; played in a fork, as timelines are."""

from __future__ import annotations

import subprocess
import sys

STORY = """
import shutil
from tests.simulation.cluster import Cluster

cluster = Cluster()
try:
    cluster.build()
    node = cluster.nodes["node-4"]
    node.crash()
    node.wall_offset = -7200.0
    assert node.start()
    cluster.loop.run_for(2.0)
    node.wall_offset = 0.0
    cluster.loop.run_for(40.0)
    link = cluster.gateway.gateway.fleet.links["node-4"]
    print("works" if link.usable else "refuses: " + link.refuses)
finally:
    shutil.rmtree(cluster.directory, ignore_errors=True)
"""


def test_a_node_whose_clock_was_put_right_gets_the_registry_again() -> None:
    """A node that refused the registry by a slow clock works within seconds once its clock is right."""
    done = subprocess.run([sys.executable, "-c", STORY], capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.strip() == "works", done.stdout + done.stderr
