"""Ray on this machine alone, for tests and tools."""

import ray


def start(**more):
    """Two workers, no dashboard, and no other machine asked for an address."""
    ray.init(
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        object_store_memory=100 << 20,
        _node_ip_address="127.0.0.1",
        **more,
    )
