"""Builds on other computers, by Dask distributed (extra `aibemu[cluster]`).

A worker of a Dask cluster that was started with `--preload aibemu.cluster.worker` makes images: it is sent an order
(`orders`), gets the files that it lacks in pieces (`incoming`), runs all phases but the last (`host`), and tells its
events as they happen (`relay`). This computer (`remote`) records them in a run of its own, fetches the finished disk by
its digest, and writes the targets as for any build. So numbers of versions are taken in one cloud, and of a build
that was lost nothing appears.

`distributed` is imported in `connecting` and `worker` alone, when they are used.
"""
