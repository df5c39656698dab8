"""The episode bag: one directory an episode, ``episode_000000/``, rosbag2 with MCAP storage.

The graph's recorder and the in-process demonstrator write it with `EpisodeWriter`; everything that learns reads it with
`read_episode`. `docs/bags.md` describes it field by field.
"""

from __future__ import annotations

from vd_policy.demos.factory import RosbagsFactory
from vd_policy.demos.info import SCHEMA, EpisodeInfo
from vd_policy.demos.reader import UnusableEpisode
from vd_policy.demos.recording import Recording, read_episode, read_recording
from vd_policy.demos.storage import bag_paths, next_index, unfinished_paths
from vd_policy.demos.writer import EpisodeWriter

__all__ = [
    "SCHEMA",
    "EpisodeInfo",
    "EpisodeWriter",
    "Recording",
    "RosbagsFactory",
    "UnusableEpisode",
    "bag_paths",
    "next_index",
    "read_episode",
    "read_recording",
    "unfinished_paths",
]
